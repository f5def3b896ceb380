"""Calls with what is constant folded in: of our classes and functions, of PyTorch and Python."""

import ast
import functools
import inspect
from types import FunctionType
from typing import Any

import torch
from torch import nn

from nas.export.ntire.arguments import bind_nodes, start_parameter, substitute
from nas.export.ntire.printer import Folds
from nas.export.ntire.scope import (
    LITERALS,
    UNKNOWN,
    Scope,
    list_parameter_names,
    make_literal,
)
from nas.export.ntire.sources import find_constant, is_own
from search_spaces.layers import selective_scan
from search_spaces.layers.tracing import is_traced

# What holds whenever a printed network runs: it infers, in plain PyTorch.
KNOWN_RESULTS: dict[Any, Any] = {
    is_traced: False,
    torch.is_grad_enabled: False,
    selective_scan._mamba_ssm: None,
}
IMPORTED = ("torch", "math", "builtins", "itertools")  # itertools' loops are written out
# What PyTorch's layers take where nothing is said.
DEFAULTS: dict[Any, dict[str, Any]] = {
    nn.Conv2d: {"bias": True, "padding": 0, "groups": 1, "stride": 1},
    nn.functional.interpolate: {"align_corners": None},
}


def fold_call(folder: Folds, node: ast.Call) -> ast.expr:
    """Fold a call by what is called: ours by its source, PyTorch's as it stands."""
    if folder.scope.loose and isinstance(node.func, ast.Subscript):
        return folder.fold_fields(node)  # type: ignore[no-any-return]  # a table stays one
    called = folder.scope.evaluate(node.func)
    if isinstance(called, nn.Module) and not folder.building and not folder.scope.loose:
        if isinstance(called, nn.Identity) and len(node.args) == 1:
            return folder.fold(node.args[0])
        if is_own(type(called)):
            return _inline_module(folder, called, node)
    if isinstance(called, functools.partial):
        node = ast.Call(
            func=node.func,
            args=[*map(make_literal, called.args), *node.args],
            keywords=node.keywords,
        )
        called = called.func

    try:
        if called in KNOWN_RESULTS:
            return ast.Constant(value=KNOWN_RESULTS[called])
    except TypeError:
        called = UNKNOWN  # what has no hash is nothing of ours
    if called is isinstance and "SymInt" in ast.dump(node):
        return ast.Constant(value=False)  # sizes are whole numbers but in a trace
    if isinstance(called, type) and is_own(called):
        return _fold_construction(folder, called, node)
    if isinstance(called, FunctionType) and is_own(called):
        if called.__name__ == "<lambda>":
            return _fold_lambda_call(folder, node)
        return _fold_own_function(folder, called, node)
    _check_origin(called)
    return _tidy_call(folder, called, folder.fold_fields(node))


def _check_origin(called: Any) -> None:
    """Refuse what a printed file cannot import.

    Raises:
        ValueError: it is of another package than PyTorch, and none of Python's own functions.
    """
    module = getattr(called, "__module__", None) if callable(called) else None
    is_printed = isinstance(called, nn.Module) or is_own(called)
    if module and not is_printed and module.partition(".")[0] not in IMPORTED:
        name = getattr(called, "__qualname__", type(called).__name__)
        raise ValueError(f"{name} is of {module}, and a printed file imports torch and math alone")


def _fold_lambda_call(folder: Folds, node: ast.Call) -> ast.expr:
    """Fold a call of a table's line, such as TABLE[name](x), where that is a lambda."""
    assert isinstance(node.func, ast.Subscript)
    assert isinstance(node.func.value, ast.Name)
    table, space = find_constant(folder.scope.space, node.func.value.id)
    assert isinstance(table.value, ast.Dict)
    key = folder.scope.evaluate(node.func.slice)
    for name, value in zip(table.value.keys, table.value.values, strict=True):
        if isinstance(value, ast.Lambda) and name and Scope(space=space).evaluate(name) == key:
            names = list_parameter_names(value.args)
            given = dict(zip(names, node.args, strict=True))
            values = {name: folder.scope.evaluate(arg) for name, arg in given.items()}
            values = {name: item for name, item in values.items() if item is not UNKNOWN}
            inner = Scope(space=space, local=set(names), values=values)
            body = folder.within(inner).fold(value.body)
            made = substitute(body, {n: folder.fold(a) for n, a in given.items()}, always=True)
            assert made is not None
            return made
    raise ValueError(f"{ast.unparse(node.func)} has no source")


def _tidy_call(folder: Folds, called: Any, node: ast.Call) -> ast.expr:
    """Return a call of PyTorch or Python without what it need not say."""
    usual = {} if called is UNKNOWN else DEFAULTS.get(called, {})
    node.keywords = [
        keyword
        for keyword in node.keywords
        if not (
            keyword.arg in usual
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value == usual[keyword.arg]
        )
    ]
    if called is zip:  # Python 3.9 has no `strict`
        node.keywords = []
    if called is list and len(node.args) == 1 and isinstance(node.args[0], ast.Tuple):
        return ast.List(elts=node.args[0].elts, ctx=ast.Load())
    if called is torch.unflatten:  # PyTorch 1.13 has the method alone
        return ast.Call(
            func=ast.Attribute(value=node.args[0], attr="unflatten", ctx=ast.Load()),
            args=node.args[1:],
            keywords=[],
        )
    if called is nn.Parameter:
        node.args = [start_parameter(node.args[0])]
    return node


def _fold_construction(folder: Folds, cls: type, node: ast.Call) -> ast.expr:
    """Fold the making of one of our classes: its printed name, and the arguments it kept."""
    if not issubclass(cls, nn.Module):
        unnamed = ast.Call(
            func=ast.Name(id="?", ctx=ast.Load()), args=node.args, keywords=node.keywords
        )
        folded = folder.fold_fields(unnamed)
        folded.func = folder.printer.name_helper(cls)
        return folded  # type: ignore[no-any-return]
    arguments = _evaluate_arguments(folder, cls, node)
    name = folder.printer.name_class(cls, arguments)
    kept = folder.printer.keep_parameters(name.id)
    given = bind_nodes(cls, node, folder.scope)
    args: list[ast.expr] = []
    keywords: list[ast.keyword] = []
    for i, parameter in enumerate(kept):
        if parameter in given:
            value, keyword = given[parameter]
            if keyword and i > 0 and parameter != "channels":
                keywords.append(ast.keyword(arg=parameter, value=folder.fold(value)))
            else:
                args.append(folder.fold(value))
    return ast.Call(func=name, args=args, keywords=keywords)


def _evaluate_arguments(folder: Folds, cls: type, node: ast.Call) -> dict[str, Any]:
    """Return the values that a constructor is called with.

    Raises:
        ValueError: they depend on what a call is given.
    """
    arguments = {}
    for name, (value, _) in bind_nodes(cls, node, folder.scope).items():
        arguments[name] = folder.scope.evaluate(value)
        if arguments[name] is UNKNOWN:
            raise ValueError(f"{cls.__name__} is made with a {name} that only a call can tell")
    return arguments


def _fold_own_function(folder: Folds, function: FunctionType, node: ast.Call) -> ast.expr:
    """Fold a call of one of our functions: written out where it is short, else by its name."""
    if any(isinstance(arg, ast.Starred) for arg in node.args):
        return _fold_spread(folder, function, node)

    given = bind_nodes(function, node, folder.scope)
    folded = {name: fold_argument(folder, value) for name, (value, _) in given.items()}
    values = {name: folder.scope.evaluate(value) for name, (value, _) in given.items()}
    values = {name: value for name, value in values.items() if value is not UNKNOWN}
    # What is not given is what the function says; of plain text and truth it is folded in.
    for key, declared in inspect.signature(function).parameters.items():
        if key not in given and declared.default is not declared.empty:
            folded[key] = make_literal(declared.default)
    statics = {
        name: arg.value
        for name, arg in folded.items()
        if isinstance(arg, ast.Constant) and isinstance(arg.value, LITERALS)
    }
    statics |= {name: value for name, value in values.items() if _is_function(value)}

    inlined = folder.printer.inline(function, statics, values)
    if inlined is not None:
        substituted = substitute(inlined, folded, always=folder.building)
        if substituted is not None:
            return _tidy_inlined(folder, substituted)

    name = folder.printer.name_function(function, statics)
    args = [
        folded[parameter]
        for parameter, (_, keyword) in given.items()
        if parameter not in statics and not keyword
    ]
    keywords = [
        ast.keyword(arg=parameter, value=folded[parameter])
        for parameter, (_, keyword) in given.items()
        if parameter not in statics and keyword
    ]
    return ast.Call(func=name, args=args, keywords=keywords)


def _fold_spread(folder: Folds, function: FunctionType, node: ast.Call) -> ast.expr:
    """Fold a call such as f(x, *pair): by the function's name, as the pair's items have none."""
    values = {k.arg: folder.scope.evaluate(k.value) for k in node.keywords if k.arg}
    statics = {
        name: value
        for name, value in values.items()
        if isinstance(value, LITERALS) or _is_function(value)
    }
    return ast.Call(
        func=folder.printer.name_function(function, statics),
        args=[folder.fold(arg) for arg in node.args],
        keywords=[
            ast.keyword(arg=keyword.arg, value=folder.fold(keyword.value))
            for keyword in node.keywords
            if keyword.arg not in statics
        ],
    )


def _is_function(value: Any) -> bool:
    """Return whether an argument is a function or a class, which has no place in a printed file."""
    return callable(value) and not isinstance(value, nn.Module)


def fold_argument(folder: Folds, node: ast.expr) -> ast.expr:
    """Fold an argument; a function that is handed on is none that has to be printed."""
    value = folder.scope.evaluate(node)
    if isinstance(value, FunctionType) and isinstance(node, ast.Name):
        return node
    return folder.fold(node)


def _tidy_inlined(folder: Folds, node: ast.expr) -> ast.expr:
    """Drop what the calls in an inlined body need not say, now that arguments are known."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "nn.Conv2d":
            _tidy_call(folder, nn.Conv2d, part)
    return node


def _inline_module(folder: Folds, module: nn.Module, node: ast.Call) -> ast.expr:
    """Write out a module without weights whose forward is one expression."""
    inlined = folder.printer.inline_forward(module)
    if inlined is not None and not node.keywords:
        parameters, body = inlined
        given = dict(zip(parameters, map(folder.fold, node.args), strict=True))
        substituted = substitute(body, given, always=False)
        if substituted is not None:
            return substituted
    return folder.fold_fields(node)  # type: ignore[no-any-return]
