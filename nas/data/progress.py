"""Work over many files: a few threads (decoders release the lock), and a bar when it takes long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nas.data.pixels.images import ImageError
from nas.system.cores import num_cores
from nas.system.progress import LateBar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result], items: Sequence[Item], *, label: str, show: bool = True
) -> Iterator[Result | ImageError]:
    """Yield the result for each item in order, or the ImageError that it raised.

    A few items are in flight at a time, so that a large set never lies in memory twice. A bar is
    shown on the standard error stream if that is a terminal, and only after a second.

    Args:
        function: is called in several threads.
        items: what it is called with.
        label: what is done, beside the bar.
        show: whether a bar may be shown.
    """
    # Decoders release Python's lock, so threads are enough.
    threads = min(8, num_cores(), max(1, len(items)))
    bar = LateBar(label, len(items), show=show)
    pending: deque[Future[Result | ImageError]] = deque()
    pool = ThreadPoolExecutor(max_workers=threads)

    # Results come in order, while twice as many items as threads are in work or wait.
    try:
        waiting = iter(items)
        for done in range(len(items)):
            while len(pending) < 2 * threads and (item := next(waiting, None)) is not None:
                pending.append(pool.submit(_call_guarded, function, item))
            yield pending.popleft().result()
            bar.update(done + 1)
    finally:
        # Not waited for: where the caller raised, the garbage collector closes this generator, and
        # may do so in a thread of the pool, which cannot wait for itself.
        pool.shutdown(wait=False, cancel_futures=True)
        bar.close()


def _call_guarded(function: Callable[[Item], Result], item: Item) -> Result | ImageError:
    """Call a function; an image that cannot be used is a result, other errors are raised."""
    try:
        return function(item)
    except ImageError as error:
        return error
