"""Download: a data set's raw files, verified, into `artifacts/download/<data set>/`.

Archives stay archives: they are checked here once and read in place afterwards, never spread over the disk.
`--files` says which files a data set fetches, and fetches none.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from stages.base.errors import InputError
from stages.base.progress import progress
from stages.base.store import SCRATCH, say, sha256_file, writing
from stages.params import DownloadParams, Params
from stages.params.cli import main, run_named, stage_parser
from stages.raw.archive import ArchiveLimits, open_archive
from stages.raw.fetch import fetch
from stages.sources import SOURCES
from stages.sources.base import RemoteFile


def run(params: Params, name: str) -> None:
    """Fetch or generate the raw files of one data set."""
    section = params.datasets[name]
    source = SOURCES[section.source](section)
    mirror = getattr(section, "mirror", "")
    with writing("download", name, section.model_dump()) as draft:
        partial = SCRATCH / "downloads" / name
        for remote in source.remote_files():
            missing = [
                r.name for r in source.remote_files() if r.name == remote.name or not (partial / r.name).exists()
            ]
            hint = f"put {' and '.join(missing)} into a folder and set datasets.{name}.mirror to it"
            fetched = _fetch_once(remote, partial, mirror, hint)
            if fetched.suffix == ".zip":
                with open_archive(fetched, archive_limits(params.download)) as archive:
                    archive.check()
                    draft.counts[remote.name] = len(archive.names())
        for remote in source.remote_files():
            os.replace(partial / remote.name, draft.folder / remote.name)
        draft.counts |= source.generate(draft.folder, params.base.seed) or {}
        lacking = [key for key, made in params.experiments.items() if made.dataset == name and made.task == "classify"]
        if lacking and "label" not in source.fields:
            raise InputError(
                f"datasets.{name}: no label, and experiments.{lacking[0]} is to classify: see the line above"
            )
        draft.counts["files"] = sum(path.is_file() for path in draft.folder.iterdir())
        if not draft.counts["files"]:
            raise InputError(f"datasets.{name}: the source {section.source} gave no file")
    say(f"download {name}: {draft.counts['files']} files")


def _fetch_once(remote: RemoteFile, folder: Path, mirror: str, hint: str) -> Path:
    """Fetch a file unless an earlier run that did not end has it complete."""
    path = folder / remote.name
    if not path.exists() or (remote.sha256 and sha256_file(path) not in remote.sha256):
        with progress(remote.name) as report:
            fetch(remote, path, folder, (mirror,) if mirror else (), report, hint)
    return path


def archive_limits(params: DownloadParams) -> ArchiveLimits:
    """Turn the section's bounds into those of an archive."""
    return ArchiveLimits(
        max_members=params.max_members,
        max_total_bytes=int(params.max_total_gb * 2**30),
        max_member_bytes=int(params.max_member_mb * 2**20),
    )


def list_files(params: Params, name: str) -> None:
    """Print the files that one data set fetches as JSON: name, addresses, accepted sha256 (none: any bytes)."""
    section = params.datasets[name]
    say(json.dumps([asdict(remote) for remote in SOURCES[section.source](section).remote_files()], indent=1))


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = stage_parser("download", __doc__)
    parser.add_argument("--files", action="store_true", help="only say as JSON which files would be fetched from where")
    args = parser.parse_args(argv)
    run_named(args, "datasets", list_files if args.files else run)


if __name__ == "__main__":
    main(command)
