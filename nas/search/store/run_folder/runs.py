"""Reading a run directory without writing to it."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import optuna
from optuna.storages import JournalStorage

from nas.analysis.columns import GOALS, LIMITS
from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.lasting import LongerPlan
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.score import Challenge
from nas.search.store.facts import PROBES, SIZES, STUDY, read_facts, read_rows
from nas.search.store.journal import find_journal, read_storage
from nas.search.store.operations import check_operations, check_texts
from nas.search.store.run_folder.run_directory import (
    CONFIG,
    JOURNAL,
    read_lr_origins,
    read_retrained,
    stored_config,
)
from nas.search.store.run_folder.settings import hash_settings, shown_settings
from nas.search.store.run_folder.trained import read_trained
from nas.system.files.record_file import DamagedFileError, read_records, read_undamaged
from nas.system.schema.schema_rules import OneOf, Within, show
from nas.system.schema.stored_schema import SchemaError, read_as

# What reading a journal raises that no search wrote: optuna replays its records unchecked.
NO_JOURNAL = (KeyError, TypeError, AttributeError, IndexError, AssertionError, RecursionError)


# What is read of a journal: all of it, or it is refused; what the search has that goes on with it,
# which cuts off what follows the last good record; or what stands before any damage.
Extent = Literal["all", "without tail", "before damage"]


def load_run(run: Path, extent: Extent = "all") -> RunState:
    """Rebuild a run from its journal and its stored configuration.

    Raises:
        DamagedFileError: a record of the journal is damaged, or its last ones are lost.
        ValueError: there is no run in this directory, or its configuration is not whole.
    """
    config = stored_config(run)
    rules = _read_rules(config, str(run / CONFIG))
    # Counted before the journal is read, which may be growing.
    num_told = count_rows(run) if extent == "all" else 0
    journal = find_journal(run)
    records: list[dict[str, Any]] = []
    if journal:
        if extent == "before damage":
            records = read_undamaged(journal)
        else:
            records = read_records(journal, cuts_tail=extent == "without tail")
        check_config(run, records[0] if records else {}, config)
    try:
        check_operations(records, journal or run)
        state = read_state(
            read_storage(records) if records else None,
            name=run.resolve().name,
            challenge=rules.challenge,
            objectives=rules.objectives,
            limits={name: limit for name, limit in rules.limits.items() if limit is not None},
            settings=shown_settings(config),
            ladder_seeds=rules.ladder_seeds,
        )
    except (ValueError, *NO_JOURNAL) as error:
        raise _explain_misfit(error, records, journal or run) from None

    if journal and len(state.records) < num_told:
        raise DamagedFileError(
            f"{journal}: it gives {len(state.records)} rows, and trials.csv beside it holds "
            f"{num_told}: its end is lost; restore it from a copy"
        )

    # What nas trust found stands beside a run: where it cannot be read, the run still can.
    notices: list[str] = []
    try:
        retrained = read_retrained(run)
    except ValueError as error:
        retrained = ()
        notices.append(f"longer trainings are left out: {error}")
    try:
        trained = read_trained(run)
    except ValueError as error:
        trained = {}
        notices.append(f"trained figures are left out: {error}")
    # One length is shown: an order is judged among trainings that are alike.
    longest = max((training.steps for training in retrained), default=0)
    return replace(
        state,
        retrained=tuple(training for training in retrained if training.steps == longest),
        trained=trained,
        lr_origins=read_lr_origins(run),
        notices=(*state.notices, *notices),
    )


def count_rows(run: Path) -> int:
    """Return the rows of a run's trials.csv; 0 where it cannot be read."""
    try:
        with (run / "trials.csv").open(encoding="utf-8", errors="replace", newline="") as file:
            return max(0, sum(1 for _ in csv.reader(file)) - 1)
    except (OSError, csv.Error):
        return 0


def _explain_misfit(
    error: Exception, records: Sequence[Mapping[str, Any]], journal: Path
) -> ValueError:
    """Return what is wrong with a journal that cannot be read, with the record where it is known.

    Args:
        error: that reading it raised.
    """
    way_out = f"{JOURNAL} holds what no search writes; restore it from a copy"
    if isinstance(error, SchemaError) and error.place:
        return error.advise(way_out)
    try:
        check_texts(records, journal)
    except SchemaError as misfit:
        return misfit.advise(way_out)
    if isinstance(error, SchemaError):
        return SchemaError(str(journal), error.reason, error.field).advise(way_out)
    told = f"expected records that fit each other, got {show(str(error))}"
    return SchemaError(str(journal), told).advise(way_out)


def check_config(run: Path, header: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a journal that was written under another configuration than that beside it.

    Args:
        header: the journal's first record; empty where it holds none yet.
    Raises:
        ValueError: the configuration was changed since, or belongs to another run.
    """
    if header and header["config"] not in ("", hash_settings(config)):
        raise ValueError(
            f"run={run}: {CONFIG} is not the one that {JOURNAL} was written under: it was changed "
            "since, or belongs to another run; restore it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredRules:
    """What tables and pages are made with, of a stored configuration."""

    challenge: Challenge
    objectives: Annotated[tuple[Annotated[str, OneOf(tuple(GOALS))], ...], Within(1, len(GOALS))]
    limits: Mapping[Annotated[str, OneOf(LIMITS)], float | None]
    ladder_seeds: Annotated[int, Within(1, 1000)]


def _read_rules(config: Mapping[str, Any], place: str) -> _StoredRules:
    """Return the rules of a stored configuration.

    Raises:
        SchemaError: it is not what a search writes.
    """
    names = [field.name for field in fields(_StoredRules)]
    stored = {name: drop_targets(config[name]) for name in names}
    try:
        return read_as(_StoredRules, stored, place)
    except SchemaError as error:
        raise error.advise(f"{CONFIG} was changed since the search: restore it") from None


def drop_targets(node: Any) -> Any:
    """Return a configuration without the classes that its parts are built of."""
    if not isinstance(node, dict):
        return node
    return {key: drop_targets(value) for key, value in node.items() if key != "_target_"}


def read_state(
    storage: JournalStorage | None,
    *,
    name: str,
    objectives: Sequence[str],
    limits: Mapping[str, float],
    challenge: Challenge,
    settings: Mapping[str, Any],
    ladder_seeds: int,
) -> RunState:
    """Rebuild a run from its journal, writing nothing.

    No journal, or one without a study, gives no rows.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    records: dict[int, TrialRecord] = {}
    ladder: list[LadderRun] = []
    longer_ladder: list[LadderRun] = []
    longer_plan = LongerPlan()
    test_psnr_db: dict[str, float] = {}
    rungs, probes = RUNGS, ()
    if storage is not None and STUDY in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=STUDY, storage=storage)
        facts = read_facts(study)
        records = read_rows(study, facts)
        ladder, test_psnr_db = facts.ladder, facts.test_psnr_db
        longer_ladder, longer_plan = facts.longer_ladder, facts.longer_plan
        rungs = tuple(study.user_attrs.get(SIZES, RUNGS))
        probes = tuple(study.user_attrs.get(PROBES, ()))
    return RunState(
        name=name,
        challenge=challenge,
        objectives=tuple(objectives),
        limits=dict(limits),
        ladder=tuple(ladder),
        records=tuple(records[number] for number in sorted(records)),
        settings=settings,
        test_psnr_db=test_psnr_db,
        ladder_seeds=ladder_seeds,
        rungs=rungs,
        probes=probes,
        longer_plan=longer_plan,
        longer_ladder=tuple(longer_ladder),
    )
