"""How long more training steps gain: readings of one network along its training."""

from dataclasses import dataclass

from nas.record import Curve
from nas.system.schema.schema_rules import Count

FACTOR = 4  # times the proxy's steps that the ladder's sizes are trained a second time
QUARTERS = (1, 2, 4, 8, 16)  # of the proxy's steps: where these longer trainings are read
MIN_GAIN_SEEDS = 2.0  # seed deviations; two trainings of one network differ by as much


@dataclass(frozen=True, slots=True, kw_only=True)
class LongerPlan:
    """How long the ladder's sizes are trained a second time.

    Attributes:
        steps: of these longer trainings; 0: there are none.
        reason: why there are none, in words.
        from_parent: whether they start from a trained network: the smaller sizes, cut from it,
            catch up with it then, so that their spread shrinks.
    """

    steps: Count = 0
    reason: str = "the run holds no longer training of the ladder"
    from_parent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """How far more training steps gain PSNR on the val set, seen at one size of the ladder.

    Attributes:
        size: channels x blocks, as in 28x6.
        readings: training steps and PSNR in dB, steps rising.
        noise_db: a later reading has to be higher by more than this to be a gain.
        gains_until: the steps after which no reading is a gain.
    """

    size: str
    readings: Curve
    noise_db: float
    gains_until: int

    @property
    def longest(self) -> int:
        """Steps of the last reading."""
        return self.readings[-1][0]

    @property
    def is_used_up(self) -> bool:
        """Whether the steps after `gains_until` gain nothing: the data are used up by then."""
        return self.gains_until < self.longest

    def covers(self, steps: int) -> bool:
        """Return whether a training of so many steps ends before the data are used up."""
        return not self.is_used_up or steps <= self.gains_until


def list_readings(steps: int) -> tuple[int, ...]:
    """Return the steps at which a longer training is read, rising; the last is its end.

    Args:
        steps: of the proxy.
    Example:
        >>> list_readings(800)
        (200, 400, 800, 1600, 3200)
    """
    return tuple(sorted({max(1, steps * quarters // 4) for quarters in QUARTERS}))


def read_lasting(size: str, readings: Curve, seed_std_db: float | None) -> Lasting:
    """Return how far the readings of a size gain.

    Args:
        readings: steps rising, at least one.
        seed_std_db: standard deviation of a training over seeds; None: not known, and every
            reading that is higher counts as a gain.
    Example:
        >>> read_lasting("28x6", ((200, 28.1), (800, 28.5), (3200, 28.4)), 0.01).gains_until
        800
    """
    noise_db = MIN_GAIN_SEEDS * (seed_std_db or 0.0)
    gains_until = readings[-1][0]
    for place, (steps, psnr_db) in enumerate(readings):
        later = [later_db for _, later_db in readings[place + 1 :]]
        # Against the best of all that follows: many small gains are one.
        if not later or max(later) <= psnr_db + noise_db:
            gains_until = steps
            break
    return Lasting(size=size, readings=readings, noise_db=noise_db, gains_until=gains_until)
