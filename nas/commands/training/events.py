"""A training's figures as event files, which TensorBoard shows."""

import importlib
import importlib.util
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.analysis.training import Reading

EVENTS = "tensorboard"  # folder of a run
FILES = "events.out.tfevents.*"


def check_tensorboard() -> None:
    """Refuse event files where the package that writes them is missing.

    Raises:
        ValueError: it is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "tensorboard=true needs tensorboard, not installed here; "
            "pip install 'esr-nas[tensorboard]'"
        )


class Events:
    """Writes each reading's losses, PSNR and learning rate once.

    Args:
        run: the run directory. Event files of earlier sessions are written anew, from the log: a
            training that was killed repeats steps that they hold already.
        readings: those of earlier sessions.
    """

    def __init__(self, run: Path, readings: Iterable[Reading]) -> None:
        folder = run / EVENTS
        for path in folder.glob(FILES):
            path.unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            module: Any = importlib.import_module("torch.utils.tensorboard")
        self._writer = module.SummaryWriter(str(folder))
        self._steps: set[int] = set()
        for reading in readings:
            self.add(reading)

    def add(self, reading: Reading) -> None:
        """Write a reading; of a step that is there already nothing is written.

        It is the same reading, or that of the stage which starts where the one before has ended.
        """
        if reading.step in self._steps:
            return
        self._steps.add(reading.step)
        scalars = {f"losses/{name}": value for name, value in reading.losses.items()}
        scalars["rate factor"] = reading.rate
        if reading.psnr_db is not None:
            scalars["PSNR on val, dB"] = reading.psnr_db
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, global_step=reading.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
