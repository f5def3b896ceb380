"""Comprehensions with what is constant folded in; elements that differ are written out."""

import ast
import copy
from typing import Any

from nas.export.ntire.arguments import bind_target
from nas.export.ntire.printer import Folds
from nas.export.ntire.scope import UNKNOWN, make_literal


def fold_comprehension(folder: Folds, node: Any) -> ast.expr:
    """Fold a comprehension; one whose elements come out different is written out as a list."""
    items = _list_items(folder, node) if folder.building else []
    named = [folder.within(folder.scope.extend(values)).fold(node.elt) for values in items]
    targets = {
        name.id
        for part in node.generators
        for name in ast.walk(part.target)
        if isinstance(name, ast.Name)
    }
    needs_list = "pairwise" in ast.dump(node.generators[0].iter)  # which Python 3.9 has not
    if named and (needs_list or len({ast.dump(element) for element in named}) > 1):
        return _write_out(folder, node, [_fold_written(folder, node, item) for item in items])

    made = copy.copy(node)
    first, *others = node.generators
    inner = folder.within(folder.scope.extend({}, targets))
    # The first iterable is read outside of the loop.
    generators = [_fold_generator(folder, first, inner, outer=folder)]
    made.generators = generators + [_fold_generator(folder, g, inner, inner) for g in others]
    if isinstance(node, ast.DictComp):
        made.key, made.value = inner.fold(node.key), inner.fold(node.value)
    else:
        made.elt = named[0] if named else inner.fold(node.elt)
    return made  # type: ignore[no-any-return]


def _write_out(folder: Folds, node: Any, written: list[ast.expr]) -> ast.expr:
    """Return the elements of a comprehension as a list; equal ones as a plain count."""
    if len(written) < 2 or len({ast.dump(element) for element in written}) > 1:
        return ast.List(elts=written, ctx=ast.Load())
    count = _name_number(folder, len(written), "num_")
    target = ast.Name(id="_", ctx=ast.Store())
    each = ast.Call(func=ast.Name(id="range", ctx=ast.Load()), args=[count], keywords=[])
    made = copy.copy(node)
    made.elt = written[0]
    made.generators = [ast.comprehension(target=target, iter=each, ifs=[], is_async=0)]
    return made  # type: ignore[no-any-return]


def _name_number(folder: Folds, value: int, *starts: str) -> ast.expr:
    """Return a number by the name of a parameter that has this value, where one begins so."""
    for name, known in folder.scope.values.items():
        if type(known) is int and known == value and name.startswith(starts):
            return copy.deepcopy(folder.scope.replaced.get(name, ast.Name(name, ast.Load())))
    return ast.Constant(value=value)


def _write_value(folder: Folds, value: Any) -> ast.expr:
    """Return what a loop's variable stands for; widths by their names."""
    is_width = type(value) is int and value > 3
    return (
        _name_number(folder, value, "channels", "in_channels") if is_width else make_literal(value)
    )


def _fold_generator(
    folder: Folds, part: ast.comprehension, inner: Folds, outer: Folds
) -> ast.comprehension:
    made = copy.copy(part)
    made.iter = outer.fold(part.iter)
    made.ifs = [inner.fold(test) for test in part.ifs]
    return made


def _list_items(folder: Folds, node: Any) -> list[dict[str, Any]]:
    """Return what the loop's variables stand for, turn by turn; nothing where a call decides it."""
    if len(node.generators) != 1 or isinstance(node, ast.DictComp):
        return []
    part = node.generators[0]
    items = folder.scope.evaluate(part.iter)
    if items is UNKNOWN or part.ifs:
        return []
    return [bind_target(part.target, item) for item in items]


def _fold_written(folder: Folds, node: Any, values: dict[str, Any]) -> ast.expr:
    """Return an element with what its loop's variables stand for in their places."""
    inner = folder.scope.extend(values)
    for name, value in values.items():
        inner.replaced[name] = _write_value(folder, value)
    return folder.within(inner).fold(node.elt)
