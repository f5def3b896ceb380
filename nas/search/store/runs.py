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
from nas.search.store.facts import STUDY, read_facts, read_records
from nas.search.store.journal import JOURNAL, find_journal, open_storage
from nas.search.store.run_directory import CONFIG, read_lr_origins, read_retrained, stored_config

# What reading a journal raises that no search wrote: optuna replays its records unchecked.
NO_JOURNAL = (KeyError, TypeError, AttributeError, IndexError, AssertionError, RecursionError)
CHOSEN_CLASSES = ("sampler", "evaluator", "engine")  # keys whose class says what was chosen
LONGER_PROXY = (
    "proxy=overnight, or more proxy.steps, "
    "on photographs of your own (data=folder data.train=... data.val=...)"
)


def load_run(run: Path) -> RunState:
    """Rebuild a run from its journal and its stored configuration.

    Raises:
        ValueError: there is no run in this directory, or its configuration is not whole.
    """
    config = stored_config(run)
    try:
        challenge, objectives, limits, ladder_seeds = _rules(config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"run={run}: {CONFIG} is not what a search writes ({error!r}); it was changed since: restore it"
        ) from None
    journal = find_journal(run)
    try:
        storage = open_storage(journal, read_only=True) if journal else None
        state = read_state(
            storage,
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
    return replace(state, retrained=read_retrained(run), lr_origins=read_lr_origins(run))


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
    """Rebuild a run from its journal, writing nothing; no journal, or one without a study, gives no rows."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    records: dict[int, TrialRecord] = {}
    ladder: list[LadderRun] = []
    test_psnr_db: dict[str, float] = {}
    rungs, probes = RUNGS, ()
    if storage is not None and STUDY in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=STUDY, storage=storage)
        facts = read_facts(study)
        records = read_records(study, facts)
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


def shown_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as the report shows it: dotted keys, without what is not set.

    Of what is chosen by its class alone (a sampler, an evaluator, an engine) the class is shown.
    """
    flat: dict[str, Any] = {}

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, Mapping):
                if f"{prefix}{key}" in CHOSEN_CLASSES and "_target_" in value:
                    flat[f"{prefix}{key}"] = str(value["_target_"]).rpartition(".")[2]
                walk(value, f"{prefix}{key}.")
            elif key != "_target_" and value is not None:
                flat[f"{prefix}{key}"] = value

    walk(config, "")
    return flat | {"longer_proxy": LONGER_PROXY}
