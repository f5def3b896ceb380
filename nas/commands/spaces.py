"""List search spaces, published networks, and what networks are made of; or look into one space.

With `space=` it prints how many architectures the space holds, its cheapest and its dearest member in FLOPs,
the published networks that it contains, and every decision with its options.

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
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.cli import catalog
from nas.measure.cost import summed_cost
from nas.report.words import describe
from nas.search.feasibility import check_members
from search_spaces import ArchSpec, published
from search_spaces.blocks import BLOCKS
from search_spaces.chooser import Space, decisions
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.layers.attention import ATTENTIONS
from search_spaces.published import headline, names
from search_spaces.reparam.forms import FORMS, PLAIN, SUM
from search_spaces.spaces.members import MAX_COUNTED, find, least, num_members, num_points
from search_spaces.spec import with_scale


def run(*, scale: Literal[2, 3, 4], space: Space | None = None) -> None:
    """Print the lists, or what one space holds."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width of its own: nothing is cut
    if space is not None:
        check_members(space)
        console.print(
            _list("decision", [(n, ", ".join(map(str, o))) for n, o in decisions(space).items()])
        )
        for line in _facts(space, scale):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    console.print(
        _list(
            "space",
            [(name, catalog.headline(f"space/{name}")) for name in catalog.options("space")],
        )
    )
    console.print(_list("network", [(f"published/{name}", headline(name)) for name in names()]))
    console.print(
        _list(
            "block", [(kind, _words(made, given=("make_conv",))) for kind, made in BLOCKS.items()]
        )
    )
    console.print(_list("attention", [(name, _words(made)) for name, made in ATTENTIONS.items()]))
    forms = [(kind, _words(made, given=("kernel", "bias"))) for kind, made in FORMS.items()]
    forms += [
        (SUM, "Several forms added. (blocks)"),
        (PLAIN, "Plain, where the network has a form."),
    ]
    console.print(_list("train_form", forms))
    console.print(_list("activation", [(", ".join(ACTIVATIONS), "")]))


def _facts(space: Space, scale: int) -> Iterator[str]:
    """What is found of a space, each line once it is: a large one takes half a minute."""
    count, points = num_members(space), num_points(space)
    about = "" if points <= MAX_COUNTED else "about "
    yield f"{about}{_number(count)} architectures, {_number(points)} ways to decide"
    for word, sign in (("cheapest", 1), ("dearest", -1)):
        _, spec = least(space, lambda one, sign=sign: sign * summed_cost(one)["flops"])  # type: ignore[misc]
        yield f"{word}: {_cost_words(spec)}"
    claims: list[str] | None = getattr(space, "contains", None)
    looked = names() if claims is None else claims
    inside = [
        name for name in looked if find(space, with_scale(published(name), scale)) is not None
    ]
    yield f"contains: {', '.join(inside) or 'no published network'}"
    if claims is not None and len(inside) < len(claims):  # an override may have taken it away
        yield f"not found in it as it is here: {', '.join(name for name in claims if name not in inside)}"


def _cost_words(spec: ArchSpec) -> str:
    cost = summed_cost(spec)
    return f"{cost['flops'] / 1e9:.3f} GFLOPs, {cost['params']:,d} parameters: {describe(spec)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def _words(made: Callable[..., Any], *, given: Container[str] = ()) -> str:
    """What something says of itself in its first paragraph, and the arguments that a spec gives it.

    Args:
        given: arguments that a spec does not give.
    """
    words = (inspect.getdoc(made) or "").split("\n\n")[0].replace("\n", " ")
    named = [
        name
        for name, one in inspect.signature(made).parameters.items()
        if one.kind is one.KEYWORD_ONLY and name not in given
    ]
    return f"{words} ({', '.join(named)})" if named else words


def _list(head: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(head, no_wrap=True)
    table.add_column("")
    for name, words in rows:
        table.add_row(name, escape(textwrap.shorten(words, 400)))  # brackets are no markup
    return table
