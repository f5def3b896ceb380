"""The schema of a journal: Optuna's operations, as far as a study of ours writes them.

Optuna replays what it reads unchecked. So each record is checked before it: its fields, the trials
that it speaks of, and our attributes, whose schema are the classes that they are read as.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from nas.analysis.ladder import LadderRun, Size
from nas.analysis.lasting import LongerPlan
from nas.search.store.facts import (
    ABANDONED,
    BASELINE,
    INHERITS,
    LADDER,
    LATER,
    LONGER,
    LONGER_PLAN,
    NUMBER,
    PLANNED,
    PROBES,
    RECORD,
    SAME_AS,
    SIZES,
    SPEC,
    SUGGESTION,
    SUSPECT,
    TEST_PSNR,
    StoredSuggestion,
    read_record,
)
from nas.system.schema.schema_rules import Count, Decibels, Matches, PositiveCount, Within, show
from nas.system.schema.stored_schema import Fields, SchemaError, conform, parse_as
from search_spaces.spec import ArchSpec

COMPLETE = 1  # Optuna's state of a trial; 0 is running, 3 failed, and a study of ours has no other
OPTIONS = 10_000  # of one decision, at most
NUMBERED = re.compile(  # attributes of the study that end in what they are of
    rf"{LADDER}[0-9]{{1,4}}x[0-9]{{1,2}}/[0-9]{{1,9}}|{LONGER}[0-9]{{1,4}}x[0-9]{{1,2}}"
    rf"|(?:{LATER}|{SUSPECT})[0-9]{{1,9}}"
)

ArchId = Annotated[str, Matches(r"[0-9a-f]{12}", "an arch_id")]
TRIAL_HINTS: Mapping[str, Any] = {
    NUMBER: PositiveCount,
    SPEC: str,
    INHERITS: Count | None,
    SUGGESTION: StoredSuggestion,
    RECORD: str,
    SAME_AS: ArchId,
    ABANDONED: Literal[True],
}
STUDY_HINTS: Mapping[str, Any] = {
    BASELINE: str,
    TEST_PSNR: Mapping[ArchId, Decibels],
    SIZES: Annotated[tuple[Size, ...], Within(2, 64)],
    PROBES: tuple[Count, ...],
    PLANNED: Count,
    LONGER_PLAN: LongerPlan,
}
TRIAL_ATTRIBUTES = Fields(TRIAL_HINTS, needed=())
STUDY_ATTRIBUTES = Fields(STUDY_HINTS, needed=())
TEXTS: Mapping[str, Callable[[Any], object]] = {  # attributes of text, and what reads it
    BASELINE: read_record,
    LADDER: LadderRun.from_json,
    LATER: read_record,
    LONGER: LadderRun.from_json,
    RECORD: read_record,
    SPEC: functools.partial(parse_as, ArchSpec),
}


class _Operation(TypedDict):
    worker_id: str


class CreateStudy(_Operation):
    op_code: Literal[0]
    study_name: Literal["nas"]
    directions: Annotated[tuple[Literal[1, 2], ...], Within(1, 16)]
    format: NotRequired[Literal[1]]
    config: NotRequired[str]


class StudyAttribute(_Operation):
    op_code: Literal[2]
    study_id: Literal[0]
    user_attr: Mapping[str, Any]


class CreateTrial(_Operation):
    op_code: Literal[4]
    study_id: Literal[0]
    datetime_start: str
    state: Literal[0]
    value: None
    values: None
    distributions: Mapping[str, str]
    params: Mapping[str, Annotated[float, Within(0, OPTIONS)]]
    user_attrs: Mapping[str, Any]
    system_attrs: Annotated[Mapping[str, Any], Within(0, 0)]
    intermediate_values: Annotated[Mapping[str, Any], Within(0, 0)]


class EndTrial(_Operation):
    op_code: Literal[6]
    trial_id: Count
    state: Literal[1, 3]
    values: tuple[float, ...] | None
    datetime_complete: str


class TrialAttribute(_Operation):
    op_code: Literal[8]
    trial_id: Count
    user_attr: Mapping[str, Any]


class TrialConstraint(_Operation):
    op_code: Literal[9]
    trial_id: Count
    system_attr: Mapping[Annotated[str, Matches(r"constraints:.+", "a constraint")], float]


OPERATIONS: Mapping[int, Any] = {
    0: CreateStudy,
    2: StudyAttribute,
    4: CreateTrial,
    6: EndTrial,
    8: TrialAttribute,
    9: TrialConstraint,
}


def check_operations(records: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Check all records of a journal but for what stands in their texts (`check_texts`).

    Raises:
        SchemaError: one is none that a study writes; the message names the record and the field.
    """
    state, name = _JournalState(), str(file)
    for number, record in enumerate(records):
        place = f"{name}, record {number}"
        code = record.get("op_code")
        schema = OPERATIONS.get(code) if type(code) is int else None
        if schema is None:
            known = ", ".join(map(str, OPERATIONS))
            raise SchemaError(place, f"expected one of {known}, got {show(code)}", "op_code")
        conform(record, schema, place)
        state.take(record, place)


def check_texts(records: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Check the records of trials, ladder runs and specs within the texts of a journal.

    A journal is read without this, since reading its texts checks them; it says where one is.

    Raises:
        SchemaError: one does not fit; the message names the record and the field.
    """
    for number, record in enumerate(records):
        for name, value in record.get("user_attr", {}).items():
            start = name if name in TEXTS else f"{name.partition('/')[0]}/"
            if start in TEXTS:
                try:
                    TEXTS[start](value)
                except SchemaError as error:
                    raise error.within(f"{file}, record {number}", name) from None


class _JournalState:
    """What the records before one have made, as far as the next ones may speak of it."""

    def __init__(self) -> None:
        self.directions: list[int] = []
        self.num_trials = 0
        self.ended: set[int] = set()
        self.numbers: set[int] = set()
        self.attributes: dict[int, dict[str, Any]] = {}  # of trials that have not ended
        self.distributions: Mapping[str, str] | None = None
        self.options: Mapping[str, int] = {}

    def take(self, record: Mapping[str, Any], place: str) -> None:
        """Check one record by those before it."""
        code = record["op_code"]
        if code != 0 and not self.directions:
            raise SchemaError(place, "expected 0 first, which makes the study", "op_code")
        if code == 0:  # each session writes one more, which Optuna passes over
            if record["directions"] != (self.directions or record["directions"]):
                raise SchemaError(place, f"expected {self.directions}", "directions")
            self.directions = record["directions"]
        elif code == 2:
            attributes = record["user_attr"]
            texts = [name for name in attributes if NUMBERED.fullmatch(name)]
            for name in texts:  # a trial that is suspected no more has none
                kind = str | None if name.startswith(SUSPECT) else str
                conform(attributes[name], kind, f"{place}, {name}")
            rest = {name: attributes[name] for name in attributes if name not in texts}
            STUDY_ATTRIBUTES.check(rest, place)
        elif code == 4:
            self._open_trial(record, place)
        else:
            self._change_trial(code, record, place)

    def _open_trial(self, record: Mapping[str, Any], place: str) -> None:
        """Check the parameters of a trial; all trials of a study choose among the same options."""
        TRIAL_ATTRIBUTES.check(record["user_attrs"], place)
        distributions, params = record["distributions"], record["params"]
        if self.distributions is None:
            self.distributions = distributions
            self.options = {
                name: _count_options(text, f"{place}, distributions.{name}")
                for name, text in distributions.items()
            }
        if distributions != self.distributions:
            raise SchemaError(place, "expected those of the trials before it", "distributions")
        if params.keys() != distributions.keys():
            raise SchemaError(place, f"expected {', '.join(distributions)[:200]}", "params")
        for name, value in params.items():
            if not value < self.options[name] or value != int(value):
                words = f"a whole number below {self.options[name]}"
                raise SchemaError(place, f"expected {words}, got {show(value)}", f"params.{name}")
        self.attributes[self.num_trials] = dict(record["user_attrs"])
        self.num_trials += 1

    def _change_trial(self, code: int, record: Mapping[str, Any], place: str) -> None:
        """Check what is said of a trial: that it is open, and the order of its attributes."""
        trial = record["trial_id"]
        attributes = self.attributes.get(trial)
        if attributes is None:
            words = "that has ended" if trial < self.num_trials else "that is not there"
            raise SchemaError(place, f"{trial} is of a trial {words}", "trial_id")
        if code == 8:
            TRIAL_ATTRIBUTES.check(record["user_attr"], place)
            attributes |= record["user_attr"]
            if NUMBER in record["user_attr"]:
                self._number_trial(attributes, place)
        elif code == 6:
            self._end_trial(record, attributes, place)

    def _number_trial(self, attributes: Mapping[str, Any], place: str) -> None:
        """Check the number of a row: the spec stands before it, and no other row has it."""
        number, inherits = attributes[NUMBER], attributes.get(INHERITS)
        if SPEC not in attributes or number in self.numbers:
            told = "is another row's" if number in self.numbers else "has no spec before it"
            raise SchemaError(place, f"{number} {told}", NUMBER)
        if inherits is not None and inherits >= number:
            raise SchemaError(place, f"row {number} cannot start from row {inherits}", INHERITS)
        self.numbers.add(number)

    def _end_trial(
        self, record: Mapping[str, Any], attributes: Mapping[str, Any], place: str
    ) -> None:
        values, num_goals = record["values"], len(self.directions)
        if len(values or ()) != (num_goals if record["state"] == COMPLETE else 0):
            words = f"a list of {num_goals}" if record["state"] == COMPLETE else "null"
            raise SchemaError(place, f"expected {words}, got {show(values)}", "values")
        if NUMBER not in attributes and SAME_AS not in attributes and ABANDONED not in attributes:
            raise SchemaError(place, "the trial ends without a number", "state")
        del self.attributes[record["trial_id"]]


@functools.lru_cache(maxsize=1024)
def _count_options(text: str, place: str) -> int:
    """Return how many options a decision has, from its distribution as Optuna writes it."""
    try:
        data = json.loads(text)
        kind, attributes = data["name"], data["attributes"]
        if kind == "IntDistribution":
            count = attributes["high"] + 1
            same = {"log": False, "step": 1, "low": 0, "high": count - 1} == attributes
        else:
            count = len(attributes["choices"])
            same = kind == "CategoricalDistribution" and attributes["choices"] == [*range(count)]
    except (ValueError, RecursionError, KeyError, TypeError):
        same, count = False, 0
    if not (same and type(count) is int and 1 <= count <= OPTIONS):
        raise SchemaError(place, f"expected whole numbers from 0, got {show(text)}")
    return count
