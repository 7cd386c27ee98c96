"""The search itself, kept by Optuna in a database that outlives any kill.

Each trial's values depend on the seed, on the trials that ended before it and on its place among them: so a trial that
was killed is tried again with the same values, and a search that was broken off ends as an unbroken one.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from flows.graph.dvc_stages import StageError
from flows.searching.params_text import Value, edited
from flows.searching.space import Interval, Space, refusals
from flows.searching.trials import Stopped, Workplace, train
from stages.base.errors import InputError

DATABASE = "study.db"
RANDOM_FIRST = 5  # trials before the sampler believes what it has seen
PEERS = 3  # trials with as many epochs that have ended, before one is ended for being worse than their median
MOST_FAILURES = 3  # in a row
FAILURE_LINES = 5
SAY_EVERY_S = 30.0
MOST_EPOCHS = 100_000
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
# What is kept of a trial beside Optuna's own.
KILLED, REASON, EPOCHS, SECONDS = "killed", "reason", "epochs", "seconds"
IDENTITY, METRIC = "identity", "metric"  # of the study


@dataclass(frozen=True)
class Search:
    """A search: what is tried, from which params, with which seed, and epochs where these stay as they are.

    `tell` gets lines for the person who watches.
    """

    space: Space
    params_text: str
    seed: int
    epochs: int
    tell: Callable[[str], None]

    def changes(self, trial: FrozenTrial | Trial) -> dict[str, Value]:
        """Return what a trial changes in params.yaml."""
        values = {key: self.space.rounded(key, value) for key, value in trial.params.items()}
        return {key: value for key, value in values.items() if value != self.space.defaults[key]}

    def text(self, trial: FrozenTrial | Trial) -> str:
        """Return a trial's params.yaml."""
        return edited(self.params_text, self.changes(trial))


@dataclass(frozen=True)
class Ending:
    """What came of a trial; no seconds where the run cache had the training, no score but of a complete one."""

    state: TrialState
    score: float | None
    epochs: int
    seconds: float | None
    reason: str = ""


def open_study(folder: Path, search: Search, by_loss: bool, identity: dict[str, str]) -> optuna.Study:
    """Open the search of this folder, or begin it; trials that a kill cut off are marked.

    Raises:
        InputError: when the search that lies there is of something else, naming what has changed since.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    database = folder / DATABASE
    if not database.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = database.with_name(f".{DATABASE}.partial")  # a kill while tables are made would leave half of them
        partial.unlink(missing_ok=True)
        _storage(partial).engine.dispose()
        os.replace(partial, database)
    study = optuna.create_study(
        storage=_storage(database),
        study_name=search.space.experiment,
        direction="minimize" if by_loss else "maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=PEERS, n_min_trials=PEERS),
    )
    known = study.user_attrs.get(IDENTITY, {})
    if not known:
        study.set_user_attr(IDENTITY, identity)
    elif changed := [part for part in identity if identity[part] != known.get(part)]:
        raise InputError(
            f"the search of {search.space.experiment} that lies in {folder} is of {len(ended(study))} trials with "
            f"other {', '.join(changed)}: scores would not compare. Put back what has changed to go on with it, or "
            f"remove {folder} to begin anew"
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        Trial(study, trial._trial_id).set_user_attr(KILLED, True)
        study.tell(trial.number, state=TrialState.FAIL)
    if not ended(study) and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(search.space.defaults)
    return study


def _storage(path: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end of their own, in order: those that count."""
    return [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and not t.user_attrs.get(KILLED)]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the ranges as Optuna takes them."""
    found: dict[str, BaseDistribution] = {}
    for key, wanted in space.ranges.items():
        if not isinstance(wanted, Interval):
            found[key] = CategoricalDistribution(wanted)
        elif space.is_whole(key):
            found[key] = IntDistribution(int(wanted.low), int(wanted.high), wanted.log, int(wanted.step or 1))
        else:
            found[key] = FloatDistribution(wanted.low, wanted.high, wanted.log, wanted.step)
    return found


def run_trials(study: optuna.Study, search: Search, place: Workplace, trials: int) -> None:
    """Run trials until so many have ended.

    Raises:
        StageError: of the last of several failures in a row.
    """
    failures = 0
    for index in range(len(ended(study)), trials):
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_FIRST, seed=search.seed * 100_003 + index, constant_liar=False
        )
        trial = study.ask(distributions(search.space))
        search.tell(f"trial {index + 1} of {trials}: {_shown(search, trial) if index else 'params.yaml as it stands'}")
        ending = _run_trial(study, trial, search, place)
        _keep(study, trial, ending)
        search.tell(f"  {_told(study, ending)}{_rest(study, trials - index - 1)}")
        failures = failures + 1 if ending.state is TrialState.FAIL else 0
        if failures == MOST_FAILURES:
            name = f"train@{search.space.experiment}"
            raise StageError(name, f"{failures} trials in a row; the same command goes on when it is mended")


def _shown(search: Search, trial: Trial) -> str:
    values = {key: search.space.rounded(key, value) for key, value in trial.params.items()}
    return ", ".join(f"{search.space.short(key)} {value}" for key, value in values.items())


def now_and_then(tell: Callable[[str], None]) -> Callable[[float], None]:
    """Return what tells how far a training is, once in a while."""
    said = time.monotonic()

    def on_progress(fraction: float) -> None:
        nonlocal said
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            tell(f"  {fraction:.0%} of the training")

    return on_progress


class _Listener:
    """Hears a trial's training: keeps and tells each epoch's score, and ends what is not worth going on with."""

    def __init__(self, study: optuna.Study, trial: Trial, search: Search) -> None:
        self.epochs_heard = 0
        self._study, self._trial, self._tell = study, trial, search.tell
        self._epochs = int(trial.params.get(f"experiments.{search.space.experiment}.train.epochs", search.epochs))
        self.on_progress = now_and_then(search.tell)

    def on_epoch(self, number: int, metric: str, score: float) -> None:
        """Take an epoch's score."""
        self.epochs_heard = number
        self._study.set_user_attr(METRIC, metric)
        self._tell(f"  epoch {number} of {self._epochs}: {metric} {score:.4f}")
        if not math.isfinite(score):
            raise Stopped(f"{metric} is {score}: the training diverged")
        # Steps of trials with other numbers of epochs never meet: their learning rates are elsewhere on the way down.
        self._trial.report(score, self._epochs * MOST_EPOCHS + number)
        if number < self._epochs and self._trial.should_prune():
            raise Stopped(f"worse after epoch {number} than half of those with {self._epochs} epochs")


def _run_trial(study: optuna.Study, trial: Trial, search: Search, place: Workplace) -> Ending:
    """Run one trial to whatever end it comes to."""
    start, listener, text = time.monotonic(), _Listener(study, trial, search), search.text(trial)
    if faults := refusals(text):
        return Ending(TrialState.PRUNED, None, 0, 0.0, f"params.yaml refuses these together: {'; '.join(faults)}")
    try:
        trained = train(place, text, listener.on_epoch, listener.on_progress)
    except Stopped as stop:
        return Ending(TrialState.PRUNED, None, listener.epochs_heard, time.monotonic() - start, str(stop))
    except StageError as error:
        reason = "\n".join([error.reason, *error.lines[-FAILURE_LINES:]])
        return Ending(TrialState.FAIL, None, listener.epochs_heard, None, reason)
    seconds = None if trained.from_cache else time.monotonic() - start
    return Ending(TrialState.COMPLETE, trained.score, trained.epochs, seconds)


def _keep(study: optuna.Study, trial: Trial, ending: Ending) -> None:
    for key, value in ((EPOCHS, ending.epochs), (SECONDS, ending.seconds), (REASON, ending.reason)):
        trial.set_user_attr(key, value)
    study.tell(trial, ending.score, ending.state)


def _rest(study: optuna.Study, number: int) -> str:
    """Return how long so many trials will take, by those that have trained."""
    known = [seconds for trial in ended(study) if (seconds := trial.user_attrs.get(SECONDS))]
    return f"; {number} to go, about {number * mean(known) / 60:.0f} min" if number and known else ""


def _told(study: optuna.Study, ending: Ending) -> str:
    """Return in a line what came of a trial."""
    if ending.score is None:
        return f"{STATES[ending.state]}: {ending.reason}"
    how = "from the run cache" if ending.seconds is None else f"in {ending.seconds:.0f} s"
    best = study.best_trial
    number = [trial.number for trial in ended(study)].index(best.number) + 1
    return f"{study.user_attrs[METRIC]} {ending.score:.4f} {how}; the best so far {best.value:.4f} (trial {number})"
