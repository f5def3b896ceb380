"""What a stored study holds: its ladder, its rows, its facts; read without writing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from nas.analysis.ladder import LadderRun
from nas.record import TrialRecord
from nas.search.model.observations import PredictedQuality
from nas.search.samplers.base import Suggestion

STUDY = "nas"

# Attributes of a trial.
NUMBER, SPEC, INHERITS = "number", "spec", "inherits"  # of a row; the number is written last
SUGGESTION = "suggestion"  # what the sampler said beside the parameters
RECORD = "record"  # how it ended
SAME_AS = "same_as"  # arch_id: it was known already, and is no row
ABANDONED = "abandoned"  # a kill came before it was a row: it is suggested again

# Attributes of the study.
BASELINE, LADDER, TEST_PSNR = "baseline", "ladder/", "test"
# By number: the record of a trial that was trained further, or that Optuna has no trial of.
LATER = "record/"
# By number: what the machine did to a trial so often that a session ended; null once it has ended.
SUSPECT = "suspect/"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What is not of one suggestion.

    Attributes:
        later: records of trials that were trained further or again, by number.
        suspects: what took the worker of a trial whenever it was evaluated, by number.
    """

    ladder: list[LadderRun]
    baseline: TrialRecord | None
    later: dict[int, TrialRecord]
    test_psnr_db: dict[str, float]
    suspects: dict[int, str]


def read_facts(study: optuna.Study) -> StudyFacts:
    """Read the attributes of a study."""
    attrs = study.user_attrs
    later = [TrialRecord.from_json(attrs[key]) for key in attrs if key.startswith(LATER)]
    return StudyFacts(
        ladder=[LadderRun.from_json(attrs[key]) for key in sorted(attrs) if key.startswith(LADDER)],
        baseline=TrialRecord.from_json(attrs[BASELINE]) if BASELINE in attrs else None,
        later={record.number: record for record in later},
        test_psnr_db=dict(attrs.get(TEST_PSNR, {})),
        suspects={
            int(key.removeprefix(SUSPECT)): error
            for key, error in attrs.items()
            if key.startswith(SUSPECT) and error
        },
    )


def read_rows(study: optuna.Study, facts: StudyFacts) -> dict[int, TrialRecord]:
    """Read the rows of a study by number, as they were last trained.

    Args:
        facts: of the study, as `read_facts` gives them.
    """
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False)
    rows = [
        TrialRecord.from_json(trial.user_attrs[RECORD])
        for trial in trials
        if RECORD in trial.user_attrs
    ]
    first = [facts.baseline] if facts.baseline else []
    return {record.number: record for record in [*first, *rows]} | facts.later


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
    kept = attrs.get(SUGGESTION, {})
    predicted = None
    if "predicted" in kept:
        mean, std, noise = kept["predicted"]
        predicted = PredictedQuality(mean=mean, std=std, noise=noise)
    return Suggestion(
        params=dict(params),
        predicted=predicted,
        max_deviations=kept.get("max_deviations"),
        notes=kept.get("notes", {}),
    )
