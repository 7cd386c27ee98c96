"""What a training of the retraining starts from: chosen just before it, and only if it is to run.

The champion's model is put where DVC sees it; the stage `register` does that, in a process of its own, since it needs
the registry.
"""

import subprocess
import sys
from pathlib import Path

from prefect import get_run_logger

from flows.graph.dvc_stages import StageError, changes, run_stage
from stages.base.store import start_version
from stages.params import NONE


def choose_start(root: Path, name: str, choice: str, force: bool) -> None:
    """Let the training `name` start from what `retrain.init` says; other stages, and one that will not run, are left.

    Raises:
        StageError: The registry does not answer, or the champion is not whole.
    """
    stage, _, experiment = name.partition("@")
    nothing_to_do = choice == NONE and start_version(experiment, root) is None
    if stage != "train" or nothing_to_do or not (force or changes(root, [name])):
        return
    command = [sys.executable, "-m", "stages.register", experiment, "--start", choice]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise StageError(f"start@{experiment}", done.stderr.strip().removeprefix("error: "))
    get_run_logger().info(done.stdout.strip())
    run_stage(root, f"start@{experiment}", on_line=lambda line: None)  # DVC takes in what now lies there
