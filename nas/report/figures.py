"""The look that all figures share; colours of text and grid come from the page's style sheet."""

from typing import Any

import plotly.graph_objects as go

ACCENT = "#2f6fde"
MUTED = "#7d8794"  # readable on white and on black
WARM = "#d9822b"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def figure(traces: list[Any], *, x: str, y: str, height: int, **layout: Any) -> go.Figure:
    """Return a figure that takes the width of its box.

    Args:
        x, y: titles of the axes.
        height: pixels.
        layout: plotly's, over the look that all figures share; a dict adds to the shared one.
    """
    # Backgrounds are clear: the page is white or black as the reader's system is.
    axis = {"gridcolor": "#e3e6ea", "zeroline": False, "automargin": True, "ticks": ""}
    shared = {
        "template": "none",
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 36, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "#1c2430",
            "font": {"color": "#ffffff", "size": 12},
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
        },
        "xaxis": axis | {"title": {"text": x, "standoff": 10}},
        "yaxis": axis | {"title": {"text": y, "standoff": 8}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": ACCENT},
        # A finger that scrolls the page must not zoom the plot; the bar offers zooming.
        "dragmode": False,
    }

    # A panel changes single entries of the shared look, and keeps the rest.
    for name, value in layout.items():
        is_nested = isinstance(shared.get(name), dict)
        shared[name] = shared[name] | value if is_nested else value

    return go.Figure(data=traces, layout=shared)
