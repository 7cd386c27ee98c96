"""A rollback brings the champion before back and keeps the bad one away; errors say what is possible."""

import pytest

from flows import rollback
from stages import register
from stages.base.errors import InputError
from stages.registry.journal import FORBIDDEN_TAG, history, move
from stages.registry.registry import CHAMPION, aliases
from tests.support.small_registry import NAME, Cut, CutClient, add_version, toy_registry


@pytest.fixture
def registry(empty_store, tmp_path, monkeypatch):
    """A client of a registry in which three versions were champion, one after the other."""
    monkeypatch.setenv("COLUMNS", "200")
    with toy_registry(empty_store, tmp_path, monkeypatch, versions=3) as mlflow_client:
        for number in (1, 2, 3):
            move(mlflow_client, NAME, number, "better")
        yield mlflow_client


def champion(mlflow_client) -> int:
    return int(aliases(mlflow_client, NAME)[CHAMPION])


def is_forbidden(mlflow_client, number: int) -> bool:
    return FORBIDDEN_TAG in mlflow_client.get_model_version(NAME, str(number)).tags


def test_each_rollback_goes_one_champion_back_until_there_is_none(registry, capsys):
    rollback.command([NAME, "--reason", "it calls cats dogs"])
    assert champion(registry) == 2 and is_forbidden(registry, 3) and not is_forbidden(registry, 2)
    assert capsys.readouterr().out == "toy: version 2 is champion, version 3 is forbidden: it calls cats dogs\n"
    entry = history(registry, NAME)[-1]
    assert (entry.before, entry.to, entry.forbids, entry.done, entry.who) == (3, 2, True, True, "ann")
    rollback.command([NAME])
    assert champion(registry) == 1 and is_forbidden(registry, 2)
    message = (
        "toy: there is no champion before version 1: version 2 cannot come back: version 2 is forbidden since .* by "
        "ann: no reason given; version 3 cannot come back: .*: it calls cats dogs; give one with --to <version>"
    )
    with pytest.raises(InputError, match=message):
        rollback.command([NAME])
    assert champion(registry) == 1 and not is_forbidden(registry, 1)


def test_a_former_champion_that_lost_its_files_is_passed_over(registry, tmp_path):
    (tmp_path / "toy-2/artifacts/toy/weights").unlink()
    rollback.command([NAME])
    assert champion(registry) == 1


def test_what_was_moved_by_hand_in_mlflow_is_rolled_back_too(registry, tmp_path):
    hand = add_version(registry, NAME, tmp_path)
    registry.set_registered_model_alias(NAME, CHAMPION, str(hand))
    rollback.command([NAME])
    assert champion(registry) == 3 and is_forbidden(registry, hand)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_rollback_cut_off_after_it_was_written_ahead_is_finished_by_one_command(registry, at):
    with pytest.raises(Cut):
        rollback.rollback(CutClient(registry, at), NAME, "bad")
    register.command([NAME, "--recover"])
    assert champion(registry) == 2 and is_forbidden(registry, 3)
    assert [entry.to for entry in history(registry, NAME) if entry.done] == [1, 2, 3, 2]


def test_a_chosen_version_comes_back_unless_it_is_forbidden(registry):
    rollback.command([NAME, "--to", "1"])
    assert champion(registry) == 1 and is_forbidden(registry, 3)
    with pytest.raises(InputError, match="toy: version 3 is forbidden since .*`python -m stages.register toy --pro"):
        rollback.command([NAME, "--to", "3"])
    with pytest.raises(InputError, match="toy: version 1 is the champion already"):
        rollback.command([NAME, "--to", "1"])
    with pytest.raises(InputError, match="toy has no version 9; expected one of 1, 2, 3"):
        rollback.command([NAME, "--to", "9"])


def test_a_person_may_promote_past_the_gate_with_a_reason_and_allow_what_was_forbidden(registry):
    rollback.command([NAME])
    with pytest.raises(InputError, match="say why: "):
        register.command([NAME, "--promote", "3"])
    with pytest.raises(InputError, match="version 3 is forbidden"):
        register.command([NAME, "--promote", "3", "--reason", "it was the data"])
    assert champion(registry) == 2
    register.command([NAME, "--promote", "3", "--reason", "it was the data", "--allow"])
    assert champion(registry) == 3 and not is_forbidden(registry, 3) and not is_forbidden(registry, 2)
    assert history(registry, NAME)[-1].why == "by hand: it was the data"


def test_names_and_models_without_a_champion_are_told(registry):
    with pytest.raises(InputError, match="no model 'nobody' is registered; expected one of toy"):
        rollback.command(["nobody"])
    with pytest.raises(InputError, match="give a name; expected one of toy"):
        rollback.command([])
    registry.delete_registered_model_alias(NAME, CHAMPION)
    with pytest.raises(InputError, match="toy has no champion to roll back"):
        rollback.command([NAME])


def test_the_history_and_the_list_show_what_happened(registry, capsys):
    rollback.command([NAME, "--reason", "bad"])
    capsys.readouterr()
    register.command([NAME, "--history"])
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    found = [[cell.strip() for cell in row] for row in rows]
    assert [row[2:4] for row in found] == [["-", "1"], ["1", "2"], ["2", "3"], ["3", "2"]]
    assert found[-1][4:] == ["ann", "done, 3 forbidden", "bad"]
    registry.create_registered_model("unused")
    register.command(["unused", "--history"])
    assert capsys.readouterr().out == "unused: no version was ever champion\n"
    registry.delete_registered_model("unused")


def test_the_record_of_a_moved_champion_is_written_anew_by_the_next_run(registry, tmp_path):
    record = tmp_path / "artifacts/register/toy"
    record.mkdir(parents=True)
    rollback.command([NAME])
    assert not record.exists()
