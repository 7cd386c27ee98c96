"""What a GPU changes, for a machine that has one: equal bytes of two runs, of features in batches, and seconds.

1. `make repro` of the committed project, twice, each in a clone of its own with an empty cache and `base.device: cuda`:
   which files of `artifacts/` differ (the tracking store and registration apart), and the seconds of each stage.
2. One image's features in batches of 1, 5 and 64, as they come and filled up to one shape.
3. Features a second of the `torchvision` extractor beside its bare forward pass.

Run: `python -m benchmarks.gpu`; with `--preset flickr8k --mirror FOLDER --weights FILE` the same of that preset.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from benchmarks.timing import CONSOLE, show, show_machine, take_turns
from stages.base.device import Device, set_up
from stages.base.errors import InputError
from stages.extractors.torchvision import VERSION, Torchvision
from stages.params.cli import main
from stages.pretrained.torchvision import models

ROOT = Path(__file__).parents[1]
BACKBONE, SIZE_PX, BATCH = "mobilenet_v2", 224, 64
NOT_COMPARED = ("mlflow", "register")  # of artifacts/: ids and times of the tracking store


def clone(folder: Path, preset: str, changes: dict[str, str]) -> None:
    """Make a clone with a cache of its own and the preset's params; `changes` are of single values, by their key."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "flows.preset", preset, "--force"], cwd=folder, check=True)
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf8")
    for key, value in changes.items():
        text = re.sub(rf"^( +{key}: ).*$", rf"\g<1>{value}", text, flags=re.MULTILINE)
    params.write_text(text, encoding="utf8")


def run(folder: Path) -> tuple[float, list[str]]:
    """Run the pipeline in a clone; return its seconds and the lines that it printed."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", "-m", "flows.repro"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{folder}: `make repro` failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - start, done.stdout.splitlines()


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of the clone's artifacts that is compared."""
    artifacts = folder / "artifacts"
    files = (path for path in sorted(artifacts.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(artifacts)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.relative_to(artifacts).parts[0] not in NOT_COMPARED
    }


def compare_runs(preset: str, changes: dict[str, str]) -> None:
    """Run the preset in two clones, and print what differs and what each took."""
    with tempfile.TemporaryDirectory() as place:
        found = []
        for name in ("first", "second"):
            folder = Path(place) / name
            clone(folder, preset, changes)
            seconds, lines = run(folder)
            found.append(digests(folder))
            CONSOLE.print(f"{preset}, {name} run: {seconds:.0f} s in all")
            CONSOLE.print("\n".join(line for line in lines if " fitted in " in line or "features " in line))
        first, second = found
        odd = sorted(name for name in first | second if first.get(name) != second.get(name))
        CONSOLE.print(f"{len(first) - len(odd)} of {len(first)} files are equal" + "".join(f"\n  {n}" for n in odd))


def make_extractor(device: Device) -> Torchvision:
    """Return the extractor with weights drawn at random: what is asked here does not depend on them."""
    torch.manual_seed(0)
    state = models().get_model(BACKBONE).state_dict()
    settings = {
        "extractor": "torchvision",
        "version": VERSION,
        "backbone": BACKBONE,
        "layer": "grid",
        "size_px": SIZE_PX,
    }
    return Torchvision({**settings, "weights_digest": ""}, state, device)


def compare_batches(extractor: Torchvision) -> None:
    """Print how far one image's features in batches of several sizes are from those alone."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH, SIZE_PX, SIZE_PX, 3), np.uint8)
    table = Table(title="the same image, alone and in a batch", title_justify="left")
    for column in ("batch", "as it comes: equal", "largest difference", "filled up: equal"):
        table.add_column(column)
    alone = extractor.extract(images[:1])[0]
    filled_alone = extractor.extract(np.repeat(images[:1], BATCH, axis=0))[0]
    for size in (1, 5, BATCH):
        got = extractor.extract(images[:size])[0]
        filled = np.concatenate([images[:size], np.repeat(images[size - 1 : size], BATCH - size, axis=0)])
        same = np.array_equal(extractor.extract(filled)[0], filled_alone)
        far = float(np.abs(got.astype(np.float32) - alone.astype(np.float32)).max())
        table.add_row(str(size), str(np.array_equal(got, alone)), f"{far:.2g}", str(same))
    CONSOLE.print(table)


def compare_speed(extractor: Torchvision, device: Device, rounds: int) -> None:
    """Print the extractor's time an image on decoded images beside that of the bare forward pass."""
    images = np.random.default_rng(0).integers(0, 256, (8 * BATCH, SIZE_PX, SIZE_PX, 3), np.uint8)
    ready = torch.randn(BATCH, 3, SIZE_PX, SIZE_PX, device=device.device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def bare() -> None:
        with torch.autocast(device.device.type, device.dtype, enabled=device.dtype != torch.float32):
            for _ in range(8):
                extractor.model(ready)
        if device.is_cuda:
            torch.cuda.synchronize()

    def features() -> None:
        for start in range(0, len(images), BATCH):
            extractor.extract(images[start : start + BATCH])

    timings = take_turns({"bare forward": bare, "features": features}, rounds)
    show(f"{BACKBONE} at {SIZE_PX} px, batches of {BATCH}", timings, (len(images), "image"))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu tries the script itself")
    parser.add_argument("--preset", default="scenes")
    parser.add_argument("--mirror", default="", help="the preset's data, where it has no public home to ask")
    parser.add_argument("--weights", default="", help="a state dict of the preset's backbone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-runs", action="store_true", help="only features")
    args = parser.parse_args(argv)
    device = set_up(args.device, "auto", torch.get_num_threads())
    show_machine(device)
    extractor = make_extractor(device)
    compare_batches(extractor)
    compare_speed(extractor, device, args.rounds)
    if not args.skip_runs:
        given = {"mirror": args.mirror, "weights": args.weights}
        changes = {"device": args.device} | {key: f'"{value}"' for key, value in given.items() if value}
        compare_runs(args.preset, changes)


if __name__ == "__main__":
    main(command)
