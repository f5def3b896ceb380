"""One row of a run's table while it is computed: a record beside what it is compared with."""

from nas.analysis.run_state import RunState, Yardstick
from nas.record import TrialRecord


class Row:
    """What the columns of one record are computed from.

    A plain class with slots, as one is made for every record at every rewrite of the files.

    Args:
        state, yardstick: of the run; without them only what the record itself holds is known, and
            gains and scores are None.
    """

    __slots__ = ("cost", "latency", "quality", "record", "state", "yardstick")

    def __init__(
        self,
        record: TrialRecord,
        state: RunState | None = None,
        yardstick: Yardstick | None = None,
    ) -> None:
        self.record = record
        self.cost = record.cost
        self.latency = record.latency
        self.quality = record.quality
        self.state = state
        self.yardstick = yardstick

    @property
    def gain_db(self) -> float | None:
        """PSNR over the reference network's after as many steps; None where that is not known."""
        if self.quality is None or self.yardstick is None:
            return None
        # At the same number of steps: a paused training is not held against a whole one.
        reference = self.yardstick.references.get(self.quality.fidelity)
        return None if reference is None else self.quality.psnr_db - reference

    @property
    def score(self) -> float | None:
        """The challenge's score; None without a latency, or before the baseline was measured."""
        if self.cost is None or self.latency is None or self.state is None:
            return None

        # Ratios are to the baseline as it was counted and timed in this run, not as published.
        baseline = self.yardstick.baseline if self.yardstick else None
        if baseline is None or baseline.cost is None:
            return None
        return self.state.challenge.score(
            self.latency.ratio,
            self.cost.flops / baseline.cost.flops,
            self.cost.params / baseline.cost.params,
        )

    @property
    def test_psnr_db(self) -> float | None:
        """PSNR on the test set; None where that was not read, as it is for the front alone."""
        by_arch_id = self.state.test_psnr_db if self.state else None
        if not by_arch_id:  # most runs have none, and an arch_id takes a hash of the whole spec
            return None
        return by_arch_id.get(self.record.spec.arch_id)

    @property
    def trained_psnr_db(self) -> float | None:
        """PSNR on the search's val images after a whole training; None where there was none."""
        by_arch_id = self.state.trained if self.state else None
        if not by_arch_id:
            return None
        trained = by_arch_id.get(self.record.spec.arch_id)
        return trained.psnr_db if trained and trained.on_same_val else None

    @property
    def measure_seconds(self) -> float | None:
        """Seconds of its latency readings."""
        return self.record.seconds.get("measure")

    @property
    def wait_seconds(self) -> float | None:
        """Seconds in which it waited for the device."""
        return self.record.seconds.get("wait")

    @property
    def control_seconds(self) -> float | None:
        """Seconds in which the controller chose it."""
        return self.record.seconds.get("control")

    @property
    def is_whole(self) -> bool:
        """Whether it was trained for as many steps as the ladder."""
        steps = self.quality.fidelity if self.quality else None
        return self.yardstick is not None and steps == self.yardstick.top_fidelity
