"""What the parts of the printing ask of each other."""

import ast
from types import FunctionType
from typing import Any, Protocol

from torch import nn

from nas.export.ntire.scope import Scope


class Printer(Protocol):
    """What a folder asks for classes, functions and constants: their names in the printed file."""

    def name_class(self, cls: type, arguments: dict[str, Any]) -> ast.Name: ...

    def name_helper(self, cls: type) -> ast.Name: ...

    def keep_parameters(self, name: str) -> list[str]: ...

    def name_function(self, function: FunctionType, statics: dict[str, Any]) -> ast.Name: ...

    def name_constant(self, space: dict[str, Any], name: str) -> ast.Name: ...

    def inline(
        self, function: FunctionType, statics: dict[str, Any], values: dict[str, Any]
    ) -> ast.expr | None: ...

    def inline_forward(self, module: nn.Module) -> tuple[list[str], ast.expr] | None: ...


class Folds(Protocol):
    """A folder of expressions: `building` where a constructor is folded, whose values are known."""

    @property
    def printer(self) -> Printer: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def building(self) -> bool: ...

    def within(self, scope: Scope) -> "Folds": ...

    def fold(self, node: ast.expr) -> ast.expr: ...

    def fold_fields(self, node: Any) -> Any: ...
