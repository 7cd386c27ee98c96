"""Serve: requests a second and latency against `mlflow models serve` of the same version, with 1, 8 and 64 clients.

`python -m benchmarks.serving caption` takes the champion, and prepared test samples as requests. Both servers run in
turn under the load of `wrk` (Debian's package) on this machine. With `--soak 600` the service alone is kept at its
limit for as many seconds while its alias moves every 20 s: lost requests and memory are counted.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
from rich.table import Table

from benchmarks.timing import CONSOLE, bench_parser, show_machine
from stages.base.device import set_up
from stages.base.store import artifact_path
from stages.base.tracking import client
from stages.models.tables import read_rows
from stages.params import Params, column_of, load_params
from stages.registry.registry import CHAMPION

CLIENTS = (1, 8, 64)
BOUNDARY = "fuseline-bench"
SWAP_S = 20
START_S = 180
LATENCY = re.compile(r"(50|99)%\s+([\d.]+)(us|ms|s)")
MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Load:
    """What one run of `wrk` saw; `lost` counts answers other than 200 and broken connections."""

    per_second: float
    p50_ms: float
    p99_ms: float
    answered: int
    lost: int


@dataclass(frozen=True)
class Target:
    """A server at work: where to send requests, their bodies, and its processes."""

    url: str
    script: Path
    process: psutil.Process

    def memory_mb(self) -> float:
        """Return the resident memory of the server and its children."""
        return sum(p.memory_info().rss for p in (self.process, *self.process.children(recursive=True))) / 2**20


def load(target: Target, clients: int, seconds: float) -> Load:
    """Keep as many clients busy for a while."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "60s", "--latency", "-s"]
    done = subprocess.run([*command, str(target.script), target.url], capture_output=True, text=True, check=True)
    found = {percent: float(value) * MS[unit] for percent, value, unit in LATENCY.findall(done.stdout)}
    answered = _number(r"(\d+) requests in", done.stdout)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    lost = _number(r"Non-2xx or 3xx responses: (\d+)", done.stdout) + sum(map(int, broken.groups() if broken else ()))
    return Load(answered / seconds, found["50"], found["99"], answered, lost)


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def write_script(path: Path, bodies: list[bytes], kind: str) -> Path:
    """Write what `wrk` sends: the bodies in turn."""
    names = []
    for i, body in enumerate(bodies):
        names.append(f"{path}.{i}")
        Path(names[-1]).write_bytes(body)
    path.write_text(
        "local bodies = {}\n"
        + "".join(
            f"do local f = io.open('{n}', 'rb'); table.insert(bodies, f:read('*all')); f:close() end\n" for n in names
        )
        + f"local i = 0\nwrk.method = 'POST'\nwrk.headers['Content-Type'] = '{kind}'\n"
        + "request = function() i = i % #bodies + 1; return wrk.format(nil, nil, nil, bodies[i]) end\n"
    )
    return path


def form(sample: dict[str, bytes]) -> bytes:
    """Return a sample as the body of a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, data in sample.items()
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def record(sample: dict[str, bytes]) -> bytes:
    """Return a sample as MLflow's server takes it."""
    media = ("image", "audio")
    values = {name: base64.b64encode(d).decode() if name in media else d.decode() for name, d in sample.items()}
    return json.dumps({"dataframe_records": [values]}).encode()


def samples(params: Params, name: str, count: int) -> list[dict[str, bytes]]:
    """Return raw test samples with all that the experiment reads."""
    experiment = params.experiments[name]
    columns = {m: column_of(params.features[feature]) for m, feature in experiment.inputs.used().items()}
    found = []
    for row in read_rows(artifact_path("prepare", experiment.dataset), "test", columns.values())[:count]:
        values = {m: row[c][0] if isinstance(row[c], list) else row[c] for m, c in columns.items() if row[c]}
        found.append({m: value.encode() if isinstance(value, str) else value for m, value in values.items()})
    return found


@contextmanager
def registry_of(name: str, folder: Path) -> Iterator[str]:
    """Yield a registry of its own with the champion twice, so that nothing of the project's moves."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    client()
    source = download_artifacts(artifact_uri=f"models:/{name}@{CHAMPION}", dst_path=str(folder / "model"))
    uri = f"sqlite:///{folder}/registry.db"
    own = MlflowClient(uri, uri)
    own.create_registered_model(name)
    for _ in range(2):
        own.create_model_version(name, source)
    own.set_registered_model_alias(name, CHAMPION, "1")
    yield uri


@contextmanager
def running(arguments: list[str], uri: str, health: str, log: Path) -> Iterator[psutil.Process]:
    """Run a server until it is healthy, and end it afterwards."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # MLflow starts `uvicorn` by name
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=sink, stderr=sink, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_S
        while not _healthy(health):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.5)
        yield psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _healthy(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def contenders(name: str, found: list[dict[str, bytes]], uri: str, folder: Path) -> Iterator[dict[str, Target]]:
    """Start both servers of the same version."""
    ours, theirs = free_port(), free_port()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    mine = ["stages.serve", "--model", f"models:/{name}@{CHAMPION}", "--port", str(ours)]
    plain = ["mlflow", "models", "serve", "-m", f"models:/{name}/1", "--env-manager", "local", "-p", str(theirs)]
    with (
        running(mine, uri, f"http://127.0.0.1:{ours}/ready", folder / "ours.log") as first,
        running(plain, uri, f"http://127.0.0.1:{theirs}/health", folder / "theirs.log") as second,
    ):
        url = f"http://127.0.0.1:{ours}/models/{name}/predict"
        script = write_script(folder / "ours.lua", [form(sample) for sample in found], kind)
        other = write_script(folder / "theirs.lua", [record(sample) for sample in found], "application/json")
        yield {
            "stages.serve": Target(url, script, first),
            "mlflow models serve": Target(f"http://127.0.0.1:{theirs}/invocations", other, second),
        }


def compare(targets: dict[str, Target], rounds: int, seconds: float) -> None:
    """Print throughput and latency of both at each number of clients, the servers in turn."""
    for clients in CLIENTS:
        loads: dict[str, list[Load]] = {name: [] for name in targets}
        for target in targets.values():
            load(target, clients, min(3.0, seconds))
        for _ in range(rounds):
            for name, target in targets.items():
                loads[name].append(load(target, clients, seconds))
        table = Table(title=f"{clients} clients", title_justify="left")
        table.add_column("server")
        for column in (
            "requests/s",
            "p50 ms",
            "p99 ms",
            "lost",
            "MB",
            "times mlflow's throughput: median",
            "lowest",
            "highest",
        ):
            table.add_column(column, justify="right")
        base = loads["mlflow models serve"]
        for name, seen in loads.items():
            middle = sorted(seen, key=lambda one: one.per_second)[len(seen) // 2]
            ratios = sorted(mine.per_second / other.per_second for mine, other in zip(seen, base, strict=True))
            table.add_row(
                name,
                f"{middle.per_second:.1f}",
                f"{middle.p50_ms:.1f}",
                f"{middle.p99_ms:.1f}",
                str(sum(one.lost for one in seen)),
                f"{targets[name].memory_mb():.0f}",
                *(f"{ratio:.2f}" for ratio in (ratios[len(ratios) // 2], ratios[0], ratios[-1])),
            )
        CONSOLE.print(table)


def soak(target: Target, name: str, uri: str, seconds: float) -> None:
    """Keep 64 clients busy while the alias moves; print what was lost and how memory went."""
    from mlflow import MlflowClient

    own, swaps, memory = MlflowClient(uri, uri), [0], [target.memory_mb()]
    over = threading.Event()

    def move() -> None:
        while not over.wait(SWAP_S):
            swaps[0] += 1
            own.set_registered_model_alias(name, CHAMPION, str(1 + swaps[0] % 2))
            memory.append(target.memory_mb())

    mover = threading.Thread(target=move)
    mover.start()
    seen = load(target, max(CLIENTS), seconds)
    over.set()
    mover.join()
    shown = ", ".join(f"{mb:.0f}" for mb in memory[:: max(1, len(memory) // 10)])
    CONSOLE.print(f"{seconds:g} s, 64 clients: {seen.answered} answered, {seen.lost} lost, {seen.per_second:.1f}/s")
    CONSOLE.print(f"p50 {seen.p50_ms:.0f} ms, p99 {seen.p99_ms:.0f} ms; the alias moved {swaps[0]} times")
    CONSOLE.print(f"MB over time: {shown}; at the end {target.memory_mb():.0f}", soft_wrap=True)


def main(argv: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = bench_parser("serving", __doc__, "an experiment with a champion")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load at each number of clients, a round")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds at the limit with moving aliases, instead")
    parser.add_argument("--samples", type=int, default=100, help="test samples that requests are made of")
    args: argparse.Namespace = parser.parse_args(argv)
    if not shutil.which("wrk"):
        sys.exit("error: wrk is not installed (Debian: apt-get install wrk)")
    params = load_params(args.params)
    show_machine(set_up(*params.base.hardware()))
    found = samples(params, args.name, args.samples)
    with (
        tempfile.TemporaryDirectory() as place,
        registry_of(args.name, Path(place)) as uri,
        contenders(args.name, found, uri, Path(place)) as targets,
    ):
        if args.soak:
            soak(targets["stages.serve"], args.name, uri, args.soak)
        else:
            compare(targets, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
