"""Reading a run directory without writing to it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage

from nas.analysis.columns import GOALS, LIMITS
from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.score import Baseline, Challenge, Gate, Weights
from nas.search.store.facts import STUDY, read_facts, read_rows
from nas.search.store.journal import JOURNAL, find_journal, read_storage
from nas.search.store.run_directory import CONFIG, read_lr_origins, read_retrained, stored_config
from nas.search.store.settings import hash_settings, shown_settings
from nas.system.record_file import read_records, read_undamaged

# What reading a journal raises that no search wrote: optuna replays its records unchecked.
NO_JOURNAL = (KeyError, TypeError, AttributeError, IndexError, AssertionError, RecursionError)


def load_run(run: Path, *, recover: bool = False) -> RunState:
    """Rebuild a run from its journal and its stored configuration.

    Args:
        recover: read a damaged journal as far as it is whole.
    Raises:
        DamagedFileError: a record of the journal is damaged.
        ValueError: there is no run in this directory, or its configuration is not whole.
    """
    config = stored_config(run)
    try:
        challenge, objectives, limits, ladder_seeds = _rules(config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"run={run}: {CONFIG} is not what a search writes ({error!r}); "
            "it was changed since: restore it"
        ) from None
    journal = find_journal(run)
    records = _read_journal(run, journal, config, recover=recover) if journal else []
    try:
        state = read_state(
            read_storage(records) if records else None,
            name=run.resolve().name,
            challenge=challenge,
            objectives=objectives,
            limits=limits,
            settings=shown_settings(config),
            ladder_seeds=ladder_seeds,
        )
    except (ValueError, *NO_JOURNAL) as error:
        raise ValueError(
            f"run={run}: {JOURNAL} holds what no search writes ({error!r}); restore it from a copy"
        ) from None

    # One length is shown: an order is judged among trainings that are alike.
    retrained = read_retrained(run)
    longest = max((training.steps for training in retrained), default=0)
    return replace(
        state,
        retrained=tuple(training for training in retrained if training.steps == longest),
        lr_origins=read_lr_origins(run),
    )


def _read_journal(
    run: Path, journal: Path, config: Mapping[str, Any], *, recover: bool
) -> list[dict[str, Any]]:
    """Read the records of a journal that was written under a configuration.

    Raises:
        ValueError: it was written under another one.
    """
    records = (read_undamaged if recover else read_records)(journal)
    check_config(run, records[0] if records else {}, config)
    return records


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


def _rules(config: Mapping[str, Any]) -> tuple[Challenge, tuple[str, ...], dict[str, float], int]:
    """The challenge, the objectives, the limits and the ladder's seeds of a stored configuration.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not what a search writes.
    """
    challenge = config["challenge"]
    parts = {
        name: {key: value for key, value in challenge[name].items() if key != "_target_"}
        for name in ("weights", "baseline", "gate")
    }
    objectives, limits, ladder_seeds = (
        config["objectives"],
        config["limits"],
        config["ladder_seeds"],
    )
    if not isinstance(objectives, list) or not objectives or not set(objectives) <= set(GOALS):
        raise ValueError(f"objectives must be columns such as {', '.join(GOALS)}")
    if not set(limits) <= set(LIMITS) or any(
        type(limit) not in (int, float, type(None)) for limit in limits.values()
    ):
        raise ValueError(f"limits must be numbers, of {', '.join(LIMITS)}")
    if type(ladder_seeds) is not int or ladder_seeds < 1:
        raise ValueError("ladder_seeds must be a whole number of at least 1")
    rules = Challenge(
        name=str(challenge["name"]),
        weights=Weights(**parts["weights"]),
        baseline=Baseline(**parts["baseline"]),
        gate=Gate(**parts["gate"]),
    )
    used = {name: limit for name, limit in limits.items() if limit is not None}
    return rules, tuple(objectives), used, ladder_seeds


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
    test_psnr_db: dict[str, float] = {}
    rungs, probes = RUNGS, ()
    if storage is not None and STUDY in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=STUDY, storage=storage)
        facts = read_facts(study)
        records = read_rows(study, facts)
        ladder, test_psnr_db = facts.ladder, facts.test_psnr_db
        rungs = tuple(study.user_attrs.get("rungs", RUNGS))
        probes = tuple(study.user_attrs.get("probes", ()))
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
    )
