"""Front members trained longer: whether they keep their order says how far a run can be trusted."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from nas.analysis.results import front_table, table
from nas.analysis.run_state import Retrained, RunState
from nas.record import TrialRecord
from nas.search.evaluation.workers import Job, Pool, work
from nas.search.store.run_directory import RETRAINED, read_retrained, write


def chosen_members(state: RunState, count: int) -> list[TrialRecord]:
    """Members of the front, at most so many, evenly spread over its PSNR; lowest first.

    Raises:
        ValueError: the front holds fewer than two.
    """
    rows = front_table(table(state)).sort_values("psnr_db", kind="stable")
    numbers = [int(number) for number in rows["number"]]
    if len(numbers) < 2:
        raise ValueError(
            f"run: the front of {state.name} has {len(numbers)} members; two or more can be ranked"
        )
    if len(numbers) > count:
        numbers = [numbers[round(place * (len(numbers) - 1) / (count - 1))] for place in range(count)]
    by_number = {record.number: record for record in state.records}
    return [by_number[number] for number in numbers]


def retrain(
    run: Path,
    members: Sequence[TrialRecord],
    pool: Pool,
    *,
    steps: int,
    show: Callable[[int, int], None],
) -> tuple[Retrained, ...]:
    """Train what was not trained so long yet; each is kept as it ends.

    Args:
        pool: whose trainings take so many steps.
        show: called with how many are done, and of how many.
    Raises:
        ValueError: a training failed.
    """
    known = [one for one in read_retrained(run) if one.steps == steps]  # of another length: done anew
    done = {one.arch_id for one in known}
    left = [record for record in members if record.spec.arch_id not in done]
    jobs = [Job(key=str(record.number), method="train", args=(record.spec, 0, None)) for record in left]
    by_key = {str(record.number): record for record in left}
    for outcome in work(pool, jobs, tick=lambda: None):
        if outcome.error:
            raise ValueError(f"trial {outcome.job.key} at {steps} steps: {outcome.error}")
        record = by_key[outcome.job.key]
        assert record.quality
        known.append(
            Retrained(
                number=record.number,
                arch_id=record.spec.arch_id,
                fidelity=record.quality.fidelity,
                psnr_db=record.quality.psnr_db,
                steps=steps,
                long_psnr_db=outcome.result.psnr_db,
                seconds=outcome.result.train_seconds,
            )
        )
        write(run / RETRAINED, json.dumps([asdict(one) for one in known], indent=1), draft_end="trust")
        show(len(members) - len(left) + len(known) - len(done), len(members))
    return tuple(known)
