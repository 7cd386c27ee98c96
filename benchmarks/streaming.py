"""Stream: how soon the first words of a long sound are there, against all of them, alone and beside other listeners.

`python -m benchmarks.streaming transcribe` joins test sounds of the data set to one of `--seconds`, and asks the
champion's `stream` for it; it also counts the errors of the whole, heard in windows.
"""

import io
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
import soundfile
from rich.table import Table

from benchmarks.serving import free_port, registry_of, running
from benchmarks.timing import CONSOLE, bench_parser, show_machine
from stages.base.device import set_up
from stages.base.store import artifact_path
from stages.media.audio import decode_audio
from stages.models.metrics.transcripts import transcript_metrics
from stages.models.tables import read_rows
from stages.params import Params, load_params
from stages.registry.registry import CHAMPION

LISTENERS = (1, 20)
RATE_HZ = 16_000


@dataclass(frozen=True)
class Heard:
    """What one listener saw: seconds to the first words and to all, and the words."""

    first_s: float
    whole_s: float
    transcript: str


def long_sound(params: Params, name: str, seconds: float) -> tuple[bytes, str]:
    """Return test sounds of an experiment's data set behind each other, cut to a length, and their words."""
    parts: list[np.ndarray] = []
    words: list[str] = []
    rows = read_rows(artifact_path("prepare", params.experiments[name].dataset), "test", ["audio", "transcript_tokens"])
    for row in rows:
        sound = decode_audio(row["audio"], RATE_HZ)
        if sum(map(len, parts)) + len(sound) > seconds * RATE_HZ:
            break
        parts.append(sound)
        words.append(row["transcript_tokens"])
    out = io.BytesIO()
    soundfile.write(out, np.concatenate(parts), RATE_HZ, format="WAV", subtype="PCM_16")
    return out.getvalue(), " ".join(words)


def listen(url: str, sound: bytes) -> Heard:
    """Send the sound, and note when words come."""
    start, first = time.perf_counter(), 0.0
    with requests.post(url, files={"audio": ("a.wav", sound)}, stream=True, timeout=600) as response:
        response.raise_for_status()
        event, answer = "", {}
        for line in response.iter_lines():
            kind, _, value = line.decode().partition(": ")
            if kind == "event":
                event, first = value, first or time.perf_counter() - start
            elif kind == "data" and event == "answer":
                answer = json.loads(value)["answer"]
    return Heard(first, time.perf_counter() - start, " ".join(answer["spoken"]))


def compare(url: str, sound: bytes, rounds: int) -> Heard:
    """Print the seconds of one listener and of many at once; return what was heard."""
    table = Table(title=f"{len(sound) / 2 / RATE_HZ:.0f} s of sound", title_justify="left")
    for column in ("listeners", "first words, s", "the whole, s", "first / whole", "slowest whole, s"):
        table.add_column(column, justify="right")
    heard = [listen(url, sound)]
    for listeners in LISTENERS:
        for _ in range(rounds):
            with ThreadPoolExecutor(listeners) as pool:
                heard += pool.map(lambda _: listen(url, sound), range(listeners))
        seen = heard[-rounds * listeners :]
        first, whole = (
            statistics.median(values) for values in zip(*((h.first_s, h.whole_s) for h in seen), strict=True)
        )
        slowest = max(h.whole_s for h in seen)
        table.add_row(str(listeners), f"{first:.2f}", f"{whole:.2f}", f"{first / whole:.2f}", f"{slowest:.2f}")
    CONSOLE.print(table)
    CONSOLE.print(f"{len({h.transcript for h in heard})} different transcripts in {len(heard)} answers")
    return heard[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("streaming", __doc__, "an experiment of the task transcribe with a champion")
    parser.add_argument("--seconds", type=float, default=60.0, help="of sound")
    args = parser.parse_args(argv)
    params = load_params(args.params)
    show_machine(set_up(*params.base.hardware()))
    sound, words = long_sound(params, args.name, args.seconds)
    port = free_port()
    serve = ["stages.serve", "--model", f"models:/{args.name}@{CHAMPION}", "--port", str(port)]
    with (
        tempfile.TemporaryDirectory() as place,
        registry_of(args.name, Path(place)) as uri,
        running(serve, uri, f"http://127.0.0.1:{port}/ready", Path(place) / "log"),
    ):
        heard = compare(f"http://127.0.0.1:{port}/models/{args.name}/stream", sound, args.rounds)
    scores = transcript_metrics([heard.transcript], [words])
    CONSOLE.print(f"in windows: wer {scores['wer']:.4f} of {len(words.split())} words")


if __name__ == "__main__":
    main()
