"""Tasks by name: each ties inputs, encoder, head, loss and prediction into one `nn.Module`.

Protocol: see `base.Task`. A new task: its file here with one class, its line in this dict.
"""

from stages.tasks.base import Task
from stages.tasks.caption import CaptionTask

TASKS: dict[str, type[Task]] = {
    "caption": CaptionTask,
}
