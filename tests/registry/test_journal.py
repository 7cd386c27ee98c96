"""Every move of the champion stands in the journal, and one that was cut off is finished or dropped with a reason."""

import pytest

from stages.base.errors import InputError
from stages.registry.journal import MAX_WHY, allow, forbidden, history, move, recover
from stages.registry.registry import CHALLENGER, CHAMPION, aliases, fault_of
from tests.support.small_registry import NAME, Cut, CutClient, add_version, toy_registry


@pytest.fixture
def registry(empty_store, tmp_path, monkeypatch):
    """A client of a registry in which two versions of a model wait."""
    with toy_registry(empty_store, tmp_path, monkeypatch, versions=2) as mlflow_client:
        yield mlflow_client


def moves(mlflow_client) -> list:
    return [(entry.before, entry.to, entry.done) for entry in history(mlflow_client, NAME)]


def now(mlflow_client) -> dict:
    return {alias: int(number) for alias, number in aliases(mlflow_client, NAME).items()}


def test_a_move_says_who_when_and_why_in_the_journal_and_at_the_version(registry):
    registry.set_registered_model_alias(NAME, CHALLENGER, "1")
    move(registry, NAME, 1, "the first")
    (entry,) = history(registry, NAME)
    assert (entry.number, entry.before, entry.to, entry.done) == (1, None, 1, True)
    assert (entry.who, entry.why) == ("ann", "the first") and entry.when.endswith("+00:00")
    tags = registry.get_model_version(NAME, "1").tags
    found = [tags[f"fuseline.promoted_{key}"] for key in ("at", "by", "why")]
    assert found == [entry.when, "ann", "the first"]
    assert now(registry) == {CHAMPION: 1}


def test_without_a_user_of_the_server_it_is_user_and_host(registry, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    move(registry, NAME, 1, "the first")
    user, _, host = history(registry, NAME)[0].who.partition("@")
    assert user and host


def test_long_reasons_are_cut_to_what_a_tag_holds(registry):
    move(registry, NAME, 1, "ä" * 9000)
    (entry,) = history(registry, NAME)
    assert len(entry.why) == MAX_WHY and entry.why.endswith("ä ...")
    assert len(registry.get_registered_model(NAME).tags["fuseline.champion.000001"]) < 5000


def test_a_move_cut_off_before_any_of_its_changes_is_finished_by_the_next_command(registry):
    move(registry, NAME, 1, "the first")
    for at in range(1, 20):  # change 0 writes it ahead
        registry.set_registered_model_alias(NAME, CHALLENGER, "2")
        cut = CutClient(registry, at)
        try:
            move(cut, NAME, 2, "better", forbids=True)
        except Cut:
            pass
        else:
            break
        assert now(registry)[CHAMPION] in (1, 2)
        recover(registry, NAME)
        assert now(registry) == {CHAMPION: 2}
        assert moves(registry)[-1] == (1, 2, True) and all(done for _, _, done in moves(registry))
        assert forbidden(registry.get_model_version(NAME, "1"))
        before = moves(registry)
        recover(registry, NAME)
        assert moves(registry) == before
        move(registry, NAME, 1, "back again")
        allow(registry, NAME, 1)
    assert at == cut.changes == 8


def test_a_move_that_was_not_written_ahead_never_was(registry):
    move(registry, NAME, 1, "the first")
    with pytest.raises(Cut):
        move(CutClient(registry, 0), NAME, 2, "better")
    recover(registry, NAME)
    assert moves(registry) == [(None, 1, True)] and now(registry) == {CHAMPION: 1}


def test_a_move_by_hand_is_noted_and_left_as_it_is(registry, capsys):
    move(registry, NAME, 1, "the first")
    registry.set_registered_model_alias(NAME, CHAMPION, "2")
    for _ in range(2):
        recover(registry, NAME)
    assert moves(registry) == [(None, 1, True), (1, 2, True)] and now(registry) == {CHAMPION: 2}
    assert history(registry, NAME)[-1].who == "unknown"
    assert capsys.readouterr().out == "toy: champion was moved by hand from version 1 to 2; noted\n"
    registry.delete_registered_model_alias(NAME, CHAMPION)
    recover(registry, NAME)
    assert moves(registry)[-1] == (2, None, True) and now(registry) == {}


def test_a_champion_from_before_the_journal_is_its_first_entry(registry):
    registry.set_registered_model_alias(NAME, CHAMPION, "1")
    recover(registry, NAME)
    assert moves(registry) == [(None, 1, True)]


def test_a_cut_off_move_does_not_undo_what_was_moved_by_hand_meanwhile(registry, tmp_path, capsys):
    move(registry, NAME, 1, "the first")
    with pytest.raises(Cut):
        move(CutClient(registry, 1), NAME, 2, "better")
    third = add_version(registry, NAME, tmp_path)
    registry.set_registered_model_alias(NAME, CHAMPION, str(third))
    recover(registry, NAME)
    assert now(registry) == {CHAMPION: 3}
    assert moves(registry) == [(None, 1, True), (1, 2, False), (1, 3, True)]
    assert history(registry, NAME)[1].dropped == "the alias was moved to version 3 by hand meanwhile"
    recover(registry, NAME)
    assert len(moves(registry)) == 3


def test_a_cut_off_move_to_a_version_that_lost_its_files_is_dropped(registry, tmp_path):
    move(registry, NAME, 1, "the first")
    with pytest.raises(Cut):
        move(CutClient(registry, 1), NAME, 2, "better")
    (tmp_path / "toy-2/artifacts/toy/weights").unlink()
    recover(registry, NAME)
    assert now(registry) == {CHAMPION: 1}
    assert "is not whole: its file artifacts/toy/weights has no bytes" in history(registry, NAME)[-1].dropped


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda files: (files / "weights").write_bytes(b"x"), "has 1 bytes, the manifest says 7"),
        (lambda files: (files / "weights").unlink(), "has no bytes, the manifest says 7"),
        (lambda files: (files / "manifest.json").unlink(), "its trained model is not there"),
    ],
)
def test_no_alias_points_to_a_version_that_is_not_whole(registry, tmp_path, harm, fault):
    assert fault_of(registry, NAME, 1) is None
    harm(tmp_path / "toy-1/artifacts/toy")
    with pytest.raises(InputError, match=f"toy: version 1 is not whole: .*{fault}"):
        move(registry, NAME, 1, "the first")
    assert now(registry) == {} and history(registry, NAME) == []


def test_a_version_that_is_not_there_is_told(registry):
    with pytest.raises(InputError, match="toy: version 9 is not whole: it is not there"):
        move(registry, NAME, 9, "the ninth")


def test_nothing_registered_has_no_history(registry):
    assert history(registry, "nobody") == []
