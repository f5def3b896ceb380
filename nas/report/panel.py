"""What a panel of the report is: a pure table, and a drawing of it."""

from typing import Protocol, TypeAlias

import pandas as pd
import plotly.graph_objects as go

from nas.analysis.run_state import RunState

Part: TypeAlias = go.Figure | str  # a str is HTML, already escaped


class Panel(Protocol):
    """One section of the report: a module of `panels/`, listed in `PANELS`."""

    TITLE: str

    def note(self, state: RunState) -> str:
        """Plain text above the drawing, a line a paragraph: what is shown, in which unit, how made."""

    def table(self, state: RunState) -> pd.DataFrame:
        """The numbers that are drawn, unrounded; no rows when there is nothing to draw."""

    def draw(self, table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
        """Figures and HTML, in the order in which they stand."""
