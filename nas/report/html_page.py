"""The frame of a page: one HTML file that holds all it needs and opens offline."""

import base64
import functools
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from plotly.offline import get_plotlyjs

from nas.report.panel import Part
from nas.report.style import CSS, SCRIPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part of a page.

    Attributes:
        note: what is shown, in words that stand above it.
        parts: figures and HTML, in their order.
    """

    title: str
    note: str
    parts: Sequence[Part]


def write_page(*, name: str, kind: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a page of sections.

    The page loads nothing and sends nothing: its policy has the browser refuse both, whatever a
    script would do.

    Args:
        name: of the run.
        kind: what the page is, above the name.
        lead: what was found, in a sentence or two.
    """
    # A run's name and settings come from outside: everything is escaped on its way in.
    links = "".join(
        f'<a href="#{_make_anchor(section.title)}">{html.escape(section.title)}</a>'
        for section in sections
    )
    written = "\n".join(_write_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_write_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(name)} - ESR-NAS</title><style>{CSS}</style></head>
<body>{_write_style_placeholders()}
<header><h1><small>ESR-NAS {html.escape(kind)}</small>{html.escape(name)}</h1>
<p class="lead">{html.escape(lead)}</p>
<nav>{links}</nav></header>
<main>{written}</main>
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


def _make_anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _write_section(section: Section) -> str:
    # The title, then what is shown in words, then what is drawn.
    anchor = _make_anchor(section.title)
    parts = _write_parts(section.parts, anchor)
    return (
        f'<section id="{anchor}"><h2>{html.escape(section.title)}</h2>'
        f'<p class="note">{html.escape(section.note)}</p>{parts}</section>'
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
