"""What users import from `nas` itself: a search as an object."""

from typing import Any

from nas.commands.search import compose_search, open_display
from nas.report.page import render
from nas.search.config import SearchConfig
from nas.search.screen import show_nothing
from nas.search.session import SearchResult, SearchSession


class Search:
    """A search as an object: what `nas search` does, also with objects of your own.

    Args:
        overrides: as they are typed after `nas search`, such as "proxy.steps=2000".
        values: the same keys as keywords. A group takes the name of one of its choices, a
            dictionary of its keys, or an object: `space` with `sample(chooser)`, `sampler` with
            `ask(...)` (`nas.search.samplers.base.Sampler`), `evaluator`
            (`nas.search.backends.base.Backend`), `engine` (`nas.search.engines.base.Engine`).
    Raises:
        ValueError: a key is unknown, or a value or an object is not what it takes.

    Example: the front of a search over a table that ships; nothing is trained.
        >>> import tempfile
        >>> search = Search(
        ...     evaluator="table", space="esr_bench_mini", challenge="esr_bench_mini",
        ...     proxy={"steps": 2000}, trials=3, run=f"{tempfile.mkdtemp()}/mine",
        ... )
        >>> result = search.run()
        >>> len(result.trials)
        4
        >>> (result.folder / "report.html").is_file()
        True
    """

    config: SearchConfig

    def __init__(self, *overrides: str, **values: Any) -> None:
        self.config = compose_search(*overrides, **values)

    def run(self, *, show: bool = False) -> SearchResult:
        """Search until the budget is spent; in a run directory that exists, go on.

        Args:
            show: print what `nas search` prints while it runs.
        Raises:
            ValueError: something that was asked for cannot be done; nothing was written.
            MachineError: disk, data, device or workers failed (`nas.system.faults`); all that had
                finished is kept, and `run` goes on.
            KeyboardInterrupt: it was stopped; all that had finished is kept, and `run` goes on.
        """
        open_screen = open_display if show else show_nothing
        return SearchSession(self.config, render=render, open_screen=open_screen).run()
