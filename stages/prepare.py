"""Prepare: raw files to Parquet, validated, cleaned, split and tokenised.

Rows stream, so memory stays flat as the data grows. What is bad goes to `quarantine.parquet` with its reason.
`--check [<data set>]` shows prepared data on a screen and writes a page with samples, as a model sees them.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.base.errors import InputError
from stages.base.lexicon import LEXICON
from stages.base.store import (
    ARTIFACTS,
    FIELDS,
    FIELDS_FILE,
    MANIFEST,
    QUARANTINE_FILE,
    SCRATCH,
    VOCABULARY,
    artifact_path,
    read_manifest,
    say,
    write_json,
    writing,
)
from stages.media.colours import SAID
from stages.media.text import TOKENIZER
from stages.params import Params, load_params
from stages.params.cli import main, run_named, stage_parser
from stages.samples.answers import merged
from stages.samples.checks import Outcome, prepare_rows
from stages.samples.fields import Habits, columns_of, find_habits
from stages.samples.media import OF_VIDEOS
from stages.samples.overview import altered, screen
from stages.samples.ratings import write_users
from stages.samples.schema import QUARANTINE, samples_schema
from stages.samples.vocabularies import vocabularies
from stages.samples.writer import write_splits
from stages.sources import SOURCES


def run(params: Params, name: str) -> None:
    """Prepare one data set."""
    section = params.datasets[name]
    raw_folder = artifact_path("download", name)
    found = read_manifest(raw_folder)["counts"]
    source = SOURCES[section.source](section)
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what was freed: a third more at the peak
    with writing("prepare", name, {"prepare": params.prepare.model_dump(), "dataset": section.model_dump()}) as draft:
        kinds, told = source.field_kinds(raw_folder), list[str]()
        outcome = Outcome(habits=find_habits(kinds, source.read(raw_folder)) if kinds else Habits())
        sounds = "audio" in source.fields
        rows = prepare_rows(source.read(raw_folder), source.required, params.prepare, outcome, sounds)
        schema = samples_schema(name for name in source.fields if kinds or name != FIELDS)
        num_rows = write_splits(rows, draft.folder, schema, params.prepare.shard_mb * 2**20)
        users = source.users(raw_folder) if "ratings" in source.fields else None
        if users:
            wrong, told = write_users(draft.folder, users, params.prepare.min_word_count)
            outcome.quarantine += wrong
        pq.write_table(pa.Table.from_pylist(outcome.quarantine, schema=QUARANTINE), draft.folder / QUARANTINE_FILE)
        _check_bad_fraction(name, outcome, params.prepare.max_bad_fraction, draft.folder / QUARANTINE_FILE)
        words = vocabularies(outcome.words, params.prepare.min_word_count)
        write_json(draft.folder / VOCABULARY, words)
        if kinds:
            columns = columns_of(draft.folder, outcome.habits.by_name, params.prepare.min_word_count)
            write_json(draft.folder / FIELDS_FILE, columns.dump())
        if lexicon := source.lexicon():
            write_json(draft.folder / LEXICON, lexicon.as_json())
        draft.settings["tokenizer"] = TOKENIZER
        draft.counts |= {
            **{key: count for key, count in found.items() if key.startswith("rows_")},
            **num_rows,
            "bad_samples": outcome.bad_samples,
            "quarantine_rows": len(outcome.quarantine),
            "not_on_a_split": outcome.not_on_a_split,
            **{f"vocabulary_{column}": len(found) for column, found in words.items() if outcome.words[column]},
            **{key: outcome.altered[key] for key in (*SAID, OF_VIDEOS) if outcome.altered[key]},
        }
    say(f"prepare {name}: " + ", ".join(f"{key} {value}" for key, value in draft.counts.items()))
    _tell(name, outcome, params)
    for line in told:
        say(f"prepare {name}: {line}")


def _tell(name: str, outcome: Outcome, params: Params) -> None:
    """Say what was decided and altered on the way, what was put aside, and what there is now."""
    if told := altered(outcome.altered, params.prepare.transparent_on):
        say(f"prepare {name}: images altered: {told}")
    if told := merged(outcome.answers):
        say(f"prepare {name}: answers: {told}")
    for line in outcome.habits.lines():
        say(f"prepare {name}: {line}")
    if outcome.first_bad:
        say("\n".join([f"put aside, all in {artifact_path('prepare', name) / QUARANTINE_FILE}:", *outcome.first_bad]))
    say(screen(artifact_path("prepare", name)))


def _check_bad_fraction(name: str, outcome: Outcome, allowed: float, quarantine: Path) -> None:
    """Fail on too many bad samples, with the list of all of them kept outside the artifact."""
    bad, total = outcome.bad_samples, outcome.bad_samples + outcome.good_samples
    if not total:
        wrong = "no sample is on a split"
    elif bad == total:
        wrong = f"all {total} samples are bad"
    elif bad / total > allowed:
        wrong = f"{bad} of {total} samples are bad, more than prepare.max_bad_fraction {allowed} allows"
    else:
        return
    kept = SCRATCH / "quarantine" / f"{name}.parquet"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(quarantine, kept)
    raise InputError("\n".join([f"data set {name}: {wrong}; all faults are in {kept}", *outcome.first_bad]))


def check(params: Params, name: str) -> None:
    """Show a prepared data set: one screen, and a page with samples drawn from what a model reads."""
    from stages.samples.alike import near_equal_images
    from stages.samples.page import write_page

    prepared = artifact_path("prepare", name)
    told = "\n  ".join([screen(prepared), *near_equal_images(prepared)])
    say(told)
    made = {artifact_path("features", key): section for key, section in params.features.items()}
    here = {path: section for path, section in made.items() if section.dataset == name and (path / MANIFEST).exists()}
    path = ARTIFACTS / "check" / f"{name}.html"
    write_page(path, prepared, told, here)
    say(f"wrote {path}: samples as they stand in the Parquet and the features")


def check_all(params: Params) -> None:
    """Show every data set that is prepared."""
    names = [name for name in params.datasets if (artifact_path("prepare", name) / MANIFEST).exists()]
    if not names:
        raise InputError("no data set is prepared; run `make repro`, or `dvc repro prepare` for the data alone")
    for name in names:
        check(params, name)


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = stage_parser("prepare", __doc__)
    parser.add_argument("--check", action="store_true", help="show prepared data, all of it where no name is given")
    args = parser.parse_args(argv)
    if args.check and not args.name:
        check_all(load_params(args.params))
    else:
        run_named(args, "datasets", check if args.check else run)


if __name__ == "__main__":
    main(command)
