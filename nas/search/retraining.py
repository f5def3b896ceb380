"""Front members trained longer: whether they keep their order says how far a run can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from nas.analysis.results import front_table, table
from nas.analysis.run_state import Retrained, RunState
from nas.record import Quality, TrialRecord
from nas.search.engines.base import Engine, Result, Task
from nas.search.engines.tasks import keep_each, run_batches
from nas.search.same_images import refuse_other_base
from nas.search.store.run_folder.run_directory import RETRAINED, read_retrained
from nas.system.faults import MachineError
from nas.system.files.record_file import RecordWriter, recover


def chosen_members(state: RunState, count: int) -> list[TrialRecord]:
    """Return members of the front, lowest PSNR first; of more than `count` those evenly spread.

    Raises:
        ValueError: the front holds fewer than two.
    """
    # Evenly by rank, not by dB: an order is judged.
    rows = front_table(table(state)).sort_values("psnr_db", kind="stable")
    numbers = [int(number) for number in rows["number"]]
    if len(numbers) < 2:
        raise ValueError(
            f"run: the front of {state.name} has {len(numbers)} members; two or more can be ranked"
        )

    if len(numbers) > count:
        step = (len(numbers) - 1) / (count - 1)  # both ends are among them
        numbers = [numbers[round(place * step)] for place in range(count)]
    by_number = {record.number: record for record in state.records}
    return [by_number[number] for number in numbers]


def retrain(
    run: Path,
    members: Sequence[TrialRecord],
    engine: Engine,
    *,
    steps: int,
    show: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> tuple[Retrained, ...]:
    """Train the members that were not trained so long yet; each result is kept as it comes.

    Args:
        engine: a started one, whose trainings take `steps` steps.
        show: called with how many members are done, and of how many.
        tell: called with a line on a torn record that was cut off.
    Returns:
        All that was trained for so many steps, earlier results first.
    Raises:
        ValueError: a training failed.
        MachineError: a fault of the machine took a training again and again.
    """
    path = run / RETRAINED
    if path.exists() and (cut := recover(path)):
        tell(cut)

    # Results of other lengths stay in the file: they say nothing beside these.
    retrained = [result for result in read_retrained(run) if result.steps == steps]
    done = {result.arch_id for result in retrained}
    missing = {str(record.number): record for record in members if record.spec.arch_id not in done}
    num_done, num_before = len(members) - len(missing), len(retrained)

    writer = RecordWriter(path, config="")

    # Seed 0 for all: they see the same patches. The file grows with each, as a kill may come.
    tasks = [
        Task(key=key, method="train", args=(record.spec, 0, None))
        for key, record in missing.items()
    ]

    def keep(result: Result) -> None:
        if result.is_lost or result.error:
            kind = MachineError if result.is_lost else ValueError
            raise kind(f"trial {result.task.key} at {steps} steps: {result.error}")
        retrained.append(_compare_trainings(missing[result.task.key], result.value, steps))
        writer.append([asdict(retrained[-1])])
        show(num_done + len(retrained) - num_before, len(members))

    for batch in run_batches(engine, tasks):
        keep_each(batch, keep)
    return tuple(retrained)


def _compare_trainings(record: TrialRecord, long: Quality, steps: int) -> Retrained:
    """Put a member's brief training beside its long one; raises MachineError on other images."""
    assert record.quality
    refuse_other_base(long.base_db, record.quality.base_db)
    return Retrained(
        number=record.number,
        arch_id=record.spec.arch_id,
        fidelity=record.quality.fidelity,
        psnr_db=record.quality.psnr_db,
        steps=steps,
        long_psnr_db=long.psnr_db,
        seconds=long.train_seconds,
    )
