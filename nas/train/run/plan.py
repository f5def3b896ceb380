"""How far a run of training is: stages in their order, and steps within them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nas.train.recipe.config import Recipe, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One run of a stage.

    Attributes:
        name: of the stage; a repeated one has its number, such as main.2.
        index: place among all segments, from 0.
        before: steps of all segments before it.
    """

    name: str
    index: int
    before: int
    stage: Stage


def plan_segments(recipe: Recipe) -> list[Segment]:
    """Return the segments of a recipe in their order.

    Example:
        >>> [(segment.name, segment.before) for segment in plan_segments(recipe)]
        [('warm', 0), ('main.1', 100), ('main.2', 300)]
    """
    segments: list[Segment] = []
    before = 0
    repeats: dict[str, int] = {}
    for index, (name, stage) in enumerate(recipe.segments()):
        repeats[name] = repeats.get(name, 0) + 1
        label = name if stage.repeats == 1 else f"{name}.{repeats[name]}"
        segments.append(Segment(name=label, index=index, before=before, stage=stage))
        before += stage.steps
    return segments


def with_steps(segments: Sequence[Segment], steps: Mapping[str, int]) -> list[Segment]:
    """Return the segments with other numbers of steps, by name; one that is not named keeps its."""
    planned: list[Segment] = []
    before = 0
    for segment in segments:
        stage = replace(segment.stage, steps=steps.get(segment.name, segment.stage.steps))
        planned.append(replace(segment, before=before, stage=stage))
        before += stage.steps
    return planned


def list_steps(segments: Sequence[Segment]) -> dict[str, int]:
    """Return the steps of each segment by its name."""
    return {segment.name: segment.stage.steps for segment in segments}


def count_steps(segments: Sequence[Segment]) -> int:
    """Return the steps of all segments together."""
    return segments[-1].before + segments[-1].stage.steps


def list_validations(segment: Segment, count: int) -> list[int]:
    """Return the steps of a segment after which the network is validated, rising.

    Args:
        count: validations in a segment, at most one a step; the last is at its end.
    """
    steps = segment.stage.steps
    return sorted({max(1, round(steps * place / count)) for place in range(1, count + 1)})
