"""How a search comes to the ladder's longer trainings: known ones are taken, others are made."""

import math
import statistics
from collections.abc import Callable, Sequence

from nas.analysis.longer_ladder import list_longer_sizes
from nas.search.engines.base import Result, Task
from nas.search.longer.base import LongerLadder
from nas.search.same_images import is_same_base
from nas.search.store.study import Study

MAX_ERROR = 200  # characters of why a training failed
KEY = "longer ladder "  # begins the key of a task; the size follows


def climb_longer(
    study: Study,
    longer: LongerLadder,
    *,
    num_workers: int,
    work: Callable[[Sequence[Task], Callable[[Result], None]], None],
    notify: Callable[[str], None],
    changed: Callable[[], None],
) -> None:
    """Train the ladder's sizes longer, as far as that is planned and was not done before.

    Args:
        study: its ladder is complete.
        num_workers: how many trainings run at once.
        work: runs tasks and keeps their results; one whose network is to blame has an error.
        notify: called with what the user is to be told, a sentence each.
        changed: called after every result.
    """
    verdict = study.state.brief_verdict
    if verdict is None or not study.longer_plan.steps:
        return
    done = {run.rung for run in study.longer_ladder}
    sizes = [size for size in list_longer_sizes(verdict, study.ladder_sizes) if size not in done]
    missing = _take_known(study, longer, sizes, notify)
    if not missing:
        return

    # It takes longer than the ladder itself, so it is told before.
    seconds = _estimate_seconds(study, missing, num_workers)
    asked = "whether its order stays and how far the data last"
    if not verdict.passes:  # the largest size alone
        asked = "how far the data last"
    notify(
        f"the ladder is trained once more ({', '.join(missing)}; {longer.steps:,} steps) to see "
        f"{asked}: about {_write_minutes(seconds)}, kept for later searches with these images and "
        "this proxy; ladder_long=false leaves it out"
    )
    tasks = [Task(key=f"{KEY}{size}", method="longer_run", args=(size,)) for size in missing]

    def keep_result(result: Result) -> None:
        if result.error:  # it says nothing about the data: the search goes on without
            study.drop_longer(f"{result.task.key} failed: {result.error[:MAX_ERROR]}")
        else:
            study.add_ladder_run(result.value, is_longer=True)
            if reason := longer.keep(result.value):
                notify(reason)
        changed()

    work(tasks, keep_result)


def _take_known(
    study: Study, longer: LongerLadder, sizes: Sequence[str], notify: Callable[[str], None]
) -> list[str]:
    """Write what was trained before into a study; return the sizes that are left."""
    missing: list[str] = []
    origins: dict[str, list[str]] = {}
    for size in sizes:
        known = longer.find(size)
        # Another version of a library may decode the val images otherwise: their base tells.
        if (
            known is None
            or known.run.fidelity != longer.steps
            or not is_same_base(known.run.base_db, study.ladder[0].base_db)
        ):
            missing.append(size)
            continue
        study.add_ladder_run(known.run, is_longer=True)
        origins.setdefault(known.origin, []).append(size)

    for origin, taken in origins.items():
        notify(f"ladder at {longer.steps:,} steps, {origin}: {', '.join(taken)}")
    return missing


def _estimate_seconds(study: Study, sizes: Sequence[str], num_workers: int) -> float:
    """Return how long trainings will take, by what the ladder's own took."""
    each = []
    for size in sizes:
        runs = [run for run in study.ladder if run.rung == size]
        factor = study.longer_plan.steps / runs[0].fidelity
        each.append(factor * statistics.fmean(run.train_seconds for run in runs))
    return max(max(each), sum(each) / max(1, num_workers))


def _write_minutes(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else "a minute"
