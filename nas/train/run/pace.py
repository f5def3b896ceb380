"""How many steps fit into an hour: segments are shortened alike to what the time allows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.train.run.plan import Segment, list_steps
from nas.train.trainer import StageTrainer

NUM_WARM, NUM_TIMED = 2, 6  # steps of each stage
SPARE = 0.03  # share of the time for checkpoints and for what comes after the last step
VALIDATING = 0.05  # share of the time that validations may take
MOST_CHANGE, LEAST_CHANGE = 2.0, 0.05  # of what is left, at one look at the clock


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPlan:
    """What fits into some time.

    Attributes:
        steps: of each segment, by name.
        validations: of each segment.
    """

    steps: dict[str, int]
    validations: int


def fit_segments(
    segments: Sequence[Segment],
    hours: float,
    *,
    spent: float,
    paces: Mapping[str, float],
    validation_seconds: float,
    validations: int,
) -> TimedPlan:
    """Return as many steps as fit into some time, at most those that are planned.

    Segments keep their shares. Validations take about a twentieth of the time, at least two a
    segment: where it starts and where it ends.

    Args:
        spent: seconds of the time that are over.
        paces: seconds of a step of each segment, by name.
        validation_seconds: of one validation.
        validations: of each segment, at most.
    Raises:
        ValueError: the time is too short for a step a segment.
    """
    affordable = int(hours * 3600 * VALIDATING / (validation_seconds * len(segments)))
    validations = min(validations, max(1, affordable))
    # One more where each segment starts, and one of the network in the end.
    num_readings = (validations + 1) * len(segments) + 1
    left = (hours * 3600 - spent) * (1 - SPARE) - validation_seconds * num_readings
    factor = left / sum(paces[segment.name] * segment.stage.steps for segment in segments)
    if factor * sum(list_steps(segments).values()) < len(segments):
        slowest = max(paces.values())
        raise ValueError(
            f"hours={hours:g} is too short: a step takes {slowest:.2g} s and a validation "
            f"{validation_seconds:.2g} s; give more hours or fewer validations"
        )
    steps = {
        name: max(1, int(count * min(1.0, factor))) for name, count in list_steps(segments).items()
    }
    return TimedPlan(steps=steps, validations=validations)


def replan(
    segments: Sequence[Segment],
    place: int,
    done: int,
    *,
    most: Mapping[str, int],
    paces: Mapping[str, float],
    pace: float,
    left: float,
) -> dict[str, int]:
    """Return the steps of a segment and those after it, as what is left of the time allows.

    Args:
        place, done: of the segment that is trained, and its steps so far.
        most: steps that each segment may have.
        paces: that the plan was made with.
        pace: seconds of a step by now, validations included; later segments change alike.
        left: seconds.
    Returns:
        By name; empty where the plan still holds.
    """
    name = segments[place].name
    slower = pace / paces[name]
    open_steps = {one.name: one.stage.steps for one in segments[place + 1 :]}
    rest = segments[place].stage.steps - done
    wanted = rest * pace + sum(count * paces[key] * slower for key, count in open_steps.items())
    factor = left * (1 - SPARE) / wanted if wanted else 1.0
    if abs(factor - 1) < LEAST_CHANGE:
        return {}

    factor = min(MOST_CHANGE, max(1 / MOST_CHANGE, factor))
    changed = {name: done + max(1, round(rest * factor))} if rest else {}
    changed |= {key: max(1, round(count * factor)) for key, count in open_steps.items()}
    return {key: min(count, most[key]) for key, count in changed.items()}


def time_steps(trainer: StageTrainer) -> float:
    """Return the seconds that a step takes, on a trainer that is thrown away."""
    for _ in range(NUM_WARM):
        trainer.step()
    start = time.perf_counter()
    for _ in range(NUM_TIMED):
        trainer.step()
    return (time.perf_counter() - start) / NUM_TIMED
