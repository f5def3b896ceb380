"""Expressions of the sources with what is constant folded in."""

import ast
import copy
from types import FunctionType, ModuleType
from typing import Any

from nas.export.ntire.calls import fold_call
from nas.export.ntire.comprehensions import fold_comprehension
from nas.export.ntire.printer import Printer
from nas.export.ntire.scope import LITERALS, UNKNOWN, Scope, is_constant, list_parameter_names
from nas.export.ntire.sources import is_own

FALSE_ATTRIBUTES = ("requires_grad", "is_meta", "training")  # of a network that infers
COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)


class Folder:
    """Folds the expressions of one scope; the trees it is given stay as they are."""

    def __init__(self, printer: Printer, scope: Scope, *, building: bool) -> None:
        self.printer, self.scope, self.building = printer, scope, building

    def within(self, scope: Scope) -> "Folder":
        return Folder(self.printer, scope, building=self.building)

    def fold(self, node: ast.expr) -> ast.expr:
        """Return an expression with what is constant folded in."""
        if isinstance(node, ast.Call):
            return fold_call(self, node)
        if isinstance(node, COMPREHENSIONS):
            return fold_comprehension(self, node)
        method = getattr(self, f"_fold_{type(node).__name__.lower()}", self.fold_fields)
        folded: ast.expr = method(node)
        return folded

    def decide(self, test: ast.expr) -> tuple[bool | None, ast.expr]:
        """Return whether a test holds, None where only a call can tell, and the folded test."""
        value = UNKNOWN if self.scope.loose else self.scope.evaluate(test)
        if isinstance(value, bool | int | float | str | tuple | type(None)):
            return bool(value), test
        folded = self.fold(test)
        return (bool(folded.value) if isinstance(folded, ast.Constant) else None), folded

    def fold_fields(self, node: Any) -> Any:
        """Fold what an expression is made of."""
        made = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                parts = [self._fold_part(part) for part in value]
                setattr(made, name, parts)
            elif isinstance(value, ast.AST):
                setattr(made, name, self._fold_part(value))
        return made

    def _fold_part(self, part: Any) -> Any:
        if isinstance(part, ast.expr):
            return self.fold(part)
        return self.fold_fields(part) if isinstance(part, ast.keyword | ast.comprehension) else part

    def _fold_name(self, node: ast.Name) -> ast.expr:
        scope = self.scope
        if isinstance(node.ctx, ast.Store):
            return node
        if node.id in scope.replaced:
            return copy.deepcopy(scope.replaced[node.id])
        if node.id in scope.local or node.id == "self" or node.id not in scope.space:
            return node
        value = scope.space[node.id]
        if isinstance(value, ModuleType) or not (is_own(value) or is_data(value)):
            return node  # PyTorch's, or Python's
        if isinstance(value, FunctionType):
            return self.printer.name_function(value, {})
        if isinstance(value, type):
            raise ValueError(f"the class {value.__name__} is handed on and not called")
        return self.printer.name_constant(scope.space, node.id)

    def _fold_attribute(self, node: ast.Attribute) -> ast.expr:
        if node.attr in FALSE_ATTRIBUTES and isinstance(node.ctx, ast.Load):
            return ast.Constant(value=False)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            value = self.scope.evaluate(node) if isinstance(node.ctx, ast.Load) else UNKNOWN
            kinds = (type(None),) if self.scope.loose else LITERALS
            return ast.Constant(value=value) if isinstance(value, kinds) else node
        return self.fold_fields(node)  # type: ignore[no-any-return]

    def _fold_ifexp(self, node: ast.IfExp) -> ast.expr:
        holds, test = self.decide(node.test)
        if holds is None:
            return ast.IfExp(test=test, body=self.fold(node.body), orelse=self.fold(node.orelse))
        return self.fold(node.body if holds else node.orelse)

    def _fold_boolop(self, node: ast.BoolOp) -> ast.expr:
        absorbing = isinstance(node.op, ast.Or)
        values: list[ast.expr] = []
        for value in node.values:
            folded = self.fold(value)
            if isinstance(folded, ast.Constant):
                if bool(folded.value) is absorbing:
                    return folded  # what stands before it has no effect on the result
                continue
            values.append(folded)
        if not values:
            return ast.Constant(value=not absorbing)
        return values[0] if len(values) == 1 else ast.BoolOp(op=node.op, values=values)

    def _fold_unaryop(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.fold(node.operand)
        if isinstance(node.op, ast.Not) and isinstance(operand, ast.Constant):
            return ast.Constant(value=not operand.value)
        return ast.UnaryOp(op=node.op, operand=operand)

    def _fold_compare(self, node: ast.Compare) -> ast.expr:
        folded = self.fold_fields(node)
        sides = [folded.left, *folded.comparators]
        if all(isinstance(side, ast.Constant) for side in sides):
            return ast.Constant(value=Scope(space={}).evaluate(folded))
        if len({ast.dump(side) for side in sides}) == 1 and isinstance(node.ops[0], ast.Eq):
            return ast.Constant(value=True)  # in_channels and channels may have become one name
        # A module that is there is not None.
        if isinstance(node.ops[0], ast.Is | ast.IsNot) and is_constant(sides[1], type(None)):
            value = self.scope.evaluate(node.left)
            if value is not UNKNOWN and not self.scope.loose:
                return ast.Constant(value=(value is None) == isinstance(node.ops[0], ast.Is))
        return folded  # type: ignore[no-any-return]

    def _fold_namedexpr(self, node: ast.NamedExpr) -> ast.expr:
        value = self.fold(node.value)
        return value if isinstance(value, ast.Constant) else self.fold_fields(node)

    def _fold_lambda(self, node: ast.Lambda) -> ast.expr:
        inner = self.within(self.scope.extend({}, set(list_parameter_names(node.args))))
        return ast.Lambda(args=node.args, body=inner.fold(node.body))


def is_data(value: Any) -> bool:
    """Return whether a module's name stands for plain data, which a printed file can hold."""
    return isinstance(value, str | int | float | bool | tuple | list | dict | frozenset)
