"""What a search leaves: a table of its trials in Markdown, the best one as a diff of params.yaml, two pictures."""

import difflib
import math
from pathlib import Path
from statistics import mean, stdev

import optuna
from optuna.trial import FrozenTrial, TrialState

from flows.searching.pictures import draw_history, draw_importances
from flows.searching.study import EPOCHS, KILLED, METRIC, REASON, SECONDS, STATES, Search, ended
from flows.searching.trials import Scores

TABLE, DIFF, HISTORY, IMPORTANCES = "table.md", "best.diff", "history.png", "importances.png"
FEWEST_FOR_IMPORTANCES = 4  # complete trials
STANDS, BEST = "as it stands", "best"


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """Return the best complete trial, the earliest of equals; None when none is complete."""
    complete = [trial for trial in ended(study) if trial.state is TrialState.COMPLETE]
    sign = -1 if study.direction is optuna.study.StudyDirection.MAXIMIZE else 1
    return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)


def write_report(folder: Path, study: optuna.Study, search: Search, tested: dict[str, list[Scores]]) -> str:
    """Write all files, without the pictures where there is nothing to draw; return the table's text.

    `tested` has the scores of each seed with the params as they stand, and with the best ones; none yet, or none asked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best = best_of(study)
    parts = [_heading(study, search), _trials(study, search, best), _failures(study)]
    if best:
        parts += [_comparison(study, tested), _apply(folder, search, best)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    (folder / TABLE).write_text(text, encoding="utf8")
    if best:
        draw_history(folder / HISTORY, study, search.space.experiment)
    if shares := _importances(study, search):
        draw_importances(folder / IMPORTANCES, search.space.experiment, shares)
    return text


def _heading(study: optuna.Study, search: Search) -> str:
    trials = ended(study)
    counts = {word: sum(trial.state is state for trial in trials) for state, word in STATES.items()}
    killed = sum(bool(trial.user_attrs.get(KILLED)) for trial in study.get_trials(deepcopy=False))
    shown = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    again = f"; {killed} more were killed and tried again" if killed else ""
    cached = any(t.state is TrialState.COMPLETE and t.user_attrs.get(SECONDS) is None for t in trials)
    without = " Without seconds: the run cache had it." if cached else ""
    better = "less" if study.direction is optuna.study.StudyDirection.MINIMIZE else "more"
    return (
        f"# Search of {search.space.experiment}\n\n"
        f"{len(trials)} trials ({shown}{again}), scored on the validation split: {_metric(study)} of the best epoch, "
        f"{better} is better.\nTrial 1 is params.yaml as it stands, seed {search.seed} is that of all.{without}"
    )


def _metric(study: optuna.Study) -> str:
    return study.user_attrs.get(METRIC, "no score")


def _trials(study: optuna.Study, search: Search, best: FrozenTrial | None) -> str:
    space = search.space
    names = " | ".join(space.short(key) for key in space.ranges)
    lines = [
        f"| trial | {_metric(study)} | {names} | epochs | seconds | state |",
        f"|---:|---:|{'---|' * len(space.ranges)}---:|---:|---|",
    ]
    for number, trial in enumerate(ended(study), start=1):
        score = f"{trial.value:.4f}" if trial.state is TrialState.COMPLETE else "-"
        values = " | ".join(str(space.rounded(key, trial.params[key])) for key in space.ranges)
        seconds, epochs = trial.user_attrs.get(SECONDS), trial.user_attrs.get(EPOCHS)
        lines.append(
            f"| {number} | {f'**{score}**' if best and trial.number == best.number else score} | {values} | {epochs} "
            f"| {'-' if seconds is None else format(seconds, '.0f')} | {STATES[trial.state]} |"
        )
    return "\n".join(lines)


def _failures(study: optuna.Study) -> str:
    reasons = [(number, trial.user_attrs.get(REASON)) for number, trial in enumerate(ended(study), start=1)]
    return "\n".join(f"- Trial {number}: {' '.join(reason.split())}" for number, reason in reasons if reason)


def _importances(study: optuna.Study, search: Search) -> dict[str, float]:
    """Return each value's share of what the score varies by among complete trials, the largest first."""
    scores = {trial.value for trial in ended(study) if trial.state is TrialState.COMPLETE}
    if len(scores) < FEWEST_FOR_IMPORTANCES:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {search.space.short(key): share for key, share in found.items()}


def _comparison(study: optuna.Study, tested: dict[str, list[Scores]]) -> str:
    """Return the scores of the best and of what stands, with what the seed alone makes of them."""
    if not tested:
        return ""
    first = next(iter(tested.values()))
    seeds = f"Mean ± standard deviation over {len(first)} seeds" if len(first) > 1 else "One seed"
    lines = [
        "## The best against params.yaml as it stands",
        "",
        f"The test split chose nothing. {seeds}.",
        "",
        f"| params.yaml | {_metric(study)} (validation) | {first[0].metric} (test) |",
        "|---|---|---|",
    ]
    for name, runs in tested.items():
        lines.append(f"| {name} | {_mean([r.validation for r in runs])} | {_mean([r.test for r in runs])} |")
    return "\n".join([*lines, "", _verdict(study, tested)])


def _mean(values: list[float]) -> str:
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def _verdict(study: optuna.Study, tested: dict[str, list[Scores]]) -> str:
    """Say whether the best is better than what the seed alone does; the search itself picked it by one seed."""
    if BEST not in tested:
        return "No trial is better than params.yaml as it stands."
    stands, best = tested[STANDS], tested[BEST]
    if len(stands) < 2:
        return "How much of this is chance is not known: SEEDS=3 trains both with more seeds."
    validation = ([run.validation for run in runs] for runs in (stands, best))
    testing = ([run.test for run in runs] for runs in (stands, best))
    return (
        f"- {_metric(study)} on the validation split: {_difference(*validation)}\n"
        f"- {best[0].metric} on the test split: {_difference(*testing)}"
    )


def _difference(before: list[float], after: list[float]) -> str:
    difference = mean(after) - mean(before)
    doubt = 2 * math.sqrt(sum(stdev(values) ** 2 / len(values) for values in (before, after)))
    said = "more than the seed alone does" if abs(difference) > doubt else "no more than the seed alone may do"
    return f"the best differs by {difference:+.4f}, twice the standard error of that is {doubt:.4f}: {said}."


def _apply(folder: Path, search: Search, best: FrozenTrial) -> str:
    """Write the best one's diff, if it changes anything, and say how to take it over."""
    before, after = (text.splitlines(keepends=True) for text in (search.params_text, search.text(best)))
    diff = "".join(difflib.unified_diff(before, after, "a/params.yaml", "b/params.yaml"))
    (folder / DIFF).unlink(missing_ok=True)
    if not diff:
        return ""
    (folder / DIFF).write_text(diff, encoding="utf8")
    return f"Nothing is applied. `git apply {_shown(folder / DIFF)}` takes the best one over:\n\n```diff\n{diff}```"


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
