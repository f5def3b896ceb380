"""What a panel of the report is: a pure table, and a drawing of it."""

from typing import Protocol, TypeAlias

import pandas as pd
import plotly.graph_objects as go

from nas.analysis.run_state import RunState

Part: TypeAlias = go.Figure | str  # a str is HTML, already escaped


class Panel(Protocol):
    """One section of the report: a module of `panels/`, listed in `PANELS`.

    Example:
        parts = panel.draw(panel.table(state), state)
    """

    TITLE: str

    def note(self, state: RunState) -> str:
        """Return the text above the drawing: what is shown, and how it was made."""

    def table(self, state: RunState) -> pd.DataFrame:
        """Return the numbers that are drawn, unrounded; no rows when there is nothing to draw."""

    def draw(self, table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
        """Return figures and HTML, in the order in which they stand."""
