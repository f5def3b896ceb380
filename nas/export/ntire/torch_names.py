"""The PyTorch names that a printed file may use: those of PyTorch 1.13.1."""

import ast
import builtins
import functools
import symtable
from collections.abc import Iterator
from pathlib import Path

LIST = Path(__file__).parent / "torch_1_13.txt"
MODULES = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional"}
# Methods of Python's own types that the printed files call, beside those of tensors and layers.
PYTHON = frozenset({"append", "items", "keys", "values"})


@functools.cache
def read_names() -> frozenset[str]:
    """Return the public names of PyTorch 1.13.1: torch.*, torch.nn.*, torch.Tensor.*, and so on."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def find_unknown(source: str) -> list[str]:
    """Return the names that a file uses and that neither PyTorch 1.13.1 nor the file itself has."""
    tree = ast.parse(source)
    known = read_names()
    attributes = {name.rpartition(".")[2] for name in known} | PYTHON | set(_list_own(tree))
    unknown = {name for name in _list_modules_names(tree) if name not in known}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or _find_root(node) in (*MODULES, "self", "math"):
            continue
        if node.attr not in attributes:
            unknown.add(f".{node.attr}")
    return sorted(unknown)


def find_undefined(source: str) -> list[str]:
    """Return the global names that a file reads and nobody defines."""
    table = symtable.symtable(source, "<source>", "exec")
    defined = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    tables, read = [table], set()
    while tables:
        inner = tables.pop()
        read |= {s.get_name() for s in inner.get_symbols() if s.is_global() and s.is_referenced()}
        tables += inner.get_children()
    return sorted(read - defined - set(dir(builtins)))


def _list_modules_names(tree: ast.AST) -> Iterator[str]:
    """Yield names such as torch.nn.functional.relu, as far as they are spelled."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            root, dot, rest = ast.unparse(node).partition(".")
            if root in MODULES and rest.replace(".", "").replace("_", "").isalnum():
                yield f"{MODULES[root]}{dot}{rest}"


def _list_own(tree: ast.AST) -> Iterator[str]:
    """Yield the methods and the attributes of `self` that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _find_root(node: ast.expr) -> str:
    """Return the name that a chain of attributes begins with; empty where it is no name."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
