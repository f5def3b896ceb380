"""The report: one HTML file that holds all it needs and opens offline."""

import base64
import functools
import hashlib
import html
import re
from collections.abc import Sequence
from itertools import groupby

from plotly.offline import get_plotlyjs

from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.report.panel import Panel, Part
from nas.report.panels import PANELS
from nas.report.style import CSS, SCRIPT
from nas.report.words import headline


def render(state: RunState) -> str:
    """Return the run as one HTML page, also when nothing has finished yet.

    The page loads nothing and sends nothing: its policy has the browser refuse both, whatever a
    script would do.
    """
    # A run's name and settings come from outside: everything is escaped on its way in.
    name = html.escape(state.name)
    lead = headline(state, front_table(table(state)))
    links = "".join(
        f'<a href="#{_make_anchor(panel)}">{html.escape(panel.TITLE)}</a>' for panel in PANELS
    )
    sections = "\n".join(_write_section(panel, state) for panel in PANELS)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_write_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name} - ESR-NAS</title><style>{CSS}</style></head>
<body>{_write_style_placeholders()}
<header><h1><small>ESR-NAS search report</small>{name}</h1><p class="lead">{html.escape(lead)}</p>
<nav>{links}</nav></header>
<main>{sections}</main>
<footer>Made by ESR-NAS; <code>nas report run=...</code> writes this page anew.</footer>
<script>{_read_plotly()}</script>
<script>{SCRIPT}</script></body></html>
"""


@functools.cache
def _read_plotly() -> str:
    """Return plotly's script as a browser reads it.

    A browser turns every line end into a newline before it hashes a script.
    """
    return "\n".join(str(get_plotlyjs()).replace("\r\n", "\n").split("\r"))


@functools.cache
def _write_policy() -> str:
    """Return what a browser lets the page do.

    It runs its own two scripts, applies styles, and makes PNGs of its figures; nothing else is
    fetched, sent or run.
    """
    # A script is allowed by its hash: one that someone slipped into a notice has another.
    script = " ".join(_hash_text(text) for text in (_read_plotly(), SCRIPT))

    # plotly adds one empty style element, which it fills by script, and puts style attributes on
    # what it draws. A browser that does not know style-src-elem falls back on style-src.
    rules = {
        "default-src": "'none'",
        "script-src": script,
        "style-src": "'unsafe-inline'",
        "style-src-elem": f"{_hash_text(CSS)} {_hash_text('')}",
        "style-src-attr": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'none'",
        "form-action": "'none'",
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {allowed}" for name, allowed in rules.items())


@functools.cache
def _write_style_placeholders() -> str:
    """Return empty elements under the ids of the style sheets that plotly adds for its maps.

    The page has no maps. plotly adds a sheet where its id is not there yet, and the policy would
    refuse that with an error in the console.
    """
    # The ids are read from plotly's own script, so that another version brings its own.
    ids = re.findall(r'getElementById\("([0-9a-f]{64})"\)', _read_plotly())
    return "".join(f'<template id="{name}"></template>' for name in dict.fromkeys(ids))


def _hash_text(text: str) -> str:
    """Return the name of a script or style in a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _make_anchor(panel: Panel) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in panel.TITLE.lower())


def _write_section(panel: Panel, state: RunState) -> str:
    # The title, then what the panel shows in words, then what it draws.
    anchor = _make_anchor(panel)
    parts = _write_parts(panel.draw(panel.table(state), state), anchor)
    return (
        f'<section id="{anchor}"><h2>{html.escape(panel.TITLE)}</h2>'
        f'<p class="note">{html.escape(panel.note(state))}</p>{parts}</section>'
    )


def _write_parts(parts: Sequence[Part], anchor: str) -> str:
    """Return parts in their order as HTML.

    Figures that follow each other stand side by side where there is room.
    """
    # Figures are numbered within their panel: plotly finds them by id.
    written, count = [], 0
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, str)):
        pieces = []
        for part in group:
            if isinstance(part, str):
                pieces.append(part)
                continue

            count += 1
            name = f"{anchor}-{count}"
            # The figure is data, which the page's own script draws: a script a figure would each
            # need a hash in the policy. plotly escapes <, so no text can end the element.
            data = part.to_json()
            pieces.append(
                f'<div class="figure" id="{name}" style="height:{part.layout.height}px"></div>'
                f'<script type="application/json" data-figure="{name}">{data}</script>'
            )

        text = "".join(pieces)
        written.append(text if is_text else f'<div class="figures">{text}</div>')

    return "".join(written)
