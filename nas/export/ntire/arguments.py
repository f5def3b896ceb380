"""Arguments and parameters: which belongs to which, and one in the place of the other."""

import ast
import copy
from typing import Any

from nas.export.ntire.expressions import show
from nas.export.ntire.scope import Scope, is_constant

LONGEST_REPEATED = 14  # characters of an argument that is written three times in one call


def bind_target(target: ast.expr, item: Any) -> dict[str, Any]:
    """Return the values of the names of a loop's target."""
    if isinstance(target, ast.Name):
        return {target.id: item}
    assert isinstance(target, ast.Tuple)
    values: dict[str, Any] = {}
    for part, value in zip(target.elts, item, strict=True):
        values |= bind_target(part, value)
    return values


def bind_nodes(called: Any, node: ast.Call, scope: Scope) -> dict[str, tuple[ast.expr, bool]]:
    """Return the arguments of a call by parameter, and whether each was given by its name."""
    function = called
    if isinstance(called, type):
        function = next(
            vars(base)["__init__"] for base in called.__mro__ if "__init__" in vars(base)
        )
    code = function.__code__
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    names = names[1:] if isinstance(called, type) else names

    listed: list[ast.expr] = []
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            # A tuple that is spread is read item by item.
            for i in range(len(scope.evaluate(arg.value))):
                listed.append(
                    ast.Subscript(value=arg.value, slice=ast.Constant(value=i), ctx=ast.Load())
                )
        else:
            listed.append(arg)
    bound = {name: (arg, False) for name, arg in zip(names, listed, strict=False)}
    return bound | {k.arg: (k.value, True) for k in node.keywords if k.arg}


def start_parameter(node: ast.expr) -> ast.expr:
    """Return the start of a parameter without what only training needs: it is loaded anyway."""
    plain = ("ones", "zeros", "full", "randn")
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in plain:
        return node
    for part in ast.walk(node):
        if not isinstance(part, ast.Call) or not isinstance(part.func, ast.Attribute):
            continue
        if part.func.attr in (*plain, "empty") and ast.unparse(part.func.value) == "torch":
            return ast.Call(
                func=ast.Attribute(value=part.func.value, attr="zeros", ctx=ast.Load()),
                args=part.args,
                keywords=[],
            )
    return node


def substitute(body: ast.expr, given: dict[str, ast.expr], *, always: bool) -> ast.expr | None:
    """Return an expression with arguments in the place of parameters.

    None where an argument that is more than a name would be computed twice.
    """
    counts: dict[str, int] = {}
    for part in ast.walk(body):
        if isinstance(part, ast.Name):
            counts[part.id] = counts.get(part.id, 0) + 1
    for name, arg in given.items():
        is_small = isinstance(arg, ast.Name | ast.Constant | ast.Attribute)
        is_readable = always and (len(show(arg)) <= LONGEST_REPEATED or counts.get(name, 0) < 3)
        if counts.get(name, 0) > 1 and not (is_small or is_readable):
            return None
    return _Substitution(given).visit(copy.deepcopy(body))  # type: ignore[no-any-return]


class _Substitution(ast.NodeTransformer):
    """Puts arguments in the place of names, and computes what became a number by that."""

    def __init__(self, given: dict[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.given.get(node.id, node))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        made = self.generic_visit(node)
        assert isinstance(made, ast.Call)
        # list((a, b)) is what a size becomes that was handed on.
        is_list = isinstance(made.func, ast.Name) and made.func.id == "list" and len(made.args) == 1
        if is_list and isinstance(made.args[0], ast.Tuple):
            return ast.List(elts=made.args[0].elts, ctx=ast.Load())
        return made

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        before = ast.dump(node)
        made = self.generic_visit(node)
        assert isinstance(made, ast.BinOp)
        known = is_constant(made.left, int) and is_constant(made.right, int)
        if known and ast.dump(made) != before:
            value: Any = Scope(space={}).evaluate(made)
            return ast.Constant(value=value)
        return made
