"""The processes that torchrun starts for one command: who of them speaks, and who says what ended it."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

PATIENCE_SECONDS = 2.0  # for which the others wait for the first one to say what ended all of them
STORE_SECONDS = 10.0  # for an answer of torchrun's store
ENDED = "nas/ended"  # key in that store: how many processes wanted to say what ended them


def count_processes() -> int:
    """Return how many processes torchrun started for this command; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def read_rank() -> int:
    """Return the number of this process among all of them, from 0."""
    return int(os.environ["RANK"]) if count_processes() > 1 else 0


def read_local_rank() -> int:
    """Return the number of this process among those of its machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if count_processes() > 1 else 0


@contextlib.contextmanager
def silencing_followers() -> Iterator[None]:
    """Print nothing on standard output, in all processes but the first."""
    if read_rank() == 0:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
        sys.stdout.flush()


def claim_last_word() -> bool:
    """Return whether this process is the one to say what has ended the command.

    It is the first that asks; others wait a moment, for the first process knows most. Once a
    process has claimed it, the others fail because of that one, and say nothing.
    """
    if count_processes() == 1:
        return True
    try:
        # Loaded here: a command that fails early, of one process, never needs it.
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=STORE_SECONDS),
        )
        key = f"{ENDED}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        deadline = time.monotonic() + (PATIENCE_SECONDS if read_rank() else 0.0)
        while time.monotonic() < deadline:
            if store.check([key]):
                return False
            time.sleep(0.05)
        return int(store.add(key, 1)) == 1
    except (RuntimeError, KeyError, ValueError):  # the store has gone: torchrun itself has ended
        return read_rank() == 0
    except KeyboardInterrupt:  # torchrun ends the others once one has ended
        return read_rank() == 0
