"""What there is to do: new data, and what DVC says has changed since the stages ran."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.graph.dvc_stages import Change, changes
from flows.retraining.new_data import Look, forget_partial, look, named, note
from stages.params import Params

PARAMS_FILE = "params.yaml"
OWN_FOLDERS = ("artifacts/", "data/")  # what stages write, and what the looks at the data sets tell better


@dataclass(frozen=True)
class News:
    """The looks at the data sets, by name, and DVC's changes."""

    looks: dict[str, Look]
    changes: tuple[Change, ...]

    @property
    def forced(self) -> list[str]:
        """The downloads that DVC would skip although their upstream has changed."""
        return [f"download@{name}" for name, look in self.looks.items() if look.upstream]

    @property
    def is_any(self) -> bool:
        """Whether a stage must run; files that a `dvc repro` by hand has taken in already ask for none."""
        return bool(self.changes or self.forced)

    def lines(self) -> list[str]:
        """Return what is new, a sentence a line."""
        return [line for look in self.looks.values() for line in look.words()] + list(_change_lines(self.changes))

    def unknown(self) -> list[str]:
        """Return what could not be asked about, a sentence a line."""
        return [line for look in self.looks.values() for line in look.unknown]

    def note(self, root: Path, dataset: str | None = None) -> None:
        """Keep the fingerprint of one data set, or of all, for the next look."""
        for name, found in self.looks.items():
            if dataset in (None, name):
                note(root, found)


def look_around(root: Path, params: Params, graph: Iterable[str]) -> News:
    """Look at the data sets of these stages and ask DVC what has changed; this takes a second or two.

    Raises:
        InputError: A section of params.yaml cannot be used.
        StageError: DVC cannot say.
    """
    stages = list(graph)
    names = [stage.partition("@")[2] for stage in stages if stage.startswith("download@")]
    looks = {name: look(root, name, params.datasets[name]) for name in names if name in params.datasets}
    for found in looks.values():
        forget_partial(root, found)
    return News(looks, tuple(changes(root, stages)))


def _change_lines(found: tuple[Change, ...]) -> Iterator[str]:
    kinds = {
        "params": [c.name for c in found if c.kind == "param" or c.name == PARAMS_FILE],
        "code": [c.name for c in found if c.kind == "dep" and not c.name.startswith((*OWN_FOLDERS, PARAMS_FILE))],
        "commands in dvc.yaml": [c.name for c in found if c.kind == "stage"],
    }
    for kind, names in kinds.items():
        if names:
            yield f"{kind} changed: {named(dict.fromkeys(names))}"
    outputs = [c for c in found if c.kind == "out"]
    if outputs:
        yield f"outputs to make or make again: {named(dict.fromkeys(c.name for c in outputs))}"
    told = {c.stage for c in found if c.kind != "dep" or not c.name.startswith(OWN_FOLDERS)}
    left = [c.stage for c in found if c.stage not in told and c.name.startswith("artifacts/")]
    if left:
        yield f"left by an earlier run: {named(dict.fromkeys(left))}"
