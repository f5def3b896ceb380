"""Small trees of a printed class: its constructor, docstrings, what its parents do."""

import ast
import copy
import inspect
from collections.abc import Container

from nas.export.ntire.scope import is_constant, list_parameter_names, make_literal
from nas.export.ntire.sources import find_method, is_own


def inline_parents(cls: type, body: list[ast.stmt]) -> list[ast.stmt]:
    """Write `super().forward(x)` out, where the parent's method is one expression of the same x."""
    return [inline_parent(cls, statement) for statement in body]


def inline_parent(cls: type, statement: ast.stmt) -> ast.stmt:
    is_call = isinstance(statement, ast.Assign | ast.Return)
    call = statement.value if isinstance(statement, ast.Assign | ast.Return) else None
    if not is_call or not isinstance(call, ast.Call):
        return statement
    if not isinstance(call.func, ast.Attribute) or ast.unparse(call.func.value) != "super()":
        return statement

    found = next(
        (find_method(base, call.func.attr) for base in cls.__mro__[1:] if is_own(base)), None
    )
    body = [part for part in found[0].body if not is_docstring(part)] if found else []
    if not found or len(body) != 1 or not isinstance(body[0], ast.Return):
        raise ValueError(f"{cls.__name__} calls {ast.unparse(call.func)}, which is no expression")
    names = list_parameter_names(found[0].args)
    if names != [ast.unparse(arg) for arg in call.args]:
        raise ValueError(f"{cls.__name__} calls {ast.unparse(call.func)} with other names")
    made = copy.copy(statement)
    made.value = body[0].value  # type: ignore[attr-defined]
    return made


def make_constructor(cls: type, parameters: list[str], body: list[ast.stmt]) -> ast.FunctionDef:
    signature = inspect.signature(cls)
    args = [ast.arg(arg="self"), *(ast.arg(arg=name) for name in parameters)]
    defaults = []
    for name in parameters:
        default = signature.parameters[name].default
        if default is not inspect.Parameter.empty:
            defaults.append(make_literal(default))
    arguments = ast.arguments(
        posonlyargs=[], args=args, kwonlyargs=[], kw_defaults=[], defaults=defaults
    )
    return ast.FunctionDef(name="__init__", args=arguments, body=body, decorator_list=[])


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and is_constant(node.value, str)


def read_docstring(body: list[ast.stmt]) -> str:
    """Return the docstring that a body begins with, its indentation taken away; else nothing."""
    first = body[0]
    if not is_docstring(first):
        return ""
    assert isinstance(first, ast.Expr)
    assert isinstance(first.value, ast.Constant)
    return inspect.cleandoc(str(first.value.value))


def make_docstring(text: str) -> ast.Expr:
    return ast.Expr(value=ast.Constant(value=text))


def drop_keywords(arguments: ast.arguments, names: Container[str]) -> ast.arguments:
    """Return the parameters of a function without some of those that are given by name."""
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    kept = [(arg, default) for arg, default in pairs if arg.arg not in names]
    made = copy.copy(arguments)
    made.kwonlyargs, made.kw_defaults = [arg for arg, _ in kept], [value for _, value in kept]
    return made
