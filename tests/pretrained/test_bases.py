"""Pretrained models are kept once by the digest of their files, whole or not at all, and verified when read."""

import json
import shutil
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.base.store import bases_folder
from stages.params import LanguageModelParams
from stages.pretrained import bases
from stages.pretrained.sharing import read

pytest.importorskip("transformers", reason="needs the extra `huggingface`")

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 99, "tokenizer.json": b"pieces"}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSELINE_BASES", raising=False)
    Path(".fuseline").mkdir()


def write(folder: Path, **others: bytes) -> Path:
    folder.mkdir()
    for name, data in (FILES | {"README.md": b"no front matter", "optimizer.pt": b"x"} | others).items():
        (folder / name).write_bytes(data)
    return folder


def named(folder: Path) -> LanguageModelParams:
    return LanguageModelParams(name="language_model", model=str(folder))


def kept(folder: Path) -> bases.Reference:
    base = bases.find(named(folder))
    bases.keep(base)
    assert base.reference
    return base.reference


def refer(folder: Path, reference: bases.Reference) -> Path:
    folder.mkdir(parents=True)
    bases.write_reference(folder, reference)
    return folder


def test_a_model_is_kept_by_its_files_and_found_where_only_a_reference_stands():
    reference = kept(write(Path("llama")))
    assert (reference.model, reference.num_bytes) == ("llama", sum(map(len, FILES.values())))
    place = bases_folder() / reference.digest
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.name != bases.REFERENCE} == FILES
    shutil.rmtree("llama")
    assert bases.locate(refer(Path("trained/bases/head"), reference)) == bases.Base(place, reference)
    assert bases.references(Path("trained")) == {Path("trained/bases/head"): reference}


def test_equal_files_elsewhere_are_the_same_base_and_others_are_not():
    first, same = kept(write(Path("one"))), kept(write(Path("two")))
    other = kept(write(Path("three"), **{"tokenizer.json": b"Pieces"}))
    assert first.digest == same.digest != other.digest
    assert len([path for path in bases_folder().iterdir() if path.is_dir()]) == 2


def test_what_a_person_may_edit_is_copied_and_what_the_hub_keeps_is_linked():
    blobs = write(Path("blobs"))
    Path("snapshot").mkdir()
    for name in FILES:
        Path("snapshot", name).symlink_to(blobs.absolute() / name)
    place = bases_folder() / kept(Path("snapshot")).digest
    assert all((place / name).samefile(blobs / name) and not (place / name).is_symlink() for name in FILES)
    shutil.rmtree(place)
    kept(blobs)
    assert not any((place / name).samefile(blobs / name) for name in FILES)


def test_what_is_cut_off_or_wrong_is_not_in_the_store():
    reference = bases.find(named(write(Path("llama")))).reference
    assert reference
    with pytest.raises(KeyboardInterrupt), bases.filling(reference, "there") as partial:
        shutil.copyfile("llama/config.json", partial / "config.json")
        raise KeyboardInterrupt
    (bases_folder() / f".{reference.digest}.partial").mkdir()  # as a process that was killed leaves it
    words = r"base .* \(llama\): its file model.safetensors is missing in there; put"
    with pytest.raises(InputError, match=words), bases.filling(reference, "there") as partial:
        shutil.copyfile("llama/config.json", partial / "config.json")
    assert not bases.is_stored(reference)
    kept(Path("llama"))
    assert [path.name for path in bases_folder().iterdir() if path.is_dir()] == [reference.digest]


def test_a_model_changed_while_it_is_taken_is_refused():
    base = bases.find(named(write(Path("llama"))))
    Path("llama/tokenizer.json").write_bytes(b"others")
    with pytest.raises(InputError, match=r"its file tokenizer.json is changed \(sha256 .*\) in llama; put the right"):
        bases.keep(base)


@pytest.mark.parametrize("name", FILES)
def test_one_byte_that_is_changed_is_named_with_its_file(name):
    place = bases_folder() / kept(write(Path("llama"))).digest
    path = place / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    words = rf"base .* \(llama\): its file {name} is changed .* in {place.absolute()}; remove {place.absolute()}"
    with pytest.raises(InputError, match=words):
        read(place, "all", lambda _: pytest.fail("it was read"), None)
    path.unlink()
    with pytest.raises(InputError, match=f"its file {name} is missing in "):
        read(place, "all", lambda _: pytest.fail("it was read"), None)


def test_a_base_that_is_nowhere_is_named_with_where_it_was_looked_for():
    reference = bases.find(named(write(Path("llama")))).reference
    assert reference
    words = (
        rf"base {reference.digest[:12]} \(llama\), digest {reference.digest}, is missing: not in {Path.cwd()}/.*bases "
        r"\(FUSELINE_BASES names another place\)\. Bring it there: .* --pack FOLDER"
    )
    with pytest.raises(InputError, match=words):
        bases.locate(refer(Path("trained"), reference))


def test_a_lost_store_is_filled_from_what_the_params_name():
    reference = kept(write(Path("llama")))
    refer(Path("trained/bases/head"), reference)
    sections = {"bases/head": ("experiments.x.head", named(Path("llama")))}
    shutil.rmtree(bases_folder())
    bases.bring(Path("trained"), {})
    assert not bases.is_stored(reference)
    bases.bring(Path("trained"), sections)
    assert bases.is_stored(reference)
    shutil.rmtree(bases_folder())
    Path("llama/config.json").write_bytes(b"[]")
    with pytest.raises(InputError, match=r"is missing: .*, experiments.x.head.model: llama is base .* \(llama\) now\."):
        bases.bring(Path("trained"), sections)
    shutil.rmtree("llama")
    with pytest.raises(
        InputError, match=r"is missing: .*, experiments.x.head.model: llama: no such folder; and a name"
    ):
        bases.bring(Path("trained"), sections)


def test_files_take_the_place_of_references_and_are_then_read_there():
    reference = kept(write(Path("llama")))
    place = refer(Path("trained/bases/head"), reference)
    bases.put_files(Path("trained"))
    shutil.rmtree(bases_folder())
    assert bases.references(Path("trained")) == {}
    assert bases.locate(place) == bases.Base(place, reference)
    bases.verify(place)
    (place / bases.REFERENCE).unlink()  # as versions were before there were references
    assert bases.locate(place) == bases.Base(place, None)


@pytest.mark.parametrize(
    ("card", "config", "licence"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model", {}, "apache-2.0"),
        ("---\nlicense: [mit, other]\n---\n", {}, "['mit', 'other']"),
        ("# license: mit", {"license": "mit"}, "mit"),
        ("---\n: {\n---\n", {}, bases.UNKNOWN),
    ],
)
def test_the_licence_is_that_of_the_card_or_the_config(card, config, licence):
    folder = write(Path("llama"), **{"README.md": card.encode(), "config.json": json.dumps(config).encode()})
    reference = bases.find(named(folder)).reference
    assert reference and reference.licence == licence


def test_the_store_is_the_projects_else_the_users_unless_it_is_named(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    Path(".fuseline").rmdir()
    assert bases_folder() == Path("/cache/fuseline/bases")
    Path(".fuseline").mkdir()
    assert bases_folder() == Path(".fuseline/bases")
    monkeypatch.setenv("FUSELINE_BASES", "/srv/bases")
    assert bases_folder() == Path("/srv/bases")
