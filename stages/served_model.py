"""The registered model as MLflow loads it: written as code, its weights as safetensors, no pickle.

One row a sample. Column `image`: encoded bytes, the same as base64 text, or a path of a file (refused when
FUSELINE_ALLOW_PATHS is 0). Answers: caption, score, words and word_probabilities.
"""

import base64
import binascii
import json
import os
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

ANSWER_COLUMNS = ("caption", "score", "words", "word_probabilities")


class ServedModel(PythonModel):
    """Loads the model folder that travels with the version."""

    def load_context(self, context: Any) -> None:
        """Build the predictor from the version's own files."""
        from stages.device import set_up
        from stages.params import BaseParams, EvaluateParams
        from stages.predictor import Predictor, PredictSettings

        settings = json.loads(Path(context.artifacts["settings"]).read_text(encoding="utf8"))
        device = set_up(BaseParams(**settings["base"]))
        self._modalities = settings["modalities"]
        self._predictor = Predictor.load(
            Path(context.artifacts["model"]),
            PredictSettings(EvaluateParams(**settings["evaluate"]), settings["max_image_megapixels"]),
            device,
        )

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer each row of the input."""
        records = pd.DataFrame(model_input).to_dict("records")
        samples = [{m: read_media(record[m]) for m in self._modalities} for record in records]
        answers = self._predictor.predict(samples)
        return pd.DataFrame([{key: answer[key] for key in ANSWER_COLUMNS} for answer in answers])


def read_media(value: object) -> bytes:
    """Return encoded bytes given as bytes, base64 text, or a path.

    Raises:
        ValueError: when it is none of these.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    paths_allowed = os.environ.get("FUSELINE_ALLOW_PATHS", "1") != "0"
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            pass
    if isinstance(value, str | os.PathLike) and paths_allowed:
        path = Path(value)
        if len(str(path)) < 4096 and path.is_file():
            return path.read_bytes()
    shown = repr(value)[:80]
    raise ValueError(f"image: expected encoded bytes, base64 text or the path of a file, got {shown}")


def ask(uri: str, paths: list[str]) -> None:
    """Load a version by its URI and print its answer on each file."""
    model = mlflow.pyfunc.load_model(uri)
    answers = model.predict(pd.DataFrame({"image": [Path(path).read_bytes() for path in paths]}))
    for path, answer in zip(paths, answers.to_dict("records"), strict=True):
        words = zip(answer["words"], answer["word_probabilities"], strict=True)
        shown = " ".join(f"{word} ({probability:.2f})" for word, probability in words)
        sys.stdout.write(f"{path}: {answer['caption']}\n  score {answer['score']:.3f}: {shown}\n")


if __name__ == "__main__":
    ask(sys.argv[1], sys.argv[2:])
else:
    set_model(ServedModel())
