"""The columns of a run's table. To add one, add a line to `MORE_COLUMNS`.

The order and types of `trials.csv`, the report's headings and number formats, the objectives with
their directions and the limits all follow from these lines.

Example:
    >>> BY_NAME["psnr_gain_db"].heading, GOALS["psnr_gain_db"].direction
    ('PSNR gain (dB)', 'maximize')
"""

from collections.abc import Iterable
from typing import Any

from nas.analysis.column import Column, Direction, Dtype, Noise, Panel
from nas.analysis.row import Row
from nas.record import Goal, TrialRecord

TEXT: Dtype = "text"
COUNT: Dtype = "Int64"
FLOAT: Dtype = "float64"
MAX: Direction = "maximize"
MIN: Direction = "minimize"
SEEDS: Noise = "seeds"
TIMING: Noise = "latency"
FRONT: tuple[Panel, ...] = ("front",)
TRIALS: tuple[Panel, ...] = ("trials",)
BOTH: tuple[Panel, ...] = ("front", "trials")
FILLED_LATER = ""  # `nas.analysis.membership` fills it, once all rows are there


def judge_feasibility(row: Row) -> str:
    """Return "no" when a limit or a believed gate fails, "yes" when all hold, else "unknown".

    The gate is believed only where the ladder passes, and only of trainings as long as its own.
    """
    if row.record.state == "rejected":
        return "no"
    assert row.state is not None
    assert row.yardstick is not None
    limits = row.state.limits

    # A broken limit decides, whatever else was not measured and whatever the ladder says.
    values = {name: READERS[name](row) for name in limits}
    if any(value is not None and value > limits[name] for name, value in values.items()):
        return "no"

    # A paused trial may still gain what the gate asks for, so it is not held against it.
    gain_db = row.gain_db
    is_gate_believed = row.yardstick.can_rank and row.is_whole
    if not is_gate_believed or gain_db is None or None in values.values():
        return "unknown"
    return "yes" if row.state.challenge.gate.passes_relative(gain_db) else "no"


# Name, dtype, unit, title, format, value; then direction, noise, panels. A column without a title
# goes by its name, one without a direction is no objective.
# fmt: off
CONTRACT_COLUMNS = (  # in the order that DESIGN 3.3 promises to whoever reads the files
    Column("number", "int64", "1", "trial", "", "record.number", panels=BOTH),
    Column("state", TEXT, "", "", "", "record.state", panels=TRIALS),
    Column("arch_id", TEXT, "", "", "", "record.spec.arch_id", panels=BOTH),
    Column("arch", TEXT, "", "", "", lambda row: row.record.spec.to_json()),
    Column("fidelity", COUNT, "1", "steps", ",", "quality.fidelity", panels=TRIALS),
    Column("psnr_db", FLOAT, "dB", "PSNR", ",.3f", "quality.psnr_db", MAX, SEEDS, BOTH),
    Column("psnr_gain_db", FLOAT, "dB", "PSNR gain", "+.3f", "gain_db", MAX, SEEDS, BOTH),
    Column("runtime_ms", FLOAT, "ms", "runtime", ",.2f", "latency.runtime_ms", MIN, TIMING, FRONT),
    Column("runtime_ratio", FLOAT, "1", "runtime ratio", ".3f", "latency.ratio", MIN, TIMING, BOTH),
    Column("runtime_ci", FLOAT, "1", "± 95 %", ",.3f", "latency.ci", panels=BOTH),
    Column("params", COUNT, "1", "parameters", ",", "cost.params", MIN, None, BOTH),
    Column("flops", COUNT, "MAC", "FLOPs", "G", "cost.flops", MIN, None, BOTH),
    Column("activations", COUNT, "1", "", ",", "cost.activations", MIN),
    Column("memory_mib", FLOAT, "MiB", "memory", ",.1f", "cost.memory_mib", MIN, None, FRONT),
    Column("score", FLOAT, "1", "", ",.3f", "score", MIN, TIMING, BOTH),
    Column("feasible", TEXT, "", "", "", judge_feasibility, panels=BOTH),
    Column("on_front", TEXT, "", "on front", "", FILLED_LATER, panels=TRIALS),
    Column("latency_mode", TEXT, "", "", "", "latency.mode"),
    Column("device", TEXT, "", "", "", "latency.device"),
    Column("train_seconds", FLOAT, "s", "training", ",.1f", "quality.train_seconds", panels=TRIALS),
    Column("error", TEXT, "", "reason", "", "record.error", panels=TRIALS),
)
MORE_COLUMNS = (  # in the order in which they came; a new one goes to the end
    Column("num_conv", COUNT, "1", "convolutions", ",", "cost.num_conv", MIN),
    Column("psnr_base_db", FLOAT, "dB", "", ",.3f", "quality.base_db"),
    Column("restarts", COUNT, "1", "", ",", "quality.restarts"),
    Column("baseline_ms", FLOAT, "ms", "", ",.2f", "latency.baseline_ms"),
    Column("latency_dtype", TEXT, "", "", "", "latency.dtype"),
    Column("latency_sizes", TEXT, "", "", "", "latency.sizes"),
    Column("latency_threads", COUNT, "1", "", ",", "latency.threads"),
    Column("latency_rounds", COUNT, "1", "", ",", "latency.rounds"),
    Column("latency_rejected", COUNT, "1", "", ",", "latency.rejected"),
    Column("latency_flags", TEXT, "", "", "", "latency.flags"),
    Column("first_ms", FLOAT, "ms", "", ",.2f", "latency.first_ms"),
    Column("ratio_with_first", FLOAT, "1", "", ".3f", "latency.ratio_with_first"),
    Column("ties", TEXT, "", "", "", FILLED_LATER),
    Column("psnr_seeds", COUNT, "1", "", ",", "quality.num_seeds"),
    Column("front_probability", FLOAT, "1", "belongs", ".0%", FILLED_LATER, panels=FRONT),
    Column("measure_seconds", FLOAT, "s", "measuring", ",.1f", "measure_seconds"),
    Column("wait_seconds", FLOAT, "s", "waiting", ",.1f", "wait_seconds"),
    Column("control_seconds", FLOAT, "s", "choosing", ",.1f", "control_seconds"),
    Column("inherits", COUNT, "1", "", "", "record.inherits"),
    Column("host_ms", FLOAT, "ms", "", ",.3f", "latency.host_ms"),
    Column("baseline_host_ms", FLOAT, "ms", "", ",.3f", "latency.baseline_host_ms"),
    Column("test_psnr_db", FLOAT, "dB", "test PSNR", ",.3f", "test_psnr_db",
           panels=FRONT, optional=True),
    Column("trained_psnr_db", FLOAT, "dB", "trained PSNR", ",.3f", "trained_psnr_db",
           panels=FRONT, optional=True),
)
# fmt: on

COLUMNS = (*CONTRACT_COLUMNS, *MORE_COLUMNS)
# What the rest of the code asks for, said once: nobody else lists columns by hand.
BY_NAME = {column.name: column for column in COLUMNS}
READERS = {column.name: column.make_reader() for column in COLUMNS if column.value != FILLED_LATER}
GOALS = {
    column.name: Goal(name=column.name, unit=column.unit, direction=column.direction)
    for column in COLUMNS
    if column.direction is not None
}
LIMITS = tuple(name for name, goal in GOALS.items() if goal.direction == MIN)  # that may have one


def read_row(row: Row) -> dict[str, Any]:
    """Return the cells of a row by column, but for those that depend on the other rows."""
    return {name: read(row) for name, read in READERS.items()}


def read_costs(record: TrialRecord, names: Iterable[str] = LIMITS) -> dict[str, float]:
    """Return what was measured of a record, by column; a score needs its run, so it is left out.

    Args:
        names: columns to be read.
    """
    row = Row(record)
    values = {name: READERS[name](row) for name in names}
    return {name: value for name, value in values.items() if value is not None}
