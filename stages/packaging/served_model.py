"""The registered model as MLflow loads it: written as code, its weights as safetensors, no pickle.

One row a sample, a column for each modality of the model: `image`, `audio` and `video` as encoded bytes, the same as
base64 text or a data URL, or a path of a file; `text` and `question` as they are; `fields` as a mapping of values by
name, or the JSON text of one. A text that is both, a path of a
file that is there and base64, is the path. Paths are refused in `mlflow models serve`, whose
clients would name the server's files, unless FUSELINE_ALLOW_PATHS is 1, and everywhere when it is 0.
A modality may be missing (no column, None, nan, an empty text) where the task does without. The answers are the task's.
"""

import contextlib
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.artifacts import download_artifacts
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

MEDIA = ("image", "audio", "video")
OF_FIELDS = ("fields", "user_fields")
NUMBERS = ("seed", "count")  # what a model that draws may be told
MLFLOW_SERVER = "__pyfunc_model_path__"  # MLflow's scoring server has it in its environment


class ServedModel(PythonModel):
    """Loads the model folder that travels with the version."""

    def load_context(self, context: Any) -> None:
        """Build the predictor from the version's own files."""
        from stages.packaging.predictor import open_model

        settings = json.loads(Path(context.artifacts["settings"]).read_text(encoding="utf8"))
        self._modalities = settings["modalities"]
        self._predictor = open_model(Path(context.artifacts["model"]), settings)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer each row of the input."""
        records = [one for record in pd.DataFrame(model_input).to_dict("records") for one in spread(record)]
        samples = [{m: read_input(m, record.get(m)) for m in self._modalities} for record in records]
        answers = self._predictor.predict(samples)
        columns = self._predictor.task.answer_types
        return pd.DataFrame([{key: answer.get(key) for key in columns} for answer in answers])


def spread(record: dict[Any, Any]) -> list[dict[Any, Any]]:
    """Return the samples of a row; of columns of texts alone, `{"image": ["...", "..."]}`, MLflow makes one row.

    Raises:
        ValueError: when its lists differ in length.
    """
    lists = {key: value for key, value in record.items() if isinstance(value, list)}
    lengths = {len(value) for value in lists.values()}
    if len(lengths) > 1:
        found = ", ".join(f"{key} {len(value)}" for key, value in lists.items())
        raise ValueError(f"expected as many values in each column, got {found}")
    return [record | {key: value[i] for key, value in lists.items()} for i in range(*lengths or (1,))]


def read_input(modality: str, value: object) -> bytes | None:
    """Return one input as bytes, texts as UTF-8; None for a missing one.

    Raises:
        ValueError: when it is of a kind that the modality does not take.
    """
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return None
    if isinstance(value, str) and not value.strip():
        return None
    if modality in MEDIA:
        return read_media(modality, value)
    if modality in OF_FIELDS and isinstance(value, dict):
        return json.dumps({name: plain(cell) for name, cell in value.items()}).encode()
    if isinstance(value, str):
        return value.encode()
    if modality in NUMBERS and isinstance(value, int | float) and float(value).is_integer():
        return str(int(value)).encode()
    raise ValueError(f"{modality}: expected text, got {repr(value)[:80]}")


def plain(cell: Any) -> Any:
    """Return a number of NumPy's or a time stamp of pandas' as JSON has it, a missing value as None."""
    if pd.api.types.is_scalar(cell) and pd.isna(cell):
        return None
    if isinstance(cell, datetime.date):
        return cell.isoformat()[:16]
    return cell.item() if hasattr(cell, "item") else cell


def read_media(modality: str, value: object) -> bytes:
    """Return encoded bytes given as bytes, a path, base64 text, or a data URL.

    Raises:
        ValueError: when it is none of these.
    """
    from stages.base.base64_text import decode_base64

    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    paths_allowed = os.environ.get("FUSELINE_ALLOW_PATHS", "0" if MLFLOW_SERVER in os.environ else "1") != "0"
    if isinstance(value, str | os.PathLike) and paths_allowed and os.path.isfile(value):
        return Path(value).read_bytes()
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return decode_base64(value)
    shown = repr(value)[:80]
    expected = "encoded bytes, base64 text or the path of a file" if paths_allowed else "encoded bytes or base64 text"
    raise ValueError(f"{modality}: expected {expected}, got {shown}")


def ask(uri: str, given: list[str]) -> None:
    """Load a version by its URI and print its answers.

    Values named as `modality=value` are one sample; values without a name are a sample each, of the model's
    first modality. A medium is given by the path of its file. The version is read from a copy: MLflow writes a file
    beside what it loads, which a store that is only to be read refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        _ask(mlflow.pyfunc.load_model(download_artifacts(artifact_uri=uri, dst_path=folder)), given)


def _ask(model: Any, given: list[str]) -> None:
    modalities = model.metadata.get_input_schema().input_names()
    named = dict(value.split("=", 1) for value in given if value.partition("=")[0] in modalities)
    plain = [value for value in given if value.partition("=")[0] not in modalities]
    samples = [{modalities[0]: value} | named for value in plain] or [named]
    try:
        answers = model.predict(pd.DataFrame(samples)).to_dict("records")
    except ValueError as error:
        sys.exit(f"error: {error}; this model takes {', '.join(f'{m}=...' for m in modalities)}")
    for sample, answer in zip(samples, answers, strict=True):
        sys.stdout.write("\n".join([", ".join(map(str, sample.values())), *_shown(answer)]) + "\n")


def _shown(answer: dict[str, Any]) -> Iterator[str]:
    """Yield an answer's lines: lists that go together side by side, long vectors cut."""
    if "words" in answer:
        words = zip(answer["words"], answer["word_probabilities"], strict=True)
        yield f"  {answer['caption']}"
        yield f"  score {answer['score']:.3f}: " + " ".join(f"{word} ({p:.2f})" for word, p in words)
        return
    if "low" in answer:
        for name, *numbers in zip(*(answer[key] for key in ("names", "numbers", "low", "high")), strict=True):
            yield "  {}: {:.6g} ({:.6g} to {:.6g})".format(name, *numbers)
        return
    if "reasons" in answer:
        columns = (answer[name] for name in ("titles", "items", "scores", "reasons"))
        yield from (f"  {title} ({i}) {score:.3f}: {reason}" for title, i, score, reason in zip(*columns, strict=True))
        return
    for key, value in answer.items():
        if key == "tags":
            pairs = zip(value, answer["tag_probabilities"], strict=True)
            yield "  tags: " + (", ".join(f"{name} {p:.3f}" for name, p in pairs) or "none")
        elif key == "images":
            yield from _kept(value, int(answer["seed"]))
        elif key == "classes":
            ranked = sorted(zip(answer["probabilities"], value, strict=True), reverse=True)[:5]
            yield "  " + ", ".join(f"{name} {p:.3f}" for p, name in ranked)
        elif key not in ("probabilities", "tag_probabilities") and value is not None:
            short = (
                f"{len(value)} numbers, {[round(x, 3) for x in value[:4]]} ..." if isinstance(value, list) else value
            )
            yield f"  {key}: {short:.3f}" if isinstance(short, float) else f"  {key}: {short}"


def _kept(images: list[str], seed: int) -> Iterator[str]:
    """Write pictures into the current folder; yield where."""
    import base64

    for number, image in enumerate(images):
        path = Path(f"made-{seed}-{number}.png")
        path.write_bytes(base64.b64decode(image))
        yield f"  {path}"


if __name__ == "__main__":
    ask(sys.argv[1], sys.argv[2:])
else:
    set_model(ServedModel())
