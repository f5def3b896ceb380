"""The source of classes, functions and constants of `search_spaces`, as trees with comments."""

import ast
import functools
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from search_spaces.published import names as list_published

PACKAGE = "search_spaces"
UNPRINTED = ("# type:", "# fmt:", "# noqa")  # comments for tools
# What a printed file has not: its comments do not speak of it, nor of other networks.
UNSAID = ("trace", "onnx", "tap", "training form", "factory", "autograd", "gradient", "spec")
NETWORKS = tuple(name.upper() for name in list_published())


def is_own(thing: Any) -> bool:
    """Return whether a class or a function is one of the project's networks' own."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == PACKAGE


@functools.cache
def read_tree(module: ModuleType) -> ast.Module:
    """Return the tree of a module; its statements carry `comments`, `blank_before`, `trailing`."""
    text = inspect.getsource(module)
    tree = ast.parse(text)
    comments: dict[int, tuple[bool, str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(UNPRINTED):
            alone = not token.line[: token.start[1]].strip()
            text_alone = token.string.split("  # ")[0]
            if _is_said(text_alone):
                comments[token.start[0]] = (alone, text_alone)

    lines = text.split("\n")
    keep_numbers(tree, text)
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                first = body[0].lineno - 1 if name == "orelse" and body else 0
                _attach_comments(body, first or getattr(node, "lineno", 0), lines, comments)
    return tree


def _is_said(comment: str) -> bool:
    """Return whether a comment has its place in a file for one network."""
    words = set(re.findall(r"\w+", comment))
    lowered = comment.lower()
    return not any(word in lowered for word in UNSAID) and not words & set(NETWORKS)


def keep_numbers(tree: ast.AST, text: str) -> None:
    """Give numbers the `text` with which they were written: 1e-5 is not 1e-05."""
    lines = text.encode().split(b"\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            assert node.end_col_offset is not None
            written = lines[node.lineno - 1][node.col_offset : node.end_col_offset]
            node.text = written.decode()  # type: ignore[attr-defined]


def _attach_comments(
    body: list[ast.stmt], after: int, lines: list[str], comments: dict[int, tuple[bool, str]]
) -> None:
    """Give each statement the comments above it and behind it."""
    previous = after
    for statement in body:
        above = range(previous + 1, statement.lineno)
        kept = [comments[i][1] for i in above if i in comments and comments[i][0]]
        statement.comments = kept  # type: ignore[attr-defined]
        blank = any(not lines[i - 1].strip() for i in above)
        statement.blank_before = blank  # type: ignore[attr-defined]
        previous = statement.end_lineno or statement.lineno
        alone, text = comments.get(previous, (True, ""))
        statement.trailing = "" if alone else text  # type: ignore[attr-defined]


def find_class(cls: type) -> ast.ClassDef:
    """Return the tree of a class."""
    for node in read_tree(sys.modules[cls.__module__]).body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return node
    raise ValueError(f"{cls.__name__} has no source")


def find_function(function: FunctionType) -> ast.FunctionDef:
    """Return the tree of a function that stands alone in its module."""
    for node in read_tree(sys.modules[function.__module__]).body:
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            return node
    raise ValueError(f"{function.__name__} has no source")


def find_method(cls: type, name: str) -> tuple[ast.FunctionDef, type] | None:
    """Return the tree of a method and the class that defines it.

    None where PyTorch defines it, or nobody, or where it is a property.
    """
    for base in cls.__mro__:
        if name not in vars(base):
            continue
        if not is_own(base) or not isinstance(vars(base)[name], FunctionType):
            return None
        for node in find_class(base).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return node, base
    return None


def list_methods(cls: type) -> Iterator[str]:
    """Yield the names of the methods that a class has from the project's sources, in order."""
    listed: dict[str, None] = {}
    for base in cls.__mro__:
        if is_own(base):
            listed |= {name: None for name, m in vars(base).items() if isinstance(m, FunctionType)}
    yield from listed


def find_constant(space: dict[str, Any], name: str) -> tuple[ast.Assign, dict[str, Any]]:
    """Return a copy of the assignment of a module's constant, and the names of that module.

    Args:
        space: the names of a module that has it, by an assignment or by an import.
    """
    module = sys.modules[space["__name__"]]
    for node in read_tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find_constant(vars(sys.modules[node.module]), alias.name)
        value = _find_value(node, name)
        if value is not None:
            made = ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value)
            for field in ("comments", "trailing"):
                setattr(made, field, getattr(node, field))
            return ast.copy_location(made, node), vars(module)
    raise ValueError(f"{name} of {space['__name__']} is no constant with a source")


def _find_value(node: ast.stmt, name: str) -> ast.expr | None:
    """Return what a statement assigns to a name; None where it is no assignment to it."""
    if isinstance(node, ast.AnnAssign):
        return node.value if isinstance(node.target, ast.Name) and node.target.id == name else None
    if not isinstance(node, ast.Assign):
        return None
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Name):
        return value if target.id == name else None
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for part, item in zip(target.elts, value.elts, strict=True):
            if isinstance(part, ast.Name) and part.id == name:
                return item
    return None
