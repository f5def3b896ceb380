"""The process of one training among several on a device: its request comes by standard input.

It says what it does and ends as the command does: python -m nas.commands.training.child
"""

import pickle
import sys

from nas.cli.door import run_guarded
from nas.commands.train import train_network
from nas.commands.training.request import TrainingRequest


def main() -> int:
    """Train what is asked for; return the exit status."""
    request: TrainingRequest = pickle.load(sys.stdin.buffer)
    arguments = ["train", f"run={request.top or request.run}"]
    return run_guarded(lambda: train_network(request), arguments, until_the_end=True)


if __name__ == "__main__":
    sys.exit(main())
