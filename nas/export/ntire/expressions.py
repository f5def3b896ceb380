"""Expressions as one line of text, in the layout that ruff gives them."""

import ast
import re

OPERATORS: dict[type[ast.AST], tuple[str, int]] = {
    ast.Or: ("or", 2), ast.And: ("and", 3), ast.BitOr: ("|", 6), ast.BitXor: ("^", 7),
    ast.BitAnd: ("&", 8), ast.LShift: ("<<", 9), ast.RShift: (">>", 9), ast.Add: ("+", 10),
    ast.Sub: ("-", 10), ast.Mult: ("*", 11), ast.Div: ("/", 11), ast.FloorDiv: ("//", 11),
    ast.Mod: ("%", 11), ast.MatMult: ("@", 11), ast.Pow: ("**", 13),
    ast.UAdd: ("+", 12), ast.USub: ("-", 12), ast.Invert: ("~", 12), ast.Not: ("not ", 4),
    ast.Eq: ("==", 5), ast.NotEq: ("!=", 5), ast.Lt: ("<", 5), ast.LtE: ("<=", 5),
    ast.Gt: (">", 5), ast.GtE: (">=", 5), ast.Is: ("is", 5), ast.IsNot: ("is not", 5),
    ast.In: ("in", 5), ast.NotIn: ("not in", 5),
}  # fmt: skip
BRACKETS: dict[type[ast.AST], tuple[str, str]] = {
    ast.GeneratorExp: ("(", ")"), ast.ListComp: ("[", "]"), ast.SetComp: ("{", "}"),
    ast.DictComp: ("{", "}"),
}  # fmt: skip
LAMBDA, ATOM = 1, 15  # how tightly the loosest and the tightest expression bind


def bind_strength(node: ast.expr) -> int:
    """Return how tightly an expression binds; one that binds less than its place is bracketed."""
    if isinstance(node, ast.Lambda | ast.IfExp | ast.NamedExpr):
        return LAMBDA
    if isinstance(node, ast.BoolOp | ast.BinOp | ast.UnaryOp):
        return OPERATORS[type(node.op)][1]
    if isinstance(node, ast.Compare):
        return OPERATORS[type(node.ops[0])][1]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value < 0:
        return OPERATORS[ast.USub][1]
    return ATOM


def show(node: ast.expr, least: int = 0) -> str:
    """Return an expression as one line; in brackets where it binds less than `least`.

    Raises:
        ValueError: it is of a kind that the project's sources do not use.
    """
    text = _show_operation(node) or _show_access(node) or _show_collection(node)
    if text is None:
        kind = type(node).__name__
        raise ValueError(f"a {kind} expression cannot be printed")
    return f"({text})" if bind_strength(node) < least else text


def show_arguments(call: ast.Call) -> list[str]:
    """Return the arguments of a call, one text each."""
    if len(call.args) == 1 and not call.keywords and isinstance(call.args[0], ast.GeneratorExp):
        return [show(call.args[0])[1:-1]]
    return [show(arg) for arg in call.args] + [
        f"{keyword.arg}={show(keyword.value)}" if keyword.arg else f"**{show(keyword.value)}"
        for keyword in call.keywords
    ]


def show_generators(generators: list[ast.comprehension]) -> list[str]:
    """Return the `for ... in ...` and `if ...` of a comprehension, one text each."""
    shown = []
    for part in generators:
        shown.append(f"for {show_targets(part.target)} in {show(part.iter, 2)}")
        shown += [f"if {show(test, 2)}" for test in part.ifs]
    return shown


def show_targets(node: ast.expr) -> str:
    """Return an expression without the brackets of a tuple, as an assignment and a loop have it."""
    text = show(node)
    return text[1:-1].removesuffix(",") if isinstance(node, ast.Tuple) and node.elts else text


def _show_operation(node: ast.expr) -> str | None:
    """Return operators and their operands."""
    if isinstance(node, ast.BoolOp):
        word, strength = OPERATORS[type(node.op)]
        return f" {word} ".join(show(value, strength + 1) for value in node.values)
    if isinstance(node, ast.BinOp):
        word, strength = OPERATORS[type(node.op)]
        if isinstance(node.op, ast.Pow):
            # As ruff has it: no spaces around a power of simple operands.
            gap = "" if _is_simple(node.left) and _is_simple(node.right) else " "
            return f"{show(node.left, strength + 1)}{gap}**{gap}{show(node.right, 12)}"
        return f"{show(node.left, strength)} {word} {show(node.right, strength + 1)}"
    if isinstance(node, ast.UnaryOp):
        word, strength = OPERATORS[type(node.op)]
        return f"{word}{show(node.operand, strength)}"
    if isinstance(node, ast.Compare):
        parts = [show(node.left, 6)]
        for op, right in zip(node.ops, node.comparators, strict=True):
            parts += [OPERATORS[type(op)][0], show(right, 6)]
        return " ".join(parts)
    if isinstance(node, ast.IfExp):
        return f"{show(node.body, 2)} if {show(node.test, 2)} else {show(node.orelse, 1)}"
    if isinstance(node, ast.Lambda):
        names = ", ".join(arg.arg for arg in node.args.args)
        return f"lambda{' ' if names else ''}{names}: {show(node.body)}"
    return None


def _show_access(node: ast.expr) -> str | None:
    """Return names, numbers, calls, attributes and subscripts."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant):
        return getattr(node, "text", None) or _show_constant(node.value)
    if isinstance(node, ast.Attribute):
        return f"{show(node.value, ATOM)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{show(node.func, ATOM)}({', '.join(show_arguments(node))})"
    if isinstance(node, ast.Subscript):
        inner = node.slice
        shown = show_targets(inner) if isinstance(inner, ast.Tuple) else show(inner)
        return f"{show(node.value, ATOM)}[{shown}]"
    if isinstance(node, ast.Slice):
        return _show_slice(node)
    if isinstance(node, ast.Starred):
        return f"*{show(node.value, 6)}"
    return None


def _show_collection(node: ast.expr) -> str | None:
    """Return tuples, lists, sets, dictionaries and comprehensions."""
    if isinstance(node, ast.Tuple):
        items = ", ".join(show(item) for item in node.elts)
        return f"({items},)" if len(node.elts) == 1 else f"({items})"
    if isinstance(node, ast.List):
        return f"[{', '.join(show(item) for item in node.elts)}]"
    if isinstance(node, ast.Set):
        return f"{{{', '.join(show(item) for item in node.elts)}}}"
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return f"{{{', '.join(f'{show(key)}: {show(value)}' for key, value in pairs if key)}}}"
    if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        first, last = BRACKETS[type(node)]
        return f"{first}{' '.join([show(node.elt), *show_generators(node.generators)])}{last}"
    if isinstance(node, ast.DictComp):
        loops = " ".join(show_generators(node.generators))
        return f"{{{show(node.key)}: {show(node.value)} {loops}}}"
    return None


def _show_constant(value: object) -> str:
    """Return a literal, text in double quotes as ruff has it."""
    if isinstance(value, str):
        return repr(value) if '"' in value else f'"{repr(value)[1:-1]}"'
    if isinstance(value, float):
        return re.sub(r"e([+-])0+(\d)", r"e\1\2", repr(value))  # 1e-5, as people write it
    return "..." if value is Ellipsis else repr(value)


def _show_slice(node: ast.Slice) -> str:
    """Return a slice; ruff puts spaces around its colons where a bound is more than a name."""
    bounds = [bound for bound in (node.lower, node.upper, node.step) if bound]
    gap = "" if all(_is_plain(bound) for bound in bounds) else " "
    lower = f"{show(node.lower)}{gap}" if node.lower else ""
    upper = f"{gap}{show(node.upper)}" if node.upper else ""
    step = f"{gap}:{gap}{show(node.step)}" if node.step else ""
    # Only a lower bound stands close to its colon's other side.
    return f"{lower}:{upper}{step}" if node.upper or node.step else f"{lower}:"


def _is_plain(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(inner, ast.Name | ast.Constant)


def _is_simple(node: ast.expr) -> bool:
    """Return whether an operand of a power is a number, a name, or an attribute of names."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _is_simple(node.operand)
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name | ast.Constant)
