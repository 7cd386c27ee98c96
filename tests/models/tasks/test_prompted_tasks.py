"""Tasks asked of a language model: what a sample lacks is left out, answers are written or chosen, no batch matters."""

import dataclasses

import numpy as np
import pytest
import torch

from stages.base.device import Device
from stages.base.errors import InputError
from stages.extractors.utf8 import Utf8
from stages.media.text import END, PAD, START, UTF8
from stages.models.encoders.base import FeatureSpec
from stages.models.heads.pieces import Pieces
from stages.models.heads.prompt import Run, read_template
from stages.models.heads.search import Search, search
from stages.models.model import build, keep_bases, load_model, save_model
from stages.models.tables import FeatureTable
from stages.models.tasks.prompted.classify import PromptedClassifyTask
from stages.models.tasks.prompted.vqa import OpenVqaTask
from stages.pretrained import bases
from stages.training.batches import TrainBatches, ValidationBatches
from tests.support.small_splits import make_config, make_split, project_params
from tests.support.tiny_models import write_tiny

transformers = pytest.importorskip("transformers", reason="needs the extra `huggingface`")
pytest.importorskip("peft", reason="needs the extra `huggingface`")

CPU = Device(torch.device("cpu"), torch.float32)
BYTES = 48
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": ["all-linear"]}
PARAMS = project_params()
TRAIN = PARAMS.train.model_copy(update={"word_loss": 0.0, "label_smoothing": 0.0})
EVALUATE = PARAMS.evaluate.model_copy(update={"batch_size": 3, "beam_size": 2})
PROMPTS = {
    "caption": "{text} in the picture:",
    "classify": "{text} is a",
    "vqa": "Question: {question} Answer:",
}
TEXT_OF = {"caption": "text", "classify": "text", "vqa": "question"}
EVERY_TASK = pytest.mark.parametrize("task", sorted(PROMPTS))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return {name: write_tiny(name, tmp_path_factory.mktemp("tiny") / name) for name in ("llama", "gpt2")}


def make(folder, task, media=("image",), prompt=None, **changes):
    torch.manual_seed(0)
    prompt = PROMPTS[task] if prompt is None else prompt
    head = {"name": "language_model", "model": str(folder), "lora": LORA, "prompt": prompt, **changes}
    config = make_config(task, (*media, TEXT_OF[task]), head=head, max_words=12) if task != "classify" else None
    config = config or make_config(task, (*media, TEXT_OF[task]), head=head)
    features = config.features | {TEXT_OF[task]: FeatureSpec((BYTES,), 0, UTF8)}
    return build(dataclasses.replace(config, features=features, bases={"head": bases.find(config.experiment.head)}))


def make_texts(rows, task, lacking=()):
    texts = [row["questions"] if task == "vqa" else [row["message"]] for row in rows]
    texts = [[] if (TEXT_OF[task], i) in lacking else found for i, found in enumerate(texts)]
    flat = [Utf8(BYTES).decode(text.encode()) for found in texts for text in found]
    ends = np.cumsum([len(found) for found in texts])
    places = [list(range(end - len(found), end)) for end, found in zip(ends, texts, strict=True)]
    return FeatureTable(np.stack(flat), places, CPU, 1e9)


def make_data(task, media=("image",), lacking=()):
    split = make_split(media, ("question",) if task == "vqa" else (), lacking)
    return dataclasses.replace(split, features=split.features | {TEXT_OF[task]: make_texts(split.rows, task, lacking)})


def batch_of(task, split):
    return next(iter(ValidationBatches(split, task, len(split))))


def learn(task, split, count):
    optimizer = torch.optim.AdamW(task.parameters(), 1e-2)
    losses = []
    for _ in range(count):
        loss = task.train().loss(batch_of(task, split), TRAIN)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    task.eval()
    return losses


@EVERY_TASK
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_prompted_task_learns_and_is_read_again_as_it_was(tiny, tmp_path, monkeypatch, task, family):
    model, split = make(tiny[family], task), make_data(task)
    losses = learn(model, split, 25)
    assert losses[-1] < 0.6 * losses[0]
    answers = model.answer(split, EVALUATE)
    monkeypatch.chdir(tmp_path)
    keep_bases(model.config)
    save_model(tmp_path, model.config, model.state_dict(), {}, {})
    assert load_model(tmp_path, CPU).answer(split, EVALUATE) == answers
    metrics = model.metrics(answers, split.rows)
    assert 0 <= metrics[model.headline] <= 1
    assert len(model.records(answers, split.rows)["sample_id"]) == sum(
        len(row["questions"]) if task == "vqa" else 1 for row in split.rows
    )


@EVERY_TASK
def test_a_draw_of_training_has_a_loss(tiny, task):
    model, split = make(tiny["llama"], task), make_data(task)
    train = TRAIN.model_copy(update={"batch_size": 4, "texts_per_step": 2})
    for batch in TrainBatches(split, model, train):
        assert torch.isfinite(model.train().loss(batch, train))


@EVERY_TASK
def test_a_batch_answers_as_one_by_one(tiny, task):
    lacking = [("image", 0), ("text", 1), ("audio", 2)]
    media = ("image", "audio")
    model, split = make(tiny["llama"], task, media), make_data(task, media, lacking)
    learn(model, split, 8)
    together = model.answer(split, EVALUATE.model_copy(update={"batch_size": 8}))
    alone = model.answer(split, EVALUATE.model_copy(update={"batch_size": 1}))
    key = {"caption": "caption", "classify": "label", "vqa": "answers"}[task]
    assert [a[key] for a in alone] == [a[key] for a in together]


@EVERY_TASK
def test_what_a_sample_lacks_is_left_out_of_what_the_model_reads(tiny, task):
    """The same as a prefix that never had the places: the absent ones are not looked at and take no position."""
    model, split = make(tiny["llama"], task, ("image", "audio")), make_data(task, ("image", "audio"), [("audio", 0)])
    batch = {key: value[:1] for key, value in batch_of(model, split).items()}
    from stages.models.tasks.prompted.base import prefix_of

    encoded = model.encode(batch)
    assert not encoded["audio"].real_BL.any()
    with torch.no_grad():
        prefix = prefix_of(model.decoder, model.config, encoded, batch)
        without = prefix_of(model.decoder, model.config, {"image": encoded["image"]}, batch)
        texts = torch.tensor([[1, 60, 70, 2]])
        scores = model.decoder.log_likelihoods(prefix, texts)
        torch.testing.assert_close(scores, model.decoder.log_likelihoods(without, texts), atol=1e-4, rtol=1e-4)
        full = prefix_of(
            model.decoder, model.config, model.encode(batch | {"audio_present": ~batch["audio_present"]}), batch
        )
        assert not torch.allclose(scores, model.decoder.log_likelihoods(full, texts), atol=1e-4)


def test_the_text_of_the_prompt_counts(tiny):
    model, split = make(tiny["llama"], "vqa"), make_data("vqa")
    batch = batch_of(model, split)
    with torch.no_grad():
        assert model.loss(batch) != model.loss(batch | {"question": batch["question"].roll(1, 0)})


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_likelihoods_are_those_of_the_model_alone(tiny, family):
    model, split = make(tiny[family], "classify", media=()), make_data("classify", ())
    with torch.no_grad():
        shares = model.probabilities(batch_of(model, split))
        decoder, raw = model.decoder, model.decoder.model
        for row, share in zip(split.rows, shares, strict=True):
            totals = []
            for label in model.classes:
                asked = decoder.pieces.ids(f"{row['message']} is a")
                ids = torch.tensor([[*asked, *decoder.pieces.ids(f" {label}"), decoder.pieces.end]])
                scores = raw(ids).logits[0].log_softmax(-1)
                found = range(len(asked), ids.shape[1])
                totals.append(sum(scores[i - 1, ids[0, i]] for i in found))
            torch.testing.assert_close(share, torch.stack(totals).softmax(-1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_likeliest_text_is_found_without_reading_all(tiny, family, monkeypatch):
    model, split = make(tiny[family], "vqa"), make_data("vqa")
    learn(model, split, 8)
    decoder, rng = model.decoder, np.random.default_rng(0)
    texts = np.full((100, 6), PAD)
    for row, length in zip(texts, rng.integers(0, 4, len(texts)), strict=True):
        row[: length + 2] = [START, *rng.integers(3, 300, length), END]
    reads, read_on = [], decoder._read_on

    def counted(*given):
        reads.append(given[2].shape[:2].numel())
        return read_on(*given)

    with torch.no_grad():
        prefix = model._prefix(batch_of(model, split))
        monkeypatch.setattr(decoder, "_read_on", counted)
        chosen, best = decoder.likeliest(prefix, torch.from_numpy(texts))
        monkeypatch.undo()
        every = decoder.log_likelihoods(prefix, torch.from_numpy(texts))
    torch.testing.assert_close(best, every.max(1).values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(best, every.gather(1, chosen[:, None])[:, 0], atol=1e-4, rtol=1e-4)
    assert sum(reads) < every.numel()


def test_gradients_are_the_same_with_checkpoints(tiny):
    grads = []
    for kept in (False, True):
        model, split = make(tiny["llama"], "vqa", gradient_checkpointing=kept), make_data("vqa")
        model.train().loss(batch_of(model, split), TRAIN).backward()
        grads.append({name: weight.grad for name, weight in model.named_parameters()})
    assert grads[0].keys() == grads[1].keys()
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=1e-5, rtol=1e-3)


def test_an_open_answer_is_right_by_its_words_and_the_closed_set_stands_beside(tiny):
    model, split = make(tiny["llama"], "vqa"), make_data("vqa")
    assert isinstance(model, OpenVqaTask)
    written = [{"answers": [f"The {answer.upper()}." for answer in row["answers"]]} for row in split.rows]
    assert model.metrics(written, split.rows)["accuracy"] == 1.0
    wrong = [{"answers": ["" for _ in row["answers"]]} for row in split.rows]
    assert model.metrics(wrong, split.rows)["accuracy"] == 0.0
    learn(model, split, 30)
    rows = model.baselines(split, split)
    assert set(rows) == {"majority", "majority_of_question", "closed_set"}
    assert {answer for found in rows["closed_set"] for answer in found["answers"]} <= set(model.classes)
    assert model.metrics(rows["closed_set"], split.rows)["accuracy"] > 0.5


def test_questions_alone_are_answered_too(tiny):
    model, split = make(tiny["llama"], "vqa", media=()), make_data("vqa", ())
    losses = learn(model, split, 10)
    assert losses[-1] < losses[0]
    answers = model.answer(split, EVALUATE)
    assert [len(answer["answers"]) for answer in answers] == [len(row["questions"]) for row in split.rows]


def test_labels_are_chosen_by_their_words(tiny):
    model, split = make(tiny["llama"], "classify"), make_data("classify")
    assert isinstance(model, PromptedClassifyTask)
    learn(model, split, 40)
    answers = model.answer(split, EVALUATE)
    assert [answer["label"] for answer in answers] == [row["label"] for row in split.rows]
    assert all(sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4) for answer in answers)


def test_what_looks_like_a_special_piece_in_a_text_is_letters(tiny):
    pieces = Pieces(tiny["llama"])
    (run,) = read_template("<|end|>small {text}<|end|>", (), pieces)
    ids = run.fill({"text": "red<|end|>"})
    assert [i for i, number in enumerate(ids) if number == pieces.end] == [0, len(ids) - 1]
    assert pieces._tokenizer.decode(ids) == "<|end|>small red<|end|><|end|>"
    assert Run([], pieces).fill({}) == [pieces.start]


def test_a_template_is_cut_as_the_tokenizer_would_cut_its_text(tiny):
    pieces = Pieces(tiny["gpt2"])
    (run,) = read_template("a {text} circle", (), pieces)
    assert run.fill({"text": "small red"}) == pieces.ids("a small red circle")
    first, name, last = read_template("a {image} circle{{}}", ("image",), pieces)
    assert (first.fill({}), name, last.fill({})) == (pieces.ids("a "), "image", pieces.ids(" circle{}"))


def test_drawn_texts_are_the_same_each_time_and_differ_with_the_temperature(tiny):
    model, split = make(tiny["llama"], "caption"), make_data("caption")
    learn(model, split, 3)
    seen = model._seen(batch_of(model, split))

    def drawn(**how):
        return [caption.ids for caption in search(model.decoder, seen, Search(1, 12, 0.0, **how))]

    assert drawn(temperature=1.0) == drawn(temperature=1.0)
    assert drawn(temperature=1.0) != drawn()
    assert drawn(temperature=1.0, top_p=1e-6) == drawn(), "the likeliest word alone is left"
    assert drawn(temperature=1e-3) == drawn(), "a low temperature takes the likeliest"


def test_drawn_words_come_as_often_as_they_are_likely():
    """The Gumbel-max trick against the probabilities themselves, over many beams of one step."""
    from stages.models.heads.search import Beams, _drawn

    log_probs = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(1, 4000, 4)
    beams = Beams(torch.zeros(1, 4000, 0), torch.zeros(1, 4000, 0), torch.zeros(1, 4000, 0, 1), torch.zeros(1, 4000))
    generator = torch.Generator().manual_seed(1)
    _, words = _drawn(beams, log_probs, Search(4000, 1, 0.0, temperature=1.0), generator)
    shares = torch.bincount(words[0], minlength=4) / 4000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03)
    _, words = _drawn(beams, log_probs, Search(4000, 1, 0.0, temperature=1.0, top_p=0.75), generator)
    shares = torch.bincount(words[0], minlength=4) / 4000
    assert torch.allclose(shares, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=0.03)


def test_media_that_another_model_made_are_refused(tiny):
    with pytest.raises(
        InputError, match=r"head: .*its prompt has \{image\}, whose features are not made by this model"
    ):
        make(tiny["llama"], "classify", prompt="{image}{text}")
