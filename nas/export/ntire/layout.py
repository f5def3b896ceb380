"""Statements as lines of text, in the layout that ruff gives them, with their comments."""

import ast
from collections.abc import Iterable, Sequence

from nas.export.ntire.expressions import (
    BRACKETS,
    OPERATORS,
    show,
    show_arguments,
    show_generators,
    show_targets,
)

WIDTH = 100
STEP = "    "


def print_body(body: Sequence[ast.stmt], indent: str = "") -> list[str]:
    """Return the lines of statements, with the comments and blank lines that were kept of them."""
    lines: list[str] = []
    for i, statement in enumerate(body):
        comments = getattr(statement, "comments", [])
        is_apart = isinstance(statement, ast.FunctionDef) or (
            i > 0 and isinstance(body[i - 1], ast.FunctionDef)
        )
        if i > 0 and (is_apart or getattr(statement, "blank_before", False)):
            lines.append("")
        lines += [f"{indent}{comment}" for comment in comments]
        printed = print_statement(statement, indent)

        # A comment behind a statement stays there as long as it fits.
        trailing = getattr(statement, "trailing", "")
        if trailing and len(printed) == 1:
            if len(printed[0]) + 2 + len(trailing) <= WIDTH:
                printed = [f"{printed[0]}  {trailing}"]
            else:
                printed = [f"{indent}{trailing}", *printed]
        lines += printed
    return lines


def print_statement(node: ast.stmt, indent: str) -> list[str]:
    """Return the lines of one statement.

    Raises:
        ValueError: it is of a kind that the project's sources do not use.
    """
    if isinstance(node, ast.Assign):
        targets = "".join(f"{show_targets(target)} = " for target in node.targets)
        # Names on the left stand as they are; so do values that are taken apart at once.
        is_apart = isinstance(node.targets[0], ast.Tuple)
        return _lay_out(targets, node.value, "", indent, bare=is_apart)
    if isinstance(node, ast.AugAssign):
        word = OPERATORS[type(node.op)][0]
        return _lay_out(f"{show(node.target)} {word}= ", node.value, "", indent)
    if isinstance(node, ast.Return):
        if node.value is None:
            return [f"{indent}return"]
        return _lay_out("return ", node.value, "", indent, bare=True)
    if isinstance(node, ast.Expr):
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return print_docstring(node.value.value, indent)
        if isinstance(node.value, ast.YieldFrom | ast.Yield) and node.value.value:
            word = "yield from" if isinstance(node.value, ast.YieldFrom) else "yield"
            return _lay_out(f"{word} ", node.value.value, "", indent)
        return _lay_out("", node.value, "", indent)
    if isinstance(node, ast.Pass | ast.Break | ast.Continue):
        return [f"{indent}{type(node).__name__.lower()}"]
    return _print_compound(node, indent)


def _print_compound(node: ast.stmt, indent: str) -> list[str]:
    """Return the lines of a statement that holds others."""
    if isinstance(node, ast.For):
        head = _lay_out(f"for {show_targets(node.target)} in ", node.iter, ":", indent)
        return head + print_body(node.body, indent + STEP)
    if isinstance(node, ast.While):
        head = _lay_out("while ", node.test, ":", indent)
        return head + print_body(node.body, indent + STEP)
    if isinstance(node, ast.If):
        return _print_if(node, indent, "if")
    if isinstance(node, ast.FunctionDef):
        return print_function(node, indent)
    kind = type(node).__name__
    raise ValueError(f"line {node.lineno}: a {kind} statement cannot be printed")


def _print_if(node: ast.If, indent: str, word: str) -> list[str]:
    lines = _lay_out(f"{word} ", node.test, ":", indent)
    lines += print_body(node.body, indent + STEP)
    if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        return lines + _print_if(node.orelse[0], indent, "elif")
    if node.orelse:
        lines += [f"{indent}else:", *print_body(node.orelse, indent + STEP)]
    return lines


def print_function(node: ast.FunctionDef, indent: str = "") -> list[str]:
    """Return the lines of a function, its arguments without annotations."""
    head = f"{indent}def {node.name}({', '.join(list_parameters(node.args))}):"
    lines = [f"{indent}@{show(decorator)}" for decorator in node.decorator_list]
    if len(head) <= WIDTH:
        lines.append(head)
    else:
        lines.append(f"{indent}def {node.name}(")
        parameters = ", ".join(list_parameters(node.args))
        lines += [f"{indent}{STEP}{parameters}", f"{indent}):"]

    body = print_body(node.body, indent + STEP)
    # A nested function stands apart from what follows a docstring or a statement.
    return lines + body


def list_parameters(arguments: ast.arguments) -> list[str]:
    """Return the parameters of a function with their defaults, as text."""
    shown = []
    first_default = len(arguments.args) - len(arguments.defaults)
    for i, arg in enumerate(arguments.args):
        default = arguments.defaults[i - first_default] if i >= first_default else None
        shown.append(arg.arg if default is None else f"{arg.arg}={show(default)}")
    if arguments.vararg:
        shown.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        shown.append("*")
    for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        shown.append(arg.arg if value is None else f"{arg.arg}={show(value)}")
    return shown


def print_docstring(text: str, indent: str) -> list[str]:
    """Return the lines of a docstring."""
    lines = text.strip().split("\n")
    if len(lines) == 1:
        return [f'{indent}"""{lines[0]}"""']
    body = [f"{indent}{line}".rstrip() for line in lines[1:]]
    return [f'{indent}"""{lines[0]}', *body, f'{indent}"""']


def _lay_out(
    before: str, node: ast.expr, after: str, indent: str, *, bare: bool = False
) -> list[str]:
    """Return the lines of an expression between two texts: one where it fits, else several.

    Args:
        bare: a tuple has no brackets.
    """
    is_bare = bare and isinstance(node, ast.Tuple) and len(node.elts) > 1
    flat = show_targets(node) if is_bare else show(node)
    line = f"{indent}{before}{flat}{after}"
    if len(line) <= WIDTH:
        return [line]
    if isinstance(node, ast.Tuple):
        return _explode(
            f"{indent}{before}(", [show(item) for item in node.elts], f"){after}", indent
        )

    operators = _count_operators(node)
    if operators < 2 and not isinstance(node, ast.IfExp) and not _is_chain(node):
        lines = _split_brackets(f"{indent}{before}", node, after, indent)
        if lines and len(lines[0]) <= WIDTH:
            return lines
    return _parenthesise(before, node, after, indent)


def _parenthesise(before: str, node: ast.expr, after: str, indent: str) -> list[str]:
    """Return an expression in brackets of its own, broken at its operators where it must be."""
    inner = indent + STEP
    flat = f"{inner}{show(node)}"
    if len(flat) <= WIDTH:
        body = [flat]
    elif _is_chain(node):
        # A chain that is too long for one line even in brackets: its last call is opened.
        return _split_brackets(f"{indent}{before}", node, after, indent)
    else:
        body = _break_operators(node, inner)
    return [f"{indent}{before}(", *body, f"{indent}){after}"]


def _break_operators(node: ast.expr, indent: str) -> list[str]:
    """Return an expression with one operand a line, operators first."""
    if isinstance(node, ast.IfExp):
        parts = [("", node.body), ("if ", node.test), ("else ", node.orelse)]
    elif isinstance(node, ast.BoolOp):
        word = OPERATORS[type(node.op)][0]
        parts = [(f"{word} " if i else "", value) for i, value in enumerate(node.values)]
    elif isinstance(node, ast.BinOp):
        parts = _list_operands(node, OPERATORS[type(node.op)][1])
    else:
        return _split_brackets(indent, node, "", indent)

    lines: list[str] = []
    for i, (word, operand) in enumerate(parts):
        # What stands behind an operator of the same kind keeps its brackets.
        least = 2 if not isinstance(node, ast.BinOp) else OPERATORS[type(node.op)][1] + (i > 0)
        least = OPERATORS[type(node.op)][1] + 1 if isinstance(node, ast.BoolOp) else least
        text = f"{indent}{word}{show(operand, least)}"
        fits = len(text) <= WIDTH
        lines += [text] if fits else _split_brackets(f"{indent}{word}", operand, "", indent)
    return lines


def _list_operands(node: ast.expr, strength: int) -> list[tuple[str, ast.expr]]:
    """Return the operands of a chain of operators that bind alike, each after its operator."""
    if not isinstance(node, ast.BinOp) or OPERATORS[type(node.op)][1] != strength:
        return [("", node)]
    return [
        *_list_operands(node.left, strength),
        (f"{OPERATORS[type(node.op)][0]} ", node.right),
    ]


def _count_operators(node: ast.expr) -> int:
    """Return the number of operators that bind least in an expression."""
    if isinstance(node, ast.BinOp):
        return len(_list_operands(node, OPERATORS[type(node.op)][1])) - 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return len(node.ops) if isinstance(node, ast.Compare) else 0


def _is_chain(node: ast.expr) -> bool:
    """Return whether an expression calls two methods or more, one on the result of the other."""
    calls = 0
    while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            root = node.func.value
            calls += isinstance(root, ast.Call | ast.Subscript | ast.BinOp) or calls > 0
        node = node.func if isinstance(node, ast.Call) else node.value
    return calls >= 2


def _split_brackets(head: str, node: ast.expr, after: str, indent: str) -> list[str]:
    """Return an expression whose last brackets are opened; nothing where it ends without any."""
    if isinstance(node, ast.BinOp):
        word, strength = OPERATORS[type(node.op)]
        left = show(node.left, strength)
        return _split_brackets(f"{head}{left} {word} ", node.right, after, indent)
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        return _split_call(head, node, after, indent)
    if isinstance(node, ast.List):
        return _explode_items(f"{head}[", node.elts, f"]{after}", indent)
    if isinstance(node, ast.Tuple):
        return _explode_items(f"{head}(", node.elts, f"){after}", indent)
    if isinstance(node, ast.Dict):
        return _explode_pairs(f"{head}{{", node, f"}}{after}", indent)
    if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.DictComp | ast.SetComp):
        return _split_comprehension(head, node, after, indent)
    if isinstance(node, ast.Subscript):
        opened = f"{head}{show(node.value)}["
        return [opened, f"{indent}{STEP}{show_targets(node.slice)}", f"{indent}]{after}"]
    return []


def _split_call(head: str, node: ast.Call, after: str, indent: str) -> list[str]:
    """Return a call with its arguments on lines of their own."""
    opened = f"{head}{show(node.func, 15)}("
    texts = show_arguments(node)
    inner = indent + STEP
    if len(opened) > WIDTH and isinstance(node.func, ast.Attribute):
        # What stands before the last brackets is too long: those before them are opened.
        last = f".{node.func.attr}({', '.join(texts)}){after}"
        earlier = _split_brackets(head, node.func.value, last, indent)
        if earlier:
            return earlier
    if len(inner) + len(", ".join(texts)) <= WIDTH:
        return [opened, f"{inner}{', '.join(texts)}", f"{indent}){after}"]

    lines = [opened]
    for i, text in enumerate(texts):
        if len(inner) + len(text) + 1 <= WIDTH:
            lines.append(f"{inner}{text},")
            continue
        is_named = i >= len(node.args)
        keyword = node.keywords[i - len(node.args)] if is_named else None
        value = keyword.value if keyword else node.args[i]
        name = f"{keyword.arg}=" if keyword else ""
        if len(texts) == 1 and isinstance(value, ast.GeneratorExp):
            return [opened, *_break_comprehension(value, inner), f"{indent}){after}"]
        # Brackets that are all there is in brackets take no comma after them.
        comma = "" if len(texts) == 1 and isinstance(value, ast.List | ast.Dict) else ","
        lines += _lay_out_item(f"{inner}{name}", value, comma, inner)
    return [*lines, f"{indent}){after}"]


def _lay_out_item(head: str, node: ast.expr, after: str, indent: str) -> list[str]:
    """Return one item of a list of arguments that does not fit on one line."""
    if _count_operators(node) > 0 or isinstance(node, ast.IfExp):
        lines = _break_operators(node, indent)
        return [f"{head}{lines[0].lstrip()}", *lines[1:-1], f"{lines[-1]}{after}"]
    return _split_brackets(head, node, after, indent)


def _split_comprehension(head: str, node: ast.expr, after: str, indent: str) -> list[str]:
    first, last = BRACKETS[type(node)]
    inner = indent + STEP
    flat = f"{inner}{show(node)[1:-1]}"
    body = [flat] if len(flat) <= WIDTH else _break_comprehension(node, inner)
    return [f"{head}{first}", *body, f"{indent}{last}{after}"]


def _break_comprehension(node: ast.expr, indent: str) -> list[str]:
    """Return a comprehension with its element and each of its loops on a line of its own."""
    flat = f"{indent}{show(node)[1:-1]}"
    if len(flat) <= WIDTH:
        return [flat]
    assert isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp)
    loops = [f"{indent}{loop}" for loop in show_generators(node.generators)]
    if isinstance(node, ast.DictComp):
        return [f"{indent}{show(node.key)}: {show(node.value)}", *loops]
    element = f"{indent}{show(node.elt)}"
    if len(element) > WIDTH:
        return [*_lay_out("", node.elt, "", indent), *loops]
    return [element, *loops]


def _explode_items(head: str, items: Sequence[ast.expr], last: str, indent: str) -> list[str]:
    """Return items between brackets, one a line."""
    inner = indent + STEP
    texts = [show(item) for item in items]
    lines = [head]
    for item, text in zip(items, texts, strict=True):
        fits = len(inner) + len(text) + 1 <= WIDTH
        lines += [f"{inner}{text},"] if fits else _lay_out_item(inner, item, ",", inner)
    return [*lines, f"{indent}{last}"]


def _explode_pairs(head: str, node: ast.Dict, last: str, indent: str) -> list[str]:
    """Return the pairs of a dictionary between brackets, one a line."""
    inner, lines = indent + STEP, [head]
    for key, value in zip(node.keys, node.values, strict=True):
        assert key is not None
        text = f"{inner}{show(key)}: "
        fits = len(text) + len(show(value)) + 1 <= WIDTH
        lines += [f"{text}{show(value)},"] if fits else _lay_out_item(text, value, ",", inner)
    return [*lines, f"{indent}{last}"]


def _explode(head: str, texts: Iterable[str], last: str, indent: str) -> list[str]:
    """Return texts between brackets, one a line."""
    inner = indent + STEP
    return [head, *(f"{inner}{text}," for text in texts), f"{indent}{last}"]
