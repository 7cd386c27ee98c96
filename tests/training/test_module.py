"""The validation loss is a mean over the targets that are known, whatever batches they fall into."""

import lightning as L
import pytest
import torch
import torch.nn.functional as F

from stages.models.tables import Split
from stages.models.tasks import Task
from stages.training.batches import ValidationBatches
from stages.training.module import TrainingModule
from tests.support.small_splits import make_split, make_task, project_params

TRAIN = project_params().train.model_copy(update={"monitor": "loss", "batch_size": 3})


def validation_loss(task: Task, split: Split) -> float:
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    batches = ValidationBatches(split, task, TRAIN.batch_size)
    (found,) = trainer.validate(TrainingModule(task, TRAIN, 1, split), batches, verbose=False)
    return found["val_loss"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unknown", [(), (3, 4, 5), (0, 3, 4, 5, 7), (0, 1, 2, 3, 4, 5, 6)])
def test_samples_of_unknown_classes_are_not_in_the_validation_loss(unknown):
    task = make_task("classify", ("image",)).eval()
    split = make_split(("image",))
    known = [i for i in range(len(split)) if i not in unknown]
    for i in unknown:
        split.rows[i]["label"] = "wolf"
    ((_, _, batch),) = split.in_order(len(split))
    logits = task.fusion(task.encode(batch)).detach()
    labels = torch.from_numpy(task.targets(split.rows)["label"])
    expected = F.cross_entropy(logits[known], labels[known]).item()
    assert validation_loss(task, split) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_batch_of_questions_without_a_known_answer_weighs_nothing():
    task = make_task("vqa", ("image", "question")).eval()
    split = make_split(("image", "question"), task.several)
    whole = validation_loss(task, Split(split.rows[:3], split.features, task.several))
    for row in split.rows[3:]:
        row["answers"] = ["green"] * len(row["answers"])
    assert whole > 0
    assert validation_loss(task, split) == pytest.approx(whole, rel=1e-5)
