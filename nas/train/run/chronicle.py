"""What a run of training leaves in its folder, and tells; of several processes the first one does."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nas.analysis.training import Reading
from nas.measure.quality import Upscaler
from nas.train.run.checkpoint import Checkpoint, write_checkpoint
from nas.train.run.config import TrainingConfig, Unwatched, Watcher
from nas.train.run.keepsakes import Keepsakes
from nas.train.run.log import TrainingLog
from nas.train.run.plan import Segment, list_steps
from search_spaces.network import Network

LAST = "checkpoints/last.pt"


class Chronicle:
    """Writes the log, weights, samples and checkpoints of a run, and tells its watcher.

    Attributes:
        watcher: that of the run, or one that takes note of nothing.

    Args:
        writes: False: nothing is written, and nobody is told.
    """

    def __init__(self, config: TrainingConfig, watcher: Watcher, *, writes: bool) -> None:
        self.watcher: Watcher = watcher if writes else Unwatched()
        self._config = config
        self._writes = writes
        self._log: TrainingLog | None = None
        self._keepsakes = Keepsakes(config.folder, config.spec, config.sets["val"], config.device)

    @property
    def weights(self) -> Path:
        """The file of the best weights so far."""
        return self._keepsakes.weights

    def begin(self) -> None:
        """Open the log, and keep crops of val as they should be, beside which samples are seen."""
        if self._writes:
            self._log = TrainingLog(self._config.folder, self._config.settings)
            if self._log.notice:
                self.watcher.tell(self._log.notice)
            with self._telling():
                self._keepsakes.keep_originals()

    def tell_plan(self, segments: Sequence[Segment]) -> None:
        """Note the steps of each segment."""
        if self._log:
            self._log.plan(list_steps(segments))
        self.watcher.plan(list(segments))

    def add(self, reading: Reading) -> None:
        """Note a validation."""
        if self._log:
            self._log.add(reading)
        self.watcher.read(reading)

    def keep_sample(self, name: str, open_upscaler: Callable[[], Upscaler]) -> None:
        """Keep the crops as a network makes them."""
        if self._writes:
            with self._telling():
                self._keepsakes.keep_sample(name, open_upscaler())

    def keep_weights(self, net: Network, *, over_base: bool) -> None:
        """Keep weights as a file that other commands read.

        Raises:
            OSError: they cannot be written; the file that was there stays.
        """
        if self._writes:
            self._keepsakes.keep_weights(net, over_base=over_base)

    def load_weights(self, net: Network) -> Network:
        """Return the whole network that lies in the file of weights, on the device of another.

        A process that writes nothing returns the other one.
        """
        if not self._writes:
            return net
        return self._keepsakes.load_weights().to(next(net.parameters()).device)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint that a run goes on from.

        Raises:
            OSError: it cannot be written; the one that was there stays.
        """
        if self._writes:
            write_checkpoint(self._config.folder / LAST, checkpoint)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what could not be kept for people to look at: no training ends over it."""
        try:
            yield
        except OSError as error:
            self.watcher.tell(f"samples could not be kept: {error.strerror or error}")
