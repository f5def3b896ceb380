"""Statements of the sources with what is constant folded in, and what nothing reads left out."""

import ast
import copy
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from torch import nn

from nas.export.ntire.folding import Folder
from nas.export.ntire.scope import LITERALS, UNKNOWN, Scope, is_constant, list_assigned
from nas.export.ntire.sources import is_own

CHECK = "check_"  # how functions begin that only refuse


def fold_body(body: Sequence[ast.stmt], folder: Folder) -> list[ast.stmt]:
    """Return the statements of a function with what is constant folded in.

    Checks, raises and annotations are left out, and branches that are never taken.
    """
    made: list[ast.stmt] = []
    assigned = list_assigned(list(body))
    folder.scope.local |= assigned
    for statement in body:
        folded = _fold_statement(statement, folder, body)
        if folded:
            _keep_comments(statement, folded[0])
        made += folded
        if made and isinstance(made[-1], ast.Return):
            break
    return _join_return(made)


def _fold_statement(node: ast.stmt, folder: Folder, body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return what is left of a statement: none, one, or those of a branch."""
    if isinstance(node, ast.Raise | ast.Assert | ast.Pass):
        return []
    if isinstance(node, ast.Expr):
        return _fold_expression(node, folder)
    if isinstance(node, ast.AnnAssign):
        if node.value is None:
            return []
        plain = ast.Assign(targets=[node.target], value=node.value)
        return _fold_assignment(plain, folder, body)
    if isinstance(node, ast.Assign):
        return _fold_assignment(node, folder, body)
    if isinstance(node, ast.Return):
        value = folder.fold(node.value) if node.value else None
        return [ast.Return(value=value)]
    if isinstance(node, ast.AugAssign):
        target, value = folder.fold(node.target), folder.fold(node.value)
        return [ast.AugAssign(target=target, op=node.op, value=value)]  # type: ignore[arg-type]
    return _fold_compound(node, folder)


def _fold_expression(node: ast.Expr, folder: Folder) -> list[ast.stmt]:
    """Return a statement that is one expression, unless it only checks something."""
    if isinstance(node.value, ast.Constant):
        return [node]
    called = folder.scope.evaluate(node.value.func) if isinstance(node.value, ast.Call) else None
    if isinstance(node.value, ast.Call) and ast.unparse(node.value.func).startswith("nn.init."):
        return []  # how weights start: they are loaded
    is_check = is_own(called) and getattr(called, "__name__", "").lstrip("_").startswith(CHECK)
    return [] if is_check else [ast.Expr(value=folder.fold(node.value))]


def _fold_assignment(node: ast.Assign, folder: Folder, body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return an assignment; one of a constant or of a function is written in where it is read."""
    value, target = folder.fold(node.value), node.targets[0]
    if (
        folder.scope.settled
        and isinstance(target, ast.Name)
        and _count_stores(body, target.id) == 1
    ):
        called = folder.scope.evaluate(node.value)
        is_alias = isinstance(value, ast.Name) and isinstance(called, FunctionType)
        if is_constant(value, *LITERALS) or is_alias:
            folder.scope.values[target.id] = called if is_alias else value.value  # type: ignore[attr-defined]
            folder.scope.replaced[target.id] = value
            return []
    targets = [folder.fold(target) for target in node.targets]
    for name in list_assigned([node]):
        # An argument that is computed anew is what was given no longer.
        folder.scope.replaced.pop(name, None)
        folder.scope.values.pop(name, None)
    return [ast.Assign(targets=targets, value=value)]


def _fold_compound(node: ast.stmt, folder: Folder) -> list[ast.stmt]:
    """Return a statement that holds others; a test that is known leaves one of its branches."""
    if isinstance(node, ast.If):
        if is_refusal(node):
            return []
        holds, test = folder.decide(node.test)
        if holds is not None:
            return fold_body(node.body if holds else node.orelse, folder)
        inner = folder.within(folder.scope.unsettle())
        then, other = fold_body(node.body, inner), fold_body(node.orelse, inner)
        return [ast.If(test=test, body=then, orelse=other)] if then or other else []
    if isinstance(node, ast.For):
        return _fold_loop(node, folder)
    if isinstance(node, ast.With) and ast.unparse(node.items[0]) == "torch.no_grad()":
        return []  # how weights start: they are loaded
    if isinstance(node, ast.While):
        inner = folder.within(folder.scope.unsettle())
        return [ast.While(test=folder.fold(node.test), body=fold_body(node.body, inner), orelse=[])]
    if isinstance(node, ast.FunctionDef):
        names = {arg.arg for arg in node.args.args}
        inner = folder.within(folder.scope.extend({}, names))
        made = ast.FunctionDef(
            name=node.name, args=strip_annotations(node.args), body=fold_body(node.body, inner),
            decorator_list=[],
        )  # fmt: skip
        return [made]
    raise ValueError(f"a {type(node).__name__} statement cannot be printed")


def is_refusal(node: ast.If) -> bool:
    """Return whether a condition only refuses something."""
    return all(isinstance(statement, ast.Raise) for statement in node.body) and not node.orelse


def _fold_loop(node: ast.For, folder: Folder) -> list[ast.stmt]:
    """Return a loop; one over layers that are treated differently is written out."""
    layers = folder.scope.evaluate(node.iter)
    if isinstance(layers, nn.ModuleList) and isinstance(node.target, ast.Name):
        bodies = []
        for layer in layers:
            scope = folder.scope.extend({node.target.id: layer}).unsettle()
            bodies.append(fold_body(node.body, folder.within(scope)))
        if len({_dump(body) for body in bodies}) == 1:
            return [ast.For(target=node.target, iter=node.iter, body=bodies[0], orelse=[])]

        written: list[ast.stmt] = []
        for i, layer in enumerate(layers):
            scope = folder.scope.extend({node.target.id: layer}).unsettle()
            scope.replaced[node.target.id] = ast.Subscript(
                value=node.iter, slice=ast.Constant(value=i), ctx=ast.Load()
            )
            written += fold_body(node.body, folder.within(scope))
        return written

    names = {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
    inner = folder.within(folder.scope.extend({}, names).unsettle())
    body = fold_body(node.body, inner)
    if not body:
        return []
    target, each = _drop_count(node.target, folder.fold(node.iter), body)
    return [ast.For(target=target, iter=each, body=body, orelse=[])]


def _drop_count(
    target: ast.expr, each: ast.expr, body: Sequence[ast.stmt]
) -> tuple[ast.expr, ast.expr]:
    """Return a loop's target and iterable, without `enumerate` where nothing reads the count."""
    is_counted = isinstance(each, ast.Call) and ast.unparse(each.func) == "enumerate"
    if not is_counted or not isinstance(target, ast.Tuple):
        return target, each
    assert isinstance(each, ast.Call)
    count, item = target.elts
    read = {
        part.id for statement in body for part in ast.walk(statement) if isinstance(part, ast.Name)
    }
    is_read = not isinstance(count, ast.Name) or count.id in read
    return (target, each) if is_read else (item, each.args[0])


def _dump(body: Sequence[ast.stmt]) -> str:
    return "\n".join(ast.dump(statement) for statement in body)


def _count_stores(body: Sequence[ast.stmt], name: str) -> int:
    return sum(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store)
        for statement in body
        for part in ast.walk(statement)
    )


def _keep_comments(source: ast.stmt, made: ast.stmt) -> None:
    """Give what was made of a statement the comments of its source.

    Those of a test are left out where one of its branches stands in its place.
    """
    if hasattr(made, "comments"):
        made.blank_before = getattr(source, "blank_before", False)  # type: ignore[attr-defined]
        return
    for name in ("comments", "blank_before", "trailing"):
        setattr(made, name, getattr(source, name, [] if name == "comments" else ""))


def _join_return(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements of which the last assigns and returns one name as a mere return."""
    if len(body) < 2 or not isinstance(body[-1], ast.Return):
        return body
    last, before = body[-1], body[-2]
    if not isinstance(before, ast.Assign) or not isinstance(last.value, ast.Name):
        return body
    target = before.targets[0]
    if not isinstance(target, ast.Name) or target.id != last.value.id:
        return body
    joined = ast.Return(value=before.value)
    _keep_comments(before, joined)
    return [*body[:-2], joined]


def drop_unread(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without assignments to local names that nothing reads."""
    while True:
        read = {
            part.id
            for statement in body
            for part in ast.walk(statement)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
        }
        kept = [statement for statement in body if not _is_unread(statement, read)]
        if len(kept) == len(body):
            return kept
        body = kept


def _is_unread(statement: ast.stmt, read: set[str]) -> bool:
    """Return whether a statement only assigns to names that nothing reads."""
    if not isinstance(statement, ast.Assign):
        return False
    target = statement.targets[0]
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(name, ast.Name) and name.id not in read for name in names)


def strip_annotations(arguments: ast.arguments) -> ast.arguments:
    """Return the parameters of a function without their types."""
    made = copy.deepcopy(arguments)
    for arg in (*made.posonlyargs, *made.args, *made.kwonlyargs):
        arg.annotation = None
    if made.vararg:
        made.vararg.annotation = None
    return made


def execute(node: ast.Assign, scope: Scope) -> dict[str, Any]:
    """Return the values of the local names to which a constructor's statement assigns."""
    names = {
        part.id
        for target in node.targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }
    value = scope.evaluate(node.value)
    if value is UNKNOWN:
        return {}
    space: dict[str, Any] = {"__value": value}
    copied = ast.Assign(targets=copy.deepcopy(node.targets), value=ast.Name("__value", ast.Load()))
    module = ast.fix_missing_locations(ast.Module(body=[copied], type_ignores=[]))
    exec(compile(module, "<source>", "exec"), space)
    return {name: space[name] for name in names}
