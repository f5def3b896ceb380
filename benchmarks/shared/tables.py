"""Markdown tables on the terminal, as docs/results.md holds them."""

from collections.abc import Sequence


def format_head(titles: Sequence[str]) -> tuple[str, str]:
    """Return the two lines above a table's rows."""
    return format_row(titles), "|---" * len(titles) + "|"


def format_row(cells: Sequence[object]) -> str:
    """Return one row of a table.

    Example:
        >>> format_head(["network", "dB"])
        ('| network | dB |', '|---|---|')
        >>> format_row(["span", 26.94])
        '| span | 26.94 |'
    """
    return f"| {' | '.join(map(str, cells))} |"
