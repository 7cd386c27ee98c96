"""Write params.yaml from a preset and the defaults that all presets share, comments kept.

A preset (`presets/<name>.yaml`) holds its data sets, features and experiments, and of the other sections the values
that differ from `presets/defaults.yaml`. A params.yaml that a person has edited is kept, and the difference shown.

Run it: `make preset NAME=<name>`; without a name it lists the presets. `FORCE=1` gives up what was edited.
"""

import argparse
import difflib
import io
import re
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from flows.graph.settings import project_root
from flows.graph.terminal import console
from stages.base.errors import InputError
from stages.base.store import write_text
from stages.params import NONE, Inputs, load_params

PARAMS_FILE, FOLDER, DEFAULTS = "params.yaml", Path("presets"), "defaults"
OWN = ("datasets", "features", "experiments")  # sections that a preset has whole
EACH = "each"  # in the defaults: what every entry of such a section has that does not say otherwise
ORIGIN = "# make preset NAME="  # begins the first line of what is written
ABOUT = """\
# Every value that changes a result. `dvc repro` runs again what depends on a changed one, and nothing else.
# Try one without editing: dvc exp run -S experiments.<name>.fusion=late
# Other data: `make preset` lists what there is.
"""


def preset_names(root: Path) -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml") if path.stem != DEFAULTS)


def heading(root: Path, name: str) -> str:
    """Return the comment that a preset begins with: what it is, command, time and score."""
    lines = (root / FOLDER / f"{name}.yaml").read_text(encoding="utf8").splitlines()
    return "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])


def composed(root: Path, name: str) -> str:
    """Return the text of a whole params file: a preset over the defaults.

    Raises:
        InputError: when the preset names a section or a key that the defaults do not have.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 10_000
    defaults, preset = (_load(yaml, root / FOLDER / f"{file}.yaml") for file in (DEFAULTS, name))
    for section, values in preset.items():
        if section in OWN:
            _fill_entries(section, values, defaults[section][EACH])
            defaults[section] = values
        else:
            _replace(defaults, section, values, f"presets/{name}.yaml")
    out = io.StringIO()
    yaml.dump(defaults, out)
    return f"{ORIGIN}{name}\n#\n{heading(root, name)}\n#\n{ABOUT}{_spaced(out.getvalue())}"


def _load(yaml: YAML, path: Path) -> CommentedMap:
    """Read a file without its heading."""
    return yaml.load(re.sub(r"\A(#.*\n)+", "", path.read_text(encoding="utf8")))


def _fill_entries(section: str, entries: CommentedMap, each: CommentedMap) -> None:
    """Give every data set or experiment what it does not say, and DVC a value for every input."""
    for entry in entries.values():
        for key in [key for key in each if key not in entry]:
            entry.insert(1 if section == "datasets" else len(entry), key, deepcopy(each[key]))  # no anchor
            if key in each.ca.items:
                entry.ca.items[key] = each.ca.items[key]
        if section == "experiments":
            for place, slot in enumerate(Inputs.model_fields):
                if slot not in entry["inputs"]:
                    entry["inputs"].insert(place, slot, NONE)


def _replace(defaults: CommentedMap, section: str, values: CommentedMap, where: str) -> None:
    """Put a preset's values into a section; comments are those of the defaults."""
    if section not in defaults:
        raise InputError(f"{where}: unknown section {section!r}; expected some of {', '.join(defaults)}")
    for key, value in values.items():
        if key not in defaults[section]:
            raise InputError(f"{where}: unknown key {section}.{key}; expected some of {', '.join(defaults[section])}")
        defaults[section][key] = value


def _spaced(text: str) -> str:
    """Return YAML with one empty line before each section, and no other."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "".join(f"\n{line}\n" if re.match(r"\w", line) else f"{line}\n" for line in lines)


def edits(root: Path, name: str) -> str:
    """Return as a diff what a person has changed in params.yaml.

    Compared is the preset that it was written from, or `name` where it was written otherwise.
    """
    path = root / PARAMS_FILE
    if not path.exists():
        return ""
    now = path.read_text(encoding="utf8").splitlines(keepends=True)
    origin = "".join(now[:1]).strip().removeprefix(ORIGIN)
    base = origin if origin in preset_names(root) else name
    written = composed(root, base).splitlines(keepends=True)
    return "".join(difflib.unified_diff(written, now, f"make preset NAME={base}", PARAMS_FILE, n=1))


def summary(root: Path, name: str) -> str:
    """Return in a line what a preset makes of params.yaml."""
    yaml = YAML(typ="safe")
    preset: dict[str, Any] = yaml.load((root / FOLDER / f"{name}.yaml").read_text(encoding="utf8"))
    named = [f"{section} {', '.join(preset[section])}" for section in OWN]
    other = [f"{s}.{key} {value}" for s in preset if s not in OWN for key, value in preset[s].items()]
    return "; ".join([*named, f"other than the defaults: {', '.join(other)}" if other else "else the defaults"])


def listing(root: Path) -> Iterator[str]:
    """Yield the presets with their headings."""
    for name in preset_names(root):
        yield f"{name}\n" + "\n".join(f"  {line[2:]}" for line in heading(root, name).splitlines())


def write(root: Path, name: str, force: bool) -> str:
    """Write params.yaml, and return what to say about it.

    Raises:
        InputError: when there is no such preset, or a person has edited what would be overwritten.
    """
    if name not in preset_names(root):
        raise InputError(f"there is no preset {name!r}; there are:\n\n" + "\n".join(listing(root)))
    text = composed(root, name)
    changed = edits(root, name)
    path = root / PARAMS_FILE
    if path.exists() and path.read_text(encoding="utf8") == text:
        return f"{PARAMS_FILE} is that of presets/{name}.yaml already"
    if changed and not force:
        raise InputError(f"{PARAMS_FILE} was edited, and is kept; with FORCE=1 this is lost:\n\n{changed}")
    write_text(path, text)
    load_params(path)
    return f"wrote {PARAMS_FILE} from presets/{name}.yaml: {summary(root, name)}"


def main(arguments: list[str] | None = None) -> int:
    """Write params.yaml, or list the presets; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.preset", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="?", help="a file of presets/, without its ending (default: list them)")
    parser.add_argument("--force", action="store_true", help="overwrite a params.yaml that was edited")
    args = parser.parse_args(arguments)
    root, out = project_root(), console()
    try:
        told = write(root, args.name, args.force) if args.name else "\n".join(listing(root))
    except InputError as error:
        out.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    out.print(told, markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
