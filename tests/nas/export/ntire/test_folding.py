"""Statements with what is constant folded in."""

import ast

import pytest

from nas.export.ntire.bodies import fold_body
from nas.export.ntire.folding import Folder
from nas.export.ntire.layout import print_body
from nas.export.ntire.scope import Scope


def fold(text, **known):
    """Fold statements in which some local names are known."""
    body = ast.parse(text).body
    replaced = {name: ast.Constant(value=value) for name, value in known.items()}
    scope = Scope(space={"__builtins__": __builtins__}, values=dict(known), replaced=replaced)
    scope.local |= set(known) | {"x", "y"}
    return "\n".join(print_body(fold_body(body, Folder(None, scope, building=False))))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("y = x if mode is None else mode\nmode = y + 1\nz = mode", "y = x\nmode = y + 1\nz = mode"),
        ("mode = x + 2 if mode is None else mode\ny = f(mode)", "mode = x + 2\ny = f(mode)"),
        ("if mode is None:\n    y = 1\nelse:\n    y = 2", "y = 1"),
        ("if x:\n    flag = True\nelse:\n    flag = False\ny = flag",
         "if x:\n    flag = True\nelse:\n    flag = False\ny = flag"),
        ("for i, y in enumerate(x):\n    f(y)", "for y in x:\n    f(y)"),
        ("if x < 1:\n    raise ValueError(x)\ny = zip(x, y, strict=True)", "y = zip(x, y)"),
    ],
)  # fmt: skip
def test_constants_are_folded_in_and_no_more(text, wanted):
    assert fold(text, mode=None) == wanted
