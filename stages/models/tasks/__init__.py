"""Tasks by name: each ties inputs, encoders, fusion, head, loss, metrics and prediction into one `nn.Module`.

Protocol: see `base.Task`. A new task: its file here with one class, its line in this dict, its section's class in
`stages/params`.
"""

from stages.models.tasks.base import Task
from stages.models.tasks.caption import CaptionTask
from stages.models.tasks.classify import ClassifyTask
from stages.models.tasks.generate import GenerateTask
from stages.models.tasks.pairs.match import MatchTask
from stages.models.tasks.pairs.retrieve import RetrieveTask
from stages.models.tasks.prompted.classify import PromptedClassifyTask
from stages.models.tasks.prompted.vqa import OpenVqaTask
from stages.models.tasks.recommend import RateTask, RecommendTask
from stages.models.tasks.regress import RegressTask
from stages.models.tasks.tag import TagTask
from stages.models.tasks.transcribe import TranscribeTask
from stages.models.tasks.translate import TranslateTask
from stages.models.tasks.vqa import VqaTask
from stages.params import ExperimentBase, LanguageModelParams

TASKS: dict[str, type[Task]] = {
    "caption": CaptionTask,
    "classify": ClassifyTask,
    "generate": GenerateTask,
    "match": MatchTask,
    "recommend": RecommendTask,
    "regress": RegressTask,
    "retrieve": RetrieveTask,
    "tag": TagTask,
    "transcribe": TranscribeTask,
    "translate": TranslateTask,
    "vqa": VqaTask,
}

BY_LANGUAGE_MODEL: dict[str, type[Task]] = {
    "classify": PromptedClassifyTask,
    "vqa": OpenVqaTask,
}
"""The form that a task takes with a language model as head, where it is another."""


def task_of(experiment: ExperimentBase) -> type[Task]:
    """Return the class of an experiment's task."""
    name = experiment.task
    if isinstance(getattr(experiment, "head", None), LanguageModelParams):
        return BY_LANGUAGE_MODEL.get(name, TASKS[name])
    if getattr(experiment, "feedback", None) == "explicit":
        return RateTask
    return TASKS[name]
