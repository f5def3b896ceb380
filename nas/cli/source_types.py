"""The types of a command's keys, read from its source: importing a command may load torch."""

import ast
from importlib.resources import files
from typing import Any, Literal

from nas.cli.annotations import Hint, key_of

SCALARS: dict[str, Hint] = {"int": int, "float": float, "str": str, "bool": bool}
CONTAINERS: dict[str, Any] = {"list": list, "dict": dict, "tuple": tuple}


class _UnknownTypeError(Exception):
    """An annotation names a class, which only an import can tell."""


def read_types(command: str) -> dict[str, Hint]:
    """Return the annotation of each key of a command that takes numbers, words or lists of them.

    Keys that take one of our classes are left out: to know those, they have to be imported.
    """
    module = _read_module(f"nas.commands.{command}")
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    # A command that gathers its keys in `configure` runs what that returns.
    function = functions.get("configure") or functions["run"]

    # Keys of a command are keyword-only, each with an annotation.
    types: dict[str, Hint] = {}
    for parameter in function.args.kwonlyargs:
        assert parameter.annotation is not None
        try:
            types[key_of(parameter.arg)] = _read_annotation(parameter.annotation, module)
        except _UnknownTypeError:
            continue
    return types


def _read_annotation(node: ast.expr, module: ast.Module) -> Hint:
    """Return the type that an annotation's source spells: `int | None`, `Literal["a", "b"]`, ..."""
    # Whatever is not listed here is a class, and checked when the command is imported.
    match node:
        case ast.Constant(value=None):
            return type(None)
        case ast.Name(id=name) if name in SCALARS:
            return SCALARS[name]
        case ast.Name(id=name):
            return _read_alias(name, module)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _read_annotation(left, module) | _read_annotation(right, module)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=words):
            literal: Any = Literal
            return literal[ast.literal_eval(words)]
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in CONTAINERS:
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return CONTAINERS[name][tuple(_read_annotation(item, module) for item in items)]
    raise _UnknownTypeError


def _read_alias(name: str, module: ast.Module) -> Hint:
    """Return the type that a name stands for, such as `GoalWord`, in the module that assigns it."""
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=assigned)], value=value) if assigned == name:
                return _read_annotation(value, module)
            case ast.ImportFrom(module=str(source), names=names) if source.startswith("nas."):
                if any(alias.name == name and alias.asname is None for alias in names):
                    return _read_alias(name, _read_module(source))
    raise _UnknownTypeError


def _read_module(name: str) -> ast.Module:
    package, _, module = name.rpartition(".")
    file = files(package).joinpath(f"{module}.py")
    if not file.is_file():  # a package's public names
        raise _UnknownTypeError
    return ast.parse(file.read_text(encoding="utf-8"))
