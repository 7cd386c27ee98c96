"""The registry has each base once, whole or not at all; what is missing or changed there is named."""

import shutil
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.base.store import bases_folder
from stages.base.tracking import client
from stages.params import LanguageModelParams
from stages.pretrained import bases
from stages.registry.bases import FILES, RUNS, bring_bases, fault_of_base, upload_bases
from stages.registry.registry import fault_of
from tests.support.small_registry import Cut, CutClient, add_version

pytest.importorskip("transformers", reason="needs the extra `huggingface`")

MODELS = [Path("one"), Path("two")]  # trained models that refer to one base


@pytest.fixture
def registry(empty_store, tmp_path, monkeypatch):
    """A client of an empty registry, in a project with two trained models over one base."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSELINE_BASES", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store[10:], tmp_path / 'mlflow.db')}")
    Path("llama").mkdir()
    for name in ("config.json", "model.safetensors"):
        Path("llama", name).write_bytes(name.encode() * 99)
    Path("llama/README.md").write_text("---\nlicense: mit\n---\n")
    base = bases.find(LanguageModelParams(name="language_model", model="llama"))
    bases.keep(base)
    for model in MODELS:
        (model / "bases/head").mkdir(parents=True)
        bases.write_reference(model / "bases/head", base.reference)
    return client()


def reference() -> bases.Reference:
    found = bases.read_reference(MODELS[0] / "bases/head")
    assert found
    return found


def runs(registry):
    experiment = registry.get_experiment_by_name(f"fuseline/{RUNS}")
    return registry.search_runs([experiment.experiment_id]) if experiment else []


def logged() -> list[Path]:
    """Return the files of the base in the registry."""
    return sorted(path for path in Path("files").rglob(f"{FILES}/*"))


def test_two_models_over_one_base_bring_it_once_with_its_licence(registry):
    for model in MODELS:
        upload_bases(registry, model)
        assert fault_of_base(registry, reference()) is None
    (run,) = runs(registry)
    tags = {key.removeprefix("fuseline."): value for key, value in run.data.tags.items()}
    wanted = {"base": reference().digest, "base_model": "llama", "base_licence": "mit", "base_is_whole": "true"}
    assert wanted.items() <= tags.items() and run.info.status == "FINISHED"
    assert [path.name for path in logged()] == ["base.json", "config.json", "model.safetensors"]
    shutil.rmtree(bases_folder())
    upload_bases(registry, MODELS[0])  # there already: nothing is needed of the store
    bring_bases(MODELS[0])
    assert bases.is_stored(reference())
    bases.verify(bases_folder() / reference().digest)


@pytest.mark.parametrize("at", range(5))
def test_a_registration_that_was_cut_off_is_finished_by_the_next(registry, at):
    with pytest.raises(Cut):
        upload_bases(CutClient(registry, at), MODELS[0])
    assert fault_of_base(registry, reference()) == f"its {reference()} is not in the registry"
    kept = bases_folder().rename("aside")
    with pytest.raises(InputError, match=r"is missing: not in .*, not in the registry sqlite:"):
        bring_bases(MODELS[0])
    kept.rename(bases_folder())
    upload_bases(registry, MODELS[1])
    assert fault_of_base(registry, reference()) is None and len(runs(registry)) == 1


def test_a_base_that_neither_store_nor_registry_has_is_named(registry, monkeypatch):
    shutil.rmtree(bases_folder())
    words = rf"{reference().digest}, is missing: not in .*bases .*, not in the registry sqlite:///.*mlflow.db\. Bring"
    with pytest.raises(InputError, match=words):
        bring_bases(MODELS[0])
    with pytest.raises(InputError, match=words):
        upload_bases(registry, MODELS[0])
    monkeypatch.setattr("mlflow.is_tracking_uri_set", lambda: False)
    with pytest.raises(InputError, match=r"no registry is named \(MLFLOW_TRACKING_URI\)\. .* --pack FOLDER"):
        bring_bases(MODELS[0])


def test_a_file_changed_in_the_registry_is_named_and_does_not_come_in(registry):
    upload_bases(registry, MODELS[0])
    shutil.rmtree(bases_folder())
    path = logged()[-1]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    words = r"base .* \(llama\): its file model.safetensors is changed .* in the registry sqlite:///"
    with pytest.raises(InputError, match=words):
        bring_bases(MODELS[0])
    assert not bases.is_stored(reference())


def test_a_base_deleted_from_the_registry_is_a_fault_of_its_versions_until_it_is_there_again(registry):
    upload_bases(registry, MODELS[0])
    number = add_version(registry, "toy", Path.cwd())
    shutil.copytree(MODELS[0] / "bases", Path("toy-1/artifacts/toy/bases"))
    assert fault_of(registry, "toy", number) is None
    logged()[-1].unlink()
    told = f"the file model.safetensors of its {reference()} has no bytes in the registry, not 1683"
    assert fault_of(registry, "toy", number) == told
    upload_bases(registry, MODELS[0])
    assert fault_of(registry, "toy", number) is None
    registry.delete_run(runs(registry)[0].info.run_id)
    assert fault_of(registry, "toy", number) == f"its {reference()} is not in the registry"
    upload_bases(registry, MODELS[0])
    assert fault_of(registry, "toy", number) is None


def test_versions_go_and_their_base_stays(registry):
    upload_bases(registry, MODELS[0])
    numbers = [add_version(registry, "toy", Path.cwd()) for _ in range(2)]
    for number in numbers:
        shutil.copytree(MODELS[0] / "bases", Path(f"toy-{number}/artifacts/toy/bases"))
    registry.delete_model_version("toy", "1")
    assert fault_of(registry, "toy", 2) is None
    registry.delete_registered_model("toy")
    assert fault_of_base(registry, reference()) is None
