"""DVC's files as a kill leaves them: cut off at any byte, and whole again with nothing run anew."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.graph.dependencies import stage_names
from flows.graph.dvc_stages import Outcome, StageError, repro
from flows.graph.mending import mend
from tests.conftest import calls


def ignore(_: object) -> None:
    pass


def test_a_lock_cut_off_at_any_byte_keeps_its_whole_entries(toy: Path, capfd: pytest.CaptureFixture[str]):
    path = toy / "dvc.lock"
    text = path.read_text()
    entries = YAML(typ="safe").load(text)["stages"]
    mended = 0
    for size in range(0, len(text), 7):
        path.write_text(text[:size])
        mend(toy)
        left = YAML(typ="safe").load(path).get("stages", {}) if path.exists() else {}
        said = capfd.readouterr().err
        whole = {name: entry for name, entry in left.items() if entry == entries.get(name)}
        if said:
            assert left == whole, size
            assert f"dvc.lock was cut off by a kill; it keeps {len(left)} whole entries" in said
            mended += 1
        assert len(left) - len(whole) <= 1, size  # an entry that is cut and can be read: DVC sees that it differs
    assert mended > 10


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
def test_what_a_kill_cut_off_costs_no_stage_another_run(toy: Path, share: float):
    lock, rwlock = toy / "dvc.lock", toy / ".dvc/tmp/rwlock"
    text = lock.read_text()
    lock.write_text(text[: int(share * len(text))])
    rwlock.write_text('{"write": {"/')
    runs = repro(toy, ignore, ignore)
    assert {run.outcome for run in runs} <= {Outcome.CACHED, Outcome.RESTORED}
    assert calls(toy) == []
    assert YAML(typ="safe").load(lock) == YAML(typ="safe").load(text)


def test_what_is_wrong_otherwise_is_left_as_it_is_for_dvc_to_say(toy: Path):
    path = toy / "dvc.lock"
    text = path.read_text()
    middle = text.index("  ", len(text) // 2)
    for wrong in (
        text.replace("schema: '2.0'", "schema: '9.0'"),
        f"{text[:-20]}\n<<<<<<< HEAD\n",
        "no lock",
        f"{text[:middle]}]{text[middle:]}",
    ):
        path.write_text(wrong)
        with pytest.raises(StageError, match=r"dvc\.lock"):
            stage_names(toy)
        assert path.read_text() == wrong
