"""What is drawn is what is asked, by its seed alone, and served as it is evaluated."""

import base64
import copy
import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from stages.base.errors import InputError
from stages.base.store import SPLITS
from stages.extractors.tokens import Tokens
from stages.models.tasks.generate import seed_of
from stages.packaging.predictor import Predictor, PredictSettings
from stages.training.batches import TrainBatches
from tests.support.small_splits import CPU, make_split, make_task, project_params
from tests.support.toy_pictures import WORDS, toy_split, toy_task

EVALUATE = project_params().evaluate.model_copy(update={"steps": 12, "batch_size": 16, "num_samples_shown": 4})
TRAIN = project_params().train.model_copy(update={"batch_size": 32, "texts_per_step": 1})
STEPS = {"flow": 120, "gan": 200}


@pytest.fixture(scope="module")
def trained():
    """The toy's flow after some steps, and its test split."""
    return train("flow"), toy_split(40, 2)


def train(head: str):
    task, split = toy_task(head).train(), toy_split(256, 1)
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3, betas=task.betas, weight_decay=0.0)
    batches = TrainBatches(split, task, TRAIN)
    for step in range(STEPS[head]):
        if step % len(batches) == 0:
            batches.epoch, found = step, iter(batches)
        optimizer.zero_grad()
        task.loss(next(found), TRAIN).backward()
        optimizer.step()
    task.eval().study(split)
    return task


@pytest.mark.parametrize("head", STEPS)
def test_pictures_of_what_is_asked_are_drawn_and_no_copies(head, trained):
    task = trained[0] if head == "flow" else train(head)
    test = toy_split(40, 2)
    answers = task.answer(test, EVALUATE)
    found = task.metrics(answers, test.rows)
    assert found["asked_found"] > 0.85 and task.ceiling(test)["asked_found"] > 0.95
    others = [answers[i] for i in np.roll(np.arange(40), 1)]
    assert task.metrics(others, test.rows)["asked_found"] < 0.75
    assert found["variety"] > 0.02 or head == "gan"
    assert (
        task.baselines(toy_split(256, 1), test)["nearest_training_text"][0]["found"]["label"] == test.rows[0]["label"]
    )


def test_a_picture_depends_on_its_seed_and_text_and_on_no_other_sample(trained):
    task, test = trained
    together = task.answer(test, EVALUATE)
    one = test.features["text"].reordered(np.array([7]))
    alone = type(test)([test.rows[7]], {"text": one, "image": test.features["image"].reordered(np.array([7]))})
    (by_itself,) = task.answer(alone, EVALUATE)
    assert np.abs(by_itself["picture"].astype(int) - together[7]["picture"]).max() <= 1
    assert by_itself["seed"] == together[7]["seed"] == seed_of(test.rows[7]["sample_id"])
    pictures = together[0]["pictures"]
    assert len(pictures) == 4 and not any(np.array_equal(pictures[0], other) for other in pictures[1:])


def test_what_is_looked_at_is_spread_over_the_split(trained):
    task, test = trained
    several = [i for i, answer in enumerate(task.answer(test, EVALUATE)) if len(answer["pictures"]) > 1]
    assert several == [0, 13, 26, 39]
    seen = []
    one_batch = dataclasses.replace(test)
    one_batch.in_order = lambda size, some=None: seen.extend(some) or test.in_order(size, some)
    assert task.sketch(one_batch, EVALUATE) and seen[0] == 0 and seen[-1] == 39 and len(seen) == 16


def test_what_is_served_is_what_was_evaluated(trained):
    task, test = trained
    records = task.records(task.answer(test, EVALUATE), test.rows)
    predictor = Predictor(task, {"text": Tokens(WORDS, 2)}, PredictSettings(EVALUATE, 1.0, 1.0), CPU)
    asked = [{"text": records["asked"][i].encode(), "seed": str(records["seed"][i]).encode()} for i in range(5)]
    for i, answer in enumerate(predictor.predict(asked)):
        (image,) = answer["images"]
        served = np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))).astype(int)
        assert np.abs(served - np.asarray(Image.open(io.BytesIO(records["image"][i])))).max() <= 1
    (several,) = predictor.predict([{"text": b"red", "count": b"3"}])
    assert len(set(several["images"])) == 3 and several["seed"] == 0.0


@pytest.mark.parametrize(("name", "data"), [("seed", b"-1"), ("seed", b"x"), ("count", b"0"), ("count", b"17")])
def test_a_seed_or_count_out_of_bounds_is_refused(trained, name, data):
    task, _ = trained
    predictor = Predictor(task, {"text": Tokens(WORDS, 2)}, PredictSettings(EVALUATE, 1.0, 1.0), CPU)
    with pytest.raises(InputError, match=f"{name}: got {data.decode()!r}; expected a whole number from"):
        predictor.read({"text": b"red", name: data})
    with pytest.raises(InputError, match="text is missing"):
        predictor.read({name: None})


def test_the_gate_sums_what_the_metric_says(trained):
    task, test = trained
    answers = task.answer(test, EVALUATE)
    summed = task.statistics(task.records(answers, test.rows), "asked_found").sum(0)
    assert task.metric_of(summed, "asked_found") == pytest.approx(task.metrics(answers, test.rows)["asked_found"])


def test_pictures_are_mirrored_in_training_where_that_is_asked(trained, monkeypatch):
    task, split = trained[0], toy_split(8, 3)
    batch, seen = next(iter(TrainBatches(split, task, TRAIN))), []
    monkeypatch.setattr(task.head, "loss", lambda pictures, places, train=None: seen.append(pictures) or places.sum())
    for settings in (TRAIN, TRAIN.model_copy(update={"flip_fraction": 1.0}), None):
        task.loss(batch, settings)
    plain, mirrored, evaluated = seen
    assert torch.equal(mirrored, plain.flip(3)) and not torch.equal(mirrored, plain) and torch.equal(evaluated, plain)


def test_guidance_leads_away_from_what_is_drawn_without_a_text(trained):
    task, test = trained
    plain, led = (task.answer(test, EVALUATE.model_copy(update={"guidance": g})) for g in (1.0, 4.0))
    assert any(not np.array_equal(a["picture"], b["picture"]) for a, b in zip(plain, led, strict=True))


def test_a_copied_task_keeps_its_judge_and_saves_none_of_it(trained):
    task, _ = trained
    assert copy.deepcopy(task).measures is task.measures
    assert not [key for key in task.state_dict() if "judge" in key or "measures" in key]


def test_neither_part_of_a_gan_learns_from_the_other_ones_loss():
    task, batch = toy_task("gan").train(), next(iter(TrainBatches(toy_split(32, 1), toy_task("gan"), TRAIN)))
    torch.manual_seed(3)
    head, places = task.head, task._places(batch).detach()
    pictures = batch["image"].permute(0, 3, 1, 2).float() / 127.5 - 1
    head.loss(pictures, places, TRAIN).backward()
    mine = {key: p.grad.clone() for key, p in head.named_parameters()}
    head.zero_grad()
    torch.manual_seed(3)
    noise = torch.randn(len(pictures), *head.noise_shape)
    made = head.generator(noise, places)
    torch.nn.functional.softplus(-head.discriminator(made, places)).mean().backward()
    theirs = {key: p.grad for key, p in head.named_parameters()}
    for key, grad in mine.items():
        same = torch.allclose(grad, theirs[key], atol=1e-5)
        assert same == key.startswith("generator.") or not theirs[key].abs().max() > 1e-6


def test_data_in_which_nothing_tells_what_is_drawn_are_refused_before_training():
    task, split = make_task("generate", ("image", "text")), make_split(("image", "text"))
    untold = dataclasses.replace(split, rows=[row | {"truth": None, "label": None} for row in split.rows])
    for found, said in ((split, False), (untold, True)):
        faults = list(task.faults(task.config, dict.fromkeys(SPLITS, found)))
        assert any(fault.fatal and "the task generate needs labels" in fault.text for fault in faults) == said


def test_what_a_discriminator_sees_does_not_fade_layer_by_layer():
    torch.manual_seed(3)
    pictures = torch.rand(8, 3, 16, 16) * 2 - 1
    assert 0.5 < toy_task("gan").head.discriminator.look(pictures).std() / pictures.std() < 2
