"""Register: one MLflow run and one model version per trained model, and the promotion gate.

A version is found again by its digest tag, so a repeat or a restored cache never registers it twice, and a
registration that was killed half way is finished. `--list` shows versions; `<name> --history` how the champion came
to be; `<name> --try <file>` asks one, and `<name> --sample <id>` asks it about a prepared sample.
`--rebuild <name> <version>` makes a version again from its commit, and compares the bytes; `<name> --pack <folder>`
writes one as a single file tree, its pretrained models in it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.base.store import VERSION_FILE, artifact_path, read_manifest, say, write_json, writing
from stages.params import Params, column_of
from stages.params.cli import main, run_named, stage_parser
from stages.registry.lineage import version_digest
from stages.registry.registry import CHAMPION, aliases, aliases_of, find_version
from stages.registry.versions import add_arguments, run_versions


def run(params: Params, name: str) -> None:
    """Register one experiment's model, unless its like is registered, and let the gate decide."""
    from stages.base.tracking import client
    from stages.packaging.logged_model import create_version, log_bases, log_run
    from stages.registry.comparison import check_gate
    from stages.registry.promotion import settle

    for stage in ("train", "evaluate"):
        read_manifest(artifact_path(stage, name))
    check_gate(params, name)
    with writing("register", name, params.register_.model_dump()) as draft:
        mlflow_client = client()
        log_bases(mlflow_client, params, name)
        digest = version_digest(name)
        version = find_version(mlflow_client, name, digest)
        if version is None:
            run_id = log_run(mlflow_client, params, name)
            created = create_version(mlflow_client, params, name, run_id)
            version = find_version(mlflow_client, name, digest) or created  # a request sent twice makes two: the first
            say(f"register {name}: version {version.version}")
        else:
            say(f"register {name}: version {version.version} has this digest already")
        decision = settle(mlflow_client, params, name, int(version.version))
        held = aliases_of(mlflow_client, name, version.version)
        write_json(
            draft.folder / VERSION_FILE,
            {
                "name": name,
                "version": int(version.version),
                "aliases": held,
                "inputs": list(params.experiments[name].given()),
                "run_id": version.run_id,
                "digest": digest,
                "decision": decision,
            },
        )
    say(f"register {name}: {', '.join(held) or 'no alias'}; " + "; ".join(decision["reasons"]))


def try_sample(params: Params, name: str, sample_id: str) -> None:
    """Ask the champion of an experiment about one prepared sample, and show what went in."""
    experiment = params.experiments[name]
    used = experiment.inputs.used()
    columns = {m: column_of(params.features[used[m]]) for m in experiment.given()}
    row = _prepared_row(experiment.dataset, sample_id)
    with tempfile.TemporaryDirectory() as folder:
        given = []
        for modality, column in columns.items():
            value = row[column][0] if isinstance(row[column], list) and row[column] else row[column]
            if isinstance(value, bytes):
                path = Path(folder, f"{sample_id}.{modality}".replace("/", "_"))
                path.write_bytes(value)
                value = str(path)
            given += [f"{modality}={value}"] if value else []
        try_model(name, given)


def _prepared_row(dataset: str, sample_id: str) -> dict[str, Any]:
    import pyarrow.parquet as pq

    folder = artifact_path("prepare", dataset)
    read_manifest(folder)
    for path in sorted(folder.glob("*-[0-9]*.parquet")):
        rows = pq.read_table(path, filters=[("sample_id", "=", sample_id)]).to_pylist()
        if rows:
            return rows[0]
    raise InputError(f"data set {dataset} has no sample {sample_id!r}")


def try_model(name: str, given: Sequence[str]) -> None:
    """Ask the champion of a name, in a process of its own: a version brings its own code."""
    from stages.base.tracking import client, tracking_uri

    if CHAMPION not in aliases(client(), name):
        raise InputError(
            f"no version of {name!r} is {CHAMPION}; `python -m stages.register --list` shows what there is"
        )
    script = Path(__file__).parent / "packaging/served_model.py"
    done = subprocess.run(
        [sys.executable, str(script), f"models:/{name}@{CHAMPION}", *given],
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": tracking_uri(),
            "PYTHONIOENCODING": f"{sys.stdout.encoding}:backslashreplace",
        },
    )
    if done.returncode:
        sys.exit(done.returncode)


def pack_version(name: str | None, number: int | None, target: Path) -> None:
    """Write a version of a name to a folder, with all that it needs."""
    from stages.base.tracking import client
    from stages.packaging.pack import pack

    pack(client(), name, number, target)


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = stage_parser("register", __doc__)
    add_arguments(parser)
    parser.add_argument(
        "--try",
        nargs="+",
        metavar="VALUE",
        help="ask NAME's champion: files, or one sample as image=FILE audio=FILE video=FILE text=TEXT question=TEXT",
    )
    parser.add_argument(
        "--rebuild",
        nargs=2,
        metavar=("NAME", "VERSION"),
        help="check out a version's commit elsewhere, run the pipeline there, and compare every byte",
    )
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write a version of NAME with all that it needs")
    parser.add_argument("--version", type=int, help="for --pack: which one (default: the champion)")
    parser.add_argument("--sample", metavar="ID", help="ask the champion of NAME about a prepared sample")
    from stages.base.tracking import needs_server

    args: argparse.Namespace = parser.parse_args(argv)
    if args.rebuild:  # it runs DVC, which stages know nothing of; this process goes on as that command
        os.execv(sys.executable, [sys.executable, "-m", "flows.rebuild", *args.rebuild])
    with needs_server():
        if run_versions(args):
            return
        if args.pack:
            pack_version(args.name, args.version, args.pack)
        elif given := getattr(args, "try"):
            if not args.name:
                raise InputError("name the model: python -m stages.register <name> --try <file>")
            try_model(args.name, given)
        elif args.sample:
            run_named(args, "experiments", lambda params, name: try_sample(params, name, args.sample))
        else:
            run_named(args, "experiments", run)


if __name__ == "__main__":
    main(command)
