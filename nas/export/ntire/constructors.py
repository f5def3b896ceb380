"""Constructors of the sources for the arguments that a network gives them."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from nas.export.ntire.arguments import bind_nodes
from nas.export.ntire.bodies import drop_unread, execute, is_refusal
from nas.export.ntire.calls import fold_argument
from nas.export.ntire.folding import Folder
from nas.export.ntire.scope import Scope
from nas.export.ntire.sources import find_method, is_own


@dataclass(slots=True, kw_only=True)
class Constructor:
    """A constructor in the making.

    Attributes:
        make_folder: gives the folder of a scope.
        is_read: whether something of the printed class reads an attribute of `self`.
        loose: text arguments are kept, so that the class is printed for several of them.
    """

    owner: nn.Module
    make_folder: Callable[[Scope], Folder]
    is_read: Callable[[str], bool]
    loose: bool

    def fold(self, cls: type, scope: Scope) -> list[ast.stmt]:
        """Return the statements of a class' constructor, those of its parents written in."""
        found = find_method(cls, "__init__")
        if found is None:
            return [_call_parent([])]
        function, defined_in = found
        body = self._fold_statements(function.body, scope, defined_in)
        made = _drop_repeated(drop_unread(body))
        if len(made) > 1:
            made[1].blank_before = False  # type: ignore[attr-defined]  # checks stood between
        return made

    def _fold_statements(self, body: list[ast.stmt], scope: Scope, cls: type) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for statement in body:
            folded = self._fold_statement(statement, scope, cls)
            if folded and not hasattr(folded[0], "comments"):
                for name in ("comments", "blank_before", "trailing"):
                    setattr(folded[0], name, getattr(statement, name))
            made += folded
        return made

    def _fold_statement(self, node: ast.stmt, scope: Scope, cls: type) -> list[ast.stmt]:
        """Return what is left of a statement: what makes something that is read, or has weights."""
        folder = self.make_folder(scope)
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            node = ast.Assign(targets=[node.target], value=node.value)
        if isinstance(node, ast.Assign):
            return self._fold_assignment(node, scope)
        if isinstance(node, ast.If) and not is_refusal(node):
            holds, test = folder.decide(node.test)
            if holds is None:
                then = self._fold_statements(node.body, scope, cls)
                other = self._fold_statements(node.orelse, scope, cls)
                return [ast.If(test=test, body=then, orelse=other)] if then or other else []
            return self._fold_statements(node.body if holds else node.orelse, scope, cls)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return self._fold_call(node.value, scope, cls)
        return []  # checks, starts of weights, docstrings

    def _fold_call(self, node: ast.Call, scope: Scope, cls: type) -> list[ast.stmt]:
        """Return a call that makes something: the parent's constructor, or a buffer."""
        text = ast.unparse(node.func)
        folder = self.make_folder(scope)
        if text == "super().__init__":
            parent = next(base for base in cls.__mro__[1:] if "__init__" in vars(base))
            if not is_own(parent):
                folded = folder.fold(node)
                return [ast.Expr(value=folded)]
            return self._fold_parent(parent, node, scope)
        if text == "self.register_buffer" and self.is_read(ast.literal_eval(node.args[0])):
            return [ast.Expr(value=folder.fold(node))]
        return []

    def _fold_parent(self, parent: type, node: ast.Call, scope: Scope) -> list[ast.stmt]:
        """Return the constructor of a parent class, called with some arguments."""
        folder = self.make_folder(scope)
        function, defined_in = find_method(parent, "__init__") or (None, parent)
        assert function is not None
        given = bind_nodes(parent, node, scope)
        values = {name: scope.evaluate(value) for name, (value, _) in given.items()}
        inner = Scope(
            space=vars(inspect.getmodule(defined_in)), local=set(values), values=values,
            replaced={name: fold_argument(folder, value) for name, (value, _) in given.items()},
            owner=self.owner, loose=scope.loose,
        )  # fmt: skip
        return self._fold_statements(function.body, inner, defined_in)

    def _fold_assignment(self, node: ast.Assign, scope: Scope) -> list[ast.stmt]:
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            made: list[ast.stmt] = []
            for part, item in zip(target.elts, value.elts, strict=True):
                made += self._fold_assignment(ast.Assign(targets=[part], value=item), scope)
            return made

        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        attributes = [part.attr for part in parts if isinstance(part, ast.Attribute)]
        if attributes:
            if not any(self._is_kept(name) for name in attributes):
                return []
            folded = self.make_folder(scope).fold(value)
            return [
                ast.Assign(
                    targets=[target], value=self._tidy_parameter(attributes[0], folded, scope)
                )
            ]

        # A local name: what it stands for is computed, as later statements decide by it.
        folded = self.make_folder(scope).fold(value)
        values = execute(node, scope)
        scope.local |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
        for name in values:
            scope.replaced.pop(name, None)
        scope.values |= values
        return [ast.Assign(targets=[target], value=folded)]

    def _is_kept(self, attribute: str) -> bool:
        """Return whether an attribute is read, or holds weights that a file names."""
        value = getattr(self.owner, attribute, None)
        if isinstance(value, nn.Parameter):
            return True
        has_weights = isinstance(value, nn.Module) and len(value.state_dict()) > 0
        is_idle = isinstance(value, nn.Identity) and not self.loose
        return has_weights or (self.is_read(attribute) and not is_idle)

    def _tidy_parameter(self, attribute: str, node: ast.expr, scope: Scope) -> ast.expr:
        """Return a parameter whose start is computed as one of zeros: it is loaded anyway."""
        value = getattr(self.owner, attribute, None)
        is_made = isinstance(node, ast.Call) and ast.unparse(node.func) == "nn.Parameter"
        if not isinstance(value, nn.Parameter) or not is_made:
            return node
        assert isinstance(node, ast.Call)
        start = node.args[0]
        if isinstance(start, ast.Call) and ast.unparse(start.func).startswith("torch."):
            return node
        shape = [_name_size(size, scope) for size in value.shape]
        zeros = ast.Attribute(value=ast.Name(id="torch", ctx=ast.Load()), attr="zeros")
        return ast.Call(
            func=node.func, args=[ast.Call(func=zeros, args=shape, keywords=[])], keywords=[]
        )


def _name_size(size: int, scope: Scope) -> ast.expr:
    """Return a size by the constructor's name for it, where it has one."""
    for name, value in reversed(scope.values.items()):
        if type(value) is int and value == size and name not in scope.replaced and size > 1:
            return ast.Name(id=name, ctx=ast.Load())
    return ast.Constant(value=size)


def _call_parent(args: list[ast.expr]) -> ast.stmt:
    call = ast.parse("super().__init__()").body[0]
    assert isinstance(call, ast.Expr)
    return call


def _drop_repeated(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements in which an attribute that is made twice is made once, as the last time."""
    made: dict[str, int] = {}
    kept: list[ast.stmt] = []
    for statement in body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        name = target.attr if isinstance(target, ast.Attribute) else None
        if name in made:
            kept[made[name]] = statement
            continue
        if name:
            made[name] = len(kept)
        kept.append(statement)
    return kept
