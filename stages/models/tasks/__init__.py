"""Tasks by name: each ties inputs, encoders, fusion, head, loss, metrics and prediction into one `nn.Module`.

Protocol: see `base.Task`. A new task: its file here with one class, its line in this dict, its section's class in
`stages/params`.
"""

from stages.models.tasks.base import Task
from stages.models.tasks.caption import CaptionTask
from stages.models.tasks.classify import ClassifyTask
from stages.models.tasks.match import MatchTask
from stages.models.tasks.retrieve import RetrieveTask
from stages.models.tasks.translate import TranslateTask
from stages.models.tasks.vqa import VqaTask

TASKS: dict[str, type[Task]] = {
    "caption": CaptionTask,
    "classify": ClassifyTask,
    "match": MatchTask,
    "retrieve": RetrieveTask,
    "translate": TranslateTask,
    "vqa": VqaTask,
}
