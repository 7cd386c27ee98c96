"""Fair timing: contenders take turns, so that a busy neighbour slows all of them, and ratios are of one round."""

import argparse
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import torch
from rich.console import Console
from rich.table import Table

from stages.base.device import Device
from stages.base.progress import progress

CONSOLE = Console(width=120, highlight=False)


def bench_parser(benchmark: str, doc: str | None, name_help: str = "") -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks take; without `name_help` it takes no name."""
    summary = (doc or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark}", description=summary)
    if name_help:
        parser.add_argument("name", help=name_help)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the params file")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds, after one that is not")
    return parser


@dataclass(frozen=True)
class Timing:
    """What one contender took in each round, in seconds."""

    name: str
    seconds: list[float]


def take_turns(contenders: Mapping[str, Callable[[], object]], rounds: int) -> list[Timing]:
    """Run each contender once unmeasured, then all of them, in turn, `rounds` times."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with progress("rounds") as report:
        for done in range(rounds + 1):
            for name, contender in contenders.items():
                start = time.perf_counter()
                contender()
                if done:
                    seconds[name].append(time.perf_counter() - start)
            report(done, rounds)
    return [Timing(name, values) for name, values in seconds.items()]


def show(title: str, timings: list[Timing], per: tuple[int, str]) -> None:
    """Print each contender's median time per unit, and how many times the first one's it is, round by round.

    `per` is the number of units in a round and their name.
    """
    count, unit = per
    table = Table(title=title, title_justify="left")
    table.add_column("contender")
    for column in (f"ms / {unit}", "times the first: median", "lowest", "highest"):
        table.add_column(column, justify="right")
    for timing in timings:
        ratios = [mine / first for mine, first in zip(timing.seconds, timings[0].seconds, strict=True)]
        figures = (statistics.median(ratios), min(ratios), max(ratios))
        median_ms = statistics.median(timing.seconds) / count * 1e3
        table.add_row(timing.name, f"{median_ms:.2f}", *(f"{figure:.2f}" for figure in figures))
    CONSOLE.print(table)


def show_machine(device: Device) -> None:
    """Print what the figures depend on: command, machine, versions, device and number format."""
    packages = ("torch", "torchvision", "lightning", "numpy", "pillow", "pyarrow")
    command = [sys.orig_argv[0].rsplit("/", 1)[-1], *sys.orig_argv[1:]]
    CONSOLE.print(f"command   {shlex.join(command)}")
    CONSOLE.print(f"machine   {_cpu()}, {psutil.cpu_count()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB")
    CONSOLE.print(f"versions  Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages))
    card = f" ({torch.cuda.get_device_name(device.device)})" if device.is_cuda else ""
    CONSOLE.print(f"device    {device.device}{card}, {device.dtype}, {torch.get_num_threads()} threads", soft_wrap=True)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
