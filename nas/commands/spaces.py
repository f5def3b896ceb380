"""List search spaces, published networks, and what networks are made of; or look into one space.

With `space=` it prints how many architectures the space holds, its cheapest and its dearest member
in FLOPs, the published networks that it contains, and every decision with its options.

Examples:
    nas spaces
    nas spaces space=esr
    nas spaces space=attention 'space.channels=[24,48]' scale=2
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, Literal

from rich import box
from rich.table import Table

from nas.cli import catalog
from nas.measure.cost import summed_cost
from nas.report.words import describe
from nas.search.feasibility import check_members
from nas.system.console import open_console, print_lines
from search_spaces import ArchSpec, published
from search_spaces.blocks import BLOCKS
from search_spaces.chooser import Space, decisions
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.layers.attention import ATTENTIONS
from search_spaces.published import headline, names
from search_spaces.reparam.forms import FORMS, PLAIN, SUM
from search_spaces.spaces.members import MAX_COUNTED, find, least, num_members, num_points
from search_spaces.spec import with_scale

MAX_WORDS = 400  # characters of a description


def run(*, scale: Literal[2, 3, 4], space: Space | None = None) -> None:
    """Print the lists, or the facts of one space."""
    console = open_console()
    if space is not None:
        check_members(space)
        # With its options a decision tells what an override may choose from.
        options = decisions(space)
        rows = [(name, ", ".join(map(str, values))) for name, values in options.items()]
        console.print(_make_table("decision", rows))
        print_lines(console, _describe_space(space, scale))
        return

    for head, rows in _list_parts():
        console.print(_make_table(head, rows))


def _list_parts() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield what networks are made of: heads of tables, and their rows of name and description."""
    spaces = catalog.options("space")
    yield "space", [(name, catalog.headline(f"space/{name}")) for name in spaces]
    yield "network", [(f"published/{name}", headline(name)) for name in names()]
    blocks = [(kind, _describe_part(block, given=("make_conv",))) for kind, block in BLOCKS.items()]
    yield "block", blocks
    yield "attention", [(name, _describe_part(kind)) for name, kind in ATTENTIONS.items()]

    # Two forms are no classes of their own.
    forms = [(name, _describe_part(form, given=("kernel", "bias"))) for name, form in FORMS.items()]
    forms.append((SUM, "Several forms added. (blocks)"))
    forms.append((PLAIN, "Plain, where the network has a form."))
    yield "train_form", forms
    yield "activation", [(", ".join(ACTIVATIONS), "")]


def _describe_space(space: Space, scale: int) -> Iterator[str]:
    """Yield the facts of a space, each line once it is known: a large one takes half a minute."""
    # Several ways to decide can give one architecture, so there are two counts.
    count, points = num_members(space), num_points(space)
    about = "" if points <= MAX_COUNTED else "about "
    yield f"{about}{_format_count(count)} architectures, {_format_count(points)} ways to decide"

    for word, sign in (("cheapest", 1), ("dearest", -1)):

        def signed_flops(spec: ArchSpec, sign: int = sign) -> float:
            return sign * summed_cost(spec)["flops"]

        # Found by search: most spaces hold too many members to count each.
        _, spec = least(space, signed_flops)
        yield f"{word}: {_describe_cost(spec)}"

    # A space may claim what it contains; an override may have taken some of it away.
    claims: list[str] | None = getattr(space, "contains", None)
    candidates = names() if claims is None else claims
    inside = [
        name for name in candidates if find(space, with_scale(published(name), scale)) is not None
    ]
    yield f"contains: {', '.join(inside) or 'no published network'}"
    if claims is not None and len(inside) < len(claims):
        absent = ", ".join(name for name in claims if name not in inside)
        yield f"not found in it as it is here: {absent}"


def _describe_cost(spec: ArchSpec) -> str:
    cost = summed_cost(spec)
    return f"{cost['flops'] / 1e9:.3f} GFLOPs, {cost['params']:,d} parameters: {describe(spec)}"


def _format_count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def _describe_part(part: Callable[..., Any], *, given: Container[str] = ()) -> str:
    """Return the first paragraph of a part's docstring, and the arguments that a spec gives it.

    Args:
        given: arguments that do not come from a spec.
    """
    # Descriptions are the parts' own docstrings, so that a new part is listed by itself.
    words = (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")
    arguments = [
        name
        for name, parameter in inspect.signature(part).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in given
    ]
    return f"{words} ({', '.join(arguments)})" if arguments else words


def _make_table(head: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(head, no_wrap=True)
    table.add_column("")
    for name, words in rows:
        table.add_row(name, textwrap.shorten(words, MAX_WORDS))
    return table
