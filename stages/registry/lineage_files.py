"""What rebuilds a version beside its commit, as files of its run: `lineage/`.

The commit with `uncommitted.diff` is the code of the stages, `params.yaml` what was asked of them; `dvc.lock` and
the manifests say which bytes came out, `environment.json` on what, `trained_on.parquet` digests of the training
samples. No data goes there and no file that git ignores;
names and passwords in addresses are left out.
"""

import platform
import tempfile
from collections.abc import Iterable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.base.addresses import without_credentials
from stages.base.store import MANIFEST, artifact_path, say, write_json
from stages.params import Params
from stages.registry.lineage import (
    LOCK_FILE,
    REQUIREMENTS_LOCK,
    commit_of,
    git_output,
    project_lock_entries,
    version_stages,
)
from stages.registry.trained_on import TRAINED_ON, write_trained_on

LINEAGE = "lineage"
PARAMS_FILE = "params.yaml"
DIFF, ENVIRONMENT, MANIFESTS = "uncommitted.diff", "environment.json", "manifests"
CODE = ("stages", "dvc.yaml", "pyproject.toml", REQUIREMENTS_LOCK)
CODE_SUFFIXES = (".py", ".html")  # of new files that git does not know yet
MAX_DIFF_MB = 4


def write_lineage(folder: Path, params: Params, name: str, packages: Iterable[str], root: Path = Path()) -> None:
    """Write the files of a version of this experiment into a folder."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    stages = version_stages(params, name)
    lock = {"schema": "2.0", "stages": project_lock_entries(root, stages)}
    for file_name, value in ((PARAMS_FILE, params.model_dump(mode="json", by_alias=True)), (LOCK_FILE, lock)):
        with (folder / file_name).open("w", encoding="utf8") as file:
            yaml.dump(value, file)
        _leave_out_credentials(folder / file_name, folder / file_name)
    for stage, item in stages:
        if (source := root / artifact_path(stage, item) / MANIFEST).exists():
            target = folder / MANIFESTS / stage / f"{item}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            _leave_out_credentials(source, target)
    write_json(folder / ENVIRONMENT, environment(packages))
    starts = (root / artifact_path("start", trained) / TRAINED_ON for trained in params.trained_for(name))
    datasets = [dataset for stage, dataset in stages if stage == "prepare"]
    write_trained_on(folder / TRAINED_ON, datasets, [path for path in starts if path.exists()])
    _write_diff(folder / DIFF, root)


def _leave_out_credentials(source: Path, target: Path) -> None:
    target.write_text(without_credentials(source.read_text(encoding="utf8")), encoding="utf8")


def _write_diff(path: Path, root: Path) -> None:
    """Write what the stages' code has that the commit has not; no file where that is not known or too much.

    New files are told to an index of its own, so that the user's stays as it is.
    """
    if not commit_of(root):
        return
    new = git_output(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "stages") or b""
    wanted = [file for file in new.decode().split("\0") if file.endswith(CODE_SUFFIXES)]
    options = ("--binary", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color")
    plain = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "diff.relative=false")
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        git_output(root, "read-tree", "HEAD", **index)
        if wanted:
            git_output(root, "add", "--intent-to-add", "--", *wanted, **index)
        diff = git_output(root, *plain, "diff", *options, "HEAD", "--", *CODE, **index)
    if diff is None or len(diff) > MAX_DIFF_MB * 2**20:
        what = "are not known" if diff is None else f"are more than {MAX_DIFF_MB} MB"
        say(f"the uncommitted changes {what} and are not kept: commit, and the next version can be rebuilt")
        return
    path.write_bytes(diff)


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Return what results may depend on beside code, params and data: the machine's kind, and these packages."""
    import torch

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": f"{_cpu_name()} ({torch.backends.cpu.get_cpu_capability()})",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "packages": {package: installed_version(package) for package in packages},
    }


def _cpu_name() -> str:
    """Return the processor's model; Linux alone tells it in a file."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="utf8", errors="replace").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
