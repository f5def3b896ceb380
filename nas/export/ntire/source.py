"""The Python file of a network: what it imports, its constants, functions and classes, in order."""

import ast
import copy
from collections import Counter

from nas.export.ntire.layout import print_body, print_function, print_statement
from nas.export.ntire.naming import name_definitions
from nas.export.ntire.network import print_network
from nas.export.ntire.program import MARK, Definition, LooseError, Program
from nas.export.ntire.trees import is_docstring
from search_spaces.network import Network

MOST_PASSES = 5


def print_source(net: Network, name: str, title: str, docstring: str) -> str:
    """Return the file of a network: one class of that name, and what it is made of.

    Raises:
        ValueError: a layer cannot be printed; the message names it.
    """
    loose: frozenset[type] = frozenset()
    methods: frozenset[str] | None = None
    strict: frozenset[type] = frozenset()
    for _ in range(MOST_PASSES):
        program = Program(loose=loose, methods=methods)
        try:
            network = print_network(net, name, docstring, program)
        except LooseError as error:
            strict |= {error.cls}
            loose -= strict
            continue
        kept = _find_reached(program.definitions, network)
        called = _list_called(kept, network)
        # Classes of which the network would have several stay one, where their source allows it.
        counts = Counter(d.origin for d in kept if isinstance(d.node, ast.ClassDef))
        several = frozenset(cls for cls, count in counts.items() if count > 1)
        strict |= several & loose
        if called == methods and loose == (loose | several) - strict:
            break
        methods, loose = called, (loose | several) - strict
    names = name_definitions(kept, name)
    _rename(kept, network, names)
    return _join(kept, network, title)


def _find_reached(definitions: dict[str, Definition], network: ast.ClassDef) -> list[Definition]:
    """Return the definitions that the network needs, in an order in which each is there in time."""
    reached: dict[str, None] = {}

    def reach(node: ast.AST) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id.startswith(MARK) and part.id not in reached:
                reach(definitions[part.id].node)
                reached[part.id] = None

    reach(network)
    return [definition for mark, definition in definitions.items() if mark in reached]


def _list_called(kept: list[Definition], network: ast.ClassDef) -> frozenset[str]:
    """Return the names of attributes that something calls: methods among them."""
    called = set()
    for node in (network, *(definition.node for definition in kept)):
        # A method that is only another's result in part is written in there: no call of its own.
        shared = {
            id(part.value.value)
            for part in ast.walk(node)
            if isinstance(part, ast.Return) and isinstance(part.value, ast.Subscript)
        }
        called |= {
            part.func.attr
            for part in ast.walk(node)
            if isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and id(part) not in shared
        }
    return frozenset(called)


def _rename(kept: list[Definition], network: ast.ClassDef, names: dict[str, str]) -> None:
    """Put final names in the place of marks."""
    for node in (network, *(definition.node for definition in kept)):
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id in names:
                part.id = names[part.id]
    for definition in kept:
        if isinstance(definition.node, ast.ClassDef | ast.FunctionDef):
            definition.node.name = names[definition.mark]
        elif isinstance(definition.node, ast.Assign):
            target = definition.node.targets[0]
            assert isinstance(target, ast.Name)
            target.id = names[definition.mark]


def _join(kept: list[Definition], network: ast.ClassDef, title: str) -> str:
    """Return the text of the file."""
    constants = [d.node for d in kept if isinstance(d.node, ast.Assign) and not _calls(d.node)]
    others = [d.node for d in kept if d.node not in constants]
    parts = [_print_definition(node) for node in (*others, network)]
    body = "\n\n\n".join("\n".join(lines) for lines in parts)
    shown = "\n".join(line for node in constants for line in print_body([node]))
    code = f"{shown}\n\n\n{body}" if constants else body

    gap = "\n\n" if constants else "\n\n\n"
    text = f'"""{title}"""\n\n' + "\n".join(_list_imports(code)) + gap + code + "\n"
    _check_layout([*constants, *others, network], text)
    return text


def _list_imports(code: str) -> list[str]:
    """Return the lines that import what a file reads, torch and math alone."""
    read = {part.id for part in ast.walk(ast.parse(code)) if isinstance(part, ast.Name)}
    lines = ["import math\n"] if "math" in read else []
    lines += ["import torch"] if "torch" in read else []
    lines.append("from torch import nn")
    return [*lines, "from torch.nn import functional as F"] if "F" in read else lines


def _check_layout(nodes: list[ast.stmt], text: str) -> None:
    """Check that the text says what the trees say: a lost bracket would compute something else."""
    body = ast.parse(text).body
    written = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)][1:]
    for node, read in zip(nodes, written, strict=True):
        if _show_code(node) != _show_code(read):
            raise ValueError(f"{_show_code(node).splitlines()[0]} cannot be laid out")


def _show_code(node: ast.stmt) -> str:
    """Return Python's own text of a tree, without its docstrings."""
    plain = copy.deepcopy(node)
    for part in ast.walk(plain):
        if isinstance(part, ast.ClassDef | ast.FunctionDef) and len(part.body) > 1:
            part.body = [s for s in part.body if not is_docstring(s)]
    return ast.unparse(ast.fix_missing_locations(plain))


def _calls(node: ast.Assign) -> bool:
    """Return whether a constant is made of functions of the file, and has to follow them."""
    return any(isinstance(p, ast.Name) and not p.id.isupper() for p in ast.walk(node.value))


def _print_definition(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return print_function(node)
    if isinstance(node, ast.ClassDef):
        return print_class(node)
    return print_statement(node, "")


def print_class(node: ast.ClassDef) -> list[str]:
    """Return the lines of a class, its methods apart."""
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    head = f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    lines = [head]
    for i, statement in enumerate(node.body):
        lines += [""] if i > 0 else []
        lines += print_body([statement], "    ")
    return lines
