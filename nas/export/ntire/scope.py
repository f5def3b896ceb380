"""What is known where an expression of the sources stands: names, their values, replacements."""

import ast
import dataclasses
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = object()
LITERALS = (str, bool, type(None))  # what an argument of these types says is folded in


@dataclass(slots=True, kw_only=True)
class Scope:
    """The names that an expression can see.

    Attributes:
        space: the names of its module.
        local: names of the function, known or not.
        values: the values of those local names that are known.
        replaced: what stands for a local name in the printed file.
        owner: the module behind `self`; None in a function.
        loose: the class is printed with its text and truth arguments kept as arguments.
        settled: what stands here always runs, and once.
    """

    space: dict[str, Any]
    local: set[str] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)
    replaced: dict[str, ast.expr] = field(default_factory=dict)
    owner: Any = None
    loose: bool = False
    settled: bool = True

    def extend(self, values: dict[str, Any], names: set[str] | None = None) -> "Scope":
        """Return a scope with more local names, some of them known."""
        added = set(values) | (names or set())
        return dataclasses.replace(
            self,
            local=self.local | added,
            values={k: v for k, v in self.values.items() if k not in added} | values,
            replaced={k: v for k, v in self.replaced.items() if k not in added},
        )

    def unsettle(self) -> "Scope":
        """Return the same names as a branch or a loop sees them, which may run or not."""
        return dataclasses.replace(self, settled=False)

    def evaluate(self, node: ast.expr) -> Any:
        """Return the value of an expression; UNKNOWN where it depends on what a call is given."""
        bound = {
            name.id
            for part in ast.walk(node)
            if isinstance(part, ast.comprehension)
            for name in ast.walk(part.target)
            if isinstance(name, ast.Name)
        }
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id not in bound:
                if part.id in self.local and part.id not in self.values:
                    return UNKNOWN
                if part.id == "self" and self.owner is None:
                    return UNKNOWN
        names = {**self.space, **self.values, "self": self.owner}
        expression = ast.fix_missing_locations(ast.Expression(body=node))
        try:
            # The sources are the project's own: this computes what Python computed in building.
            return eval(compile(expression, "<source>", "eval"), names)
        except (NameError, AttributeError, TypeError, ValueError, RuntimeError, LookupError):
            return UNKNOWN


def make_literal(value: Any) -> ast.expr:
    """Return a plain value as an expression.

    Raises:
        ValueError: it is not plain.
    """
    if isinstance(value, tuple | list):
        kind = ast.Tuple if isinstance(value, tuple) else ast.List
        return kind(elts=[make_literal(item) for item in value], ctx=ast.Load())
    if isinstance(value, str | int | float | bool | type(None)):
        return ast.Constant(value=value)
    raise ValueError(f"a {type(value).__name__} cannot be written as a literal")


def is_constant(node: ast.expr, *kinds: type) -> bool:
    """Return whether an expression is a literal, of some types where they are given."""
    if not isinstance(node, ast.Constant):
        return False
    return not kinds or type(node.value) in kinds


def list_assigned(body: list[ast.stmt]) -> set[str]:
    """Return the names to which statements assign, loops and conditions within them included."""
    names: set[str] = set()
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.FunctionDef):
                names.add(node.name)
    return names


def list_parameter_names(arguments: ast.arguments) -> list[str]:
    """Return the names of a function's parameters, `self` left out."""
    listed = [*arguments.posonlyargs, *arguments.args]
    listed += [arguments.vararg] if arguments.vararg else []
    names = [arg.arg for arg in [*listed, *arguments.kwonlyargs]]
    return names[1:] if names[:1] == ["self"] else names
