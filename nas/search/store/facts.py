"""What a stored study holds: its ladder, its rows, its facts; read without writing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from nas.analysis.ladder import LadderRun
from nas.analysis.lasting import LongerPlan
from nas.record import TrialRecord
from nas.search.model.observations import PredictedQuality
from nas.search.samplers.base import Suggestion
from nas.system.schema.schema_rules import Amount
from nas.system.schema.stored_schema import SchemaError, read_as

STUDY = "nas"

# Attributes of a trial.
NUMBER, SPEC, INHERITS = "number", "spec", "inherits"  # of a row; the number is written last
SUGGESTION = "suggestion"  # what the sampler said beside the parameters
RECORD = "record"  # how it ended
SAME_AS = "same_as"  # arch_id: it was known already, and is no row
ABANDONED = "abandoned"  # a kill came before it was a row: it is suggested again

# Attributes of the study.
BASELINE, LADDER, TEST_PSNR = "baseline", "ladder/", "test"
LONGER, LONGER_PLAN = "longer/", "longer_plan"  # trainings of the ladder's sizes that are longer
SIZES, PROBES, PLANNED = "rungs", "probes", "planned_trials"  # kept from the first session on
# By number: the record of a trial that was trained further, or that Optuna has no trial of.
LATER = "record/"
# By number: what the machine did to a trial so often that a session ended; null once it has ended.
SUSPECT = "suspect/"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSuggestion:
    """What is kept of a suggestion beside its parameters.

    Attributes:
        predicted: mean, std and noise of `PredictedQuality`.
    """

    predicted: tuple[float, Amount, Amount] | None = None
    max_deviations: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What is not of one suggestion.

    Attributes:
        longer_ladder: longer trainings of the ladder's sizes.
        longer_plan: how long these are.
        later: records of trials that were trained further or again, by number.
        suspects: what took the worker of a trial whenever it was evaluated, by number.
    """

    ladder: list[LadderRun]
    longer_ladder: list[LadderRun]
    longer_plan: LongerPlan
    baseline: TrialRecord | None
    later: dict[int, TrialRecord]
    test_psnr_db: dict[str, float]
    suspects: dict[int, str]


def read_facts(study: optuna.Study) -> StudyFacts:
    """Read the attributes of a study."""
    attrs = study.user_attrs
    later = [
        _read_row(attrs[key], int(key.removeprefix(LATER)))
        for key in attrs
        if key.startswith(LATER)
    ]
    return StudyFacts(
        ladder=_read_ladder(attrs, LADDER),
        longer_ladder=_read_ladder(attrs, LONGER),
        longer_plan=read_as(LongerPlan, attrs.get(LONGER_PLAN, {})),
        baseline=_read_row(attrs[BASELINE], 0) if BASELINE in attrs else None,
        later={record.number: record for record in later},
        test_psnr_db=dict(attrs.get(TEST_PSNR, {})),
        suspects={
            int(key.removeprefix(SUSPECT)): error
            for key, error in attrs.items()
            if key.startswith(SUSPECT) and error
        },
    )


def _read_ladder(attrs: Mapping[str, Any], start: str) -> list[LadderRun]:
    """Return the trainings in the attributes whose names start so."""
    return [LadderRun.from_json(attrs[name]) for name in sorted(attrs) if name.startswith(start)]


def read_rows(study: optuna.Study, facts: StudyFacts) -> dict[int, TrialRecord]:
    """Read the rows of a study by number, as they were last trained.

    Args:
        facts: of the study, as `read_facts` gives them.
    Raises:
        SchemaError: a record does not fit, or has another number than its trial.
    """
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False)
    rows = [
        _read_row(trial.user_attrs[RECORD], trial.user_attrs.get(NUMBER))
        for trial in trials
        if RECORD in trial.user_attrs
    ]
    first = [facts.baseline] if facts.baseline else []
    return {record.number: record for record in [*first, *rows]} | facts.later


def read_record(text: Any) -> TrialRecord:
    """Return the record of a trial.

    Raises:
        SchemaError: the text is none, or one that came to a result lacks what a row needs.
    """
    record = TrialRecord.from_json(text)
    needed = (
        {"cost": record.cost, "quality": record.quality} if record.number else {"cost": record.cost}
    )
    for name, value in needed.items():
        if value is None and record.state == "complete":
            raise SchemaError("", "expected it of a complete record, got null", name)
    return record


def _read_row(text: str, number: int | None) -> TrialRecord:
    record = read_record(text)
    if record.number != number:
        raise SchemaError("", f"expected {number}, got {record.number}", "number")
    return record


def write_suggestion(suggestion: Suggestion) -> dict[str, Any]:
    """Return what is kept of a suggestion beside its parameters, as JSON takes it; {}: nothing."""
    predicted = suggestion.predicted
    kept = {
        "predicted": [predicted.mean, predicted.std, predicted.noise] if predicted else None,
        "max_deviations": suggestion.max_deviations,
        "notes": dict(suggestion.notes) or None,
    }
    return {name: value for name, value in kept.items() if value is not None}


def read_suggestion(params: Mapping[str, int], attrs: Mapping[str, Any]) -> Suggestion:
    """Return the suggestion of a stored trial."""
    kept = read_as(StoredSuggestion, attrs.get(SUGGESTION, {}))
    predicted = None
    if kept.predicted:
        mean, std, noise = kept.predicted
        predicted = PredictedQuality(mean=mean, std=std, noise=noise)
    return Suggestion(
        params=dict(params),
        predicted=predicted,
        max_deviations=kept.max_deviations,
        notes=kept.notes,
    )
