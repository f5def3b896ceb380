"""Expressions of the sources with what is constant folded in."""

import ast
import copy
import functools
from types import FunctionType, ModuleType
from typing import Any, Protocol

import torch
from torch import nn

from nas.export.ntire.expressions import show
from nas.export.ntire.scope import (
    LITERALS,
    UNKNOWN,
    Scope,
    is_constant,
    list_parameter_names,
    make_literal,
)
from nas.export.ntire.sources import find_constant, is_own
from search_spaces.layers import selective_scan
from search_spaces.layers.tracing import is_traced

# What holds whenever a printed network runs: it infers, in plain PyTorch.
FALSE_ATTRIBUTES = ("requires_grad", "is_meta", "training")
KNOWN_RESULTS: dict[Any, Any] = {
    is_traced: False,
    torch.is_grad_enabled: False,
    selective_scan._mamba_ssm: None,
}
LONGEST_REPEATED = 14  # characters of an argument that is written three times in one call
# What PyTorch's layers take where nothing is said.
DEFAULTS: dict[Any, dict[str, Any]] = {
    nn.Conv2d: {"bias": True, "padding": 0, "groups": 1, "stride": 1},
    nn.functional.interpolate: {"align_corners": None},
}


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


class Folder:
    """Folds the expressions of one scope; the trees it is given stay as they are."""

    def __init__(self, printer: Printer, scope: Scope, *, building: bool) -> None:
        self.printer, self.scope, self.building = printer, scope, building

    def within(self, scope: Scope) -> "Folder":
        return Folder(self.printer, scope, building=self.building)

    def fold(self, node: ast.expr) -> ast.expr:
        """Return an expression with what is constant folded in."""
        method = getattr(self, f"_fold_{type(node).__name__.lower()}", None)
        return self._fold_fields(node) if method is None else method(node)

    def decide(self, test: ast.expr) -> tuple[bool | None, ast.expr]:
        """Return whether a test holds, None where only a call can tell, and the folded test."""
        value = UNKNOWN if self.scope.loose else self.scope.evaluate(test)
        if isinstance(value, bool | int | float | str | tuple | type(None)):
            return bool(value), test
        folded = self.fold(test)
        return (bool(folded.value) if isinstance(folded, ast.Constant) else None), folded

    def _fold_fields(self, node: Any) -> Any:
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
        return (
            self._fold_fields(part) if isinstance(part, ast.keyword | ast.comprehension) else part
        )

    def _fold_name(self, node: ast.Name) -> ast.expr:
        scope = self.scope
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
        return self._fold_fields(node)  # type: ignore[no-any-return]

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
        folded = self._fold_fields(node)
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
        return value if isinstance(value, ast.Constant) else self._fold_fields(node)

    def _fold_lambda(self, node: ast.Lambda) -> ast.expr:
        inner = self.within(self.scope.extend({}, set(list_parameter_names(node.args))))
        return ast.Lambda(args=node.args, body=inner.fold(node.body))

    def _fold_listcomp(self, node: Any) -> ast.expr:
        """Fold a comprehension; one whose elements come out different is written out as a list."""
        variants = self._fold_elements(node) if self.building else None
        targets = {
            name.id
            for part in node.generators
            for name in ast.walk(part.target)
            if isinstance(name, ast.Name)
        }
        counts = isinstance(node.generators[0].iter, ast.Call) and (
            ast.unparse(node.generators[0].iter.func) != "itertools.pairwise"
        )  # Python 3.9 has no pairwise
        if variants and (not counts or len({ast.dump(named) for named, _ in variants}) > 1):
            return self._write_out(node, [written for _, written in variants])

        made = copy.copy(node)
        first, *others = node.generators
        inner = self.within(self.scope.extend({}, targets))
        # The first iterable is read outside of the loop.
        generators = [self._fold_generator(first, inner, outer=self)]
        made.generators = generators + [self._fold_generator(g, inner, inner) for g in others]
        if isinstance(node, ast.DictComp):
            made.key, made.value = inner.fold(node.key), inner.fold(node.value)
        else:
            made.elt = variants[0][0] if variants else inner.fold(node.elt)
        return made  # type: ignore[no-any-return]

    def _write_out(self, node: Any, written: list[ast.expr]) -> ast.expr:
        """Return the elements of a comprehension as a list; equal ones as a plain count."""
        if len(written) < 2 or len({ast.dump(element) for element in written}) > 1:
            return ast.List(elts=written, ctx=ast.Load())
        count = self._name_number(len(written), "num_")
        target = ast.Name(id="_", ctx=ast.Store())
        each = ast.Call(func=ast.Name(id="range", ctx=ast.Load()), args=[count], keywords=[])
        made = copy.copy(node)
        made.elt = written[0]
        made.generators = [ast.comprehension(target=target, iter=each, ifs=[], is_async=0)]
        return made  # type: ignore[no-any-return]

    def _name_number(self, value: int, *starts: str) -> ast.expr:
        """Return a number by the name of a parameter that has this value, where one begins so."""
        for name, known in self.scope.values.items():
            if type(known) is int and known == value and name.startswith(starts):
                return copy.deepcopy(self.scope.replaced.get(name, ast.Name(name, ast.Load())))
        return ast.Constant(value=value)

    def _write_value(self, value: Any) -> ast.expr:
        """Return what a loop's variable stands for; widths by their names."""
        is_width = type(value) is int and value > 3
        return (
            self._name_number(value, "channels", "in_channels") if is_width else make_literal(value)
        )

    _fold_generatorexp = _fold_setcomp = _fold_dictcomp = _fold_listcomp

    def _fold_generator(
        self, part: ast.comprehension, inner: "Folder", outer: "Folder"
    ) -> ast.comprehension:
        made = copy.copy(part)
        made.iter = outer.fold(part.iter)
        made.ifs = [inner.fold(test) for test in part.ifs]
        return made

    def _fold_elements(self, node: Any) -> list[tuple[ast.expr, ast.expr]] | None:
        """Return each element of a comprehension: with its loop variable's name, and written out."""
        if len(node.generators) != 1 or isinstance(node, ast.DictComp):
            return None
        part = node.generators[0]
        items = self.scope.evaluate(part.iter)
        if items is UNKNOWN or part.ifs:
            return None

        folded = []
        for item in items:
            values = bind_target(part.target, item)
            inner = self.scope.extend(values)
            with_name = self.within(inner).fold(node.elt)
            try:
                literals = {name: self._write_value(value) for name, value in values.items()}
            except ValueError:
                literals = {}
            inner = self.scope.extend(values)
            inner.replaced.update(literals)
            folded.append((with_name, self.within(inner).fold(node.elt)))
        return folded

    def _fold_call(self, node: ast.Call) -> ast.expr:
        """Fold a call by what is called: ours by its source, PyTorch's as it stands."""
        called = self.scope.evaluate(node.func)
        if isinstance(called, nn.Module) and not self.building and not self.scope.loose:
            if isinstance(called, nn.Identity) and len(node.args) == 1:
                return self.fold(node.args[0])
            if is_own(type(called)):
                return self._inline_module(called, node)
        if isinstance(called, functools.partial):
            node = ast.Call(
                func=node.func,
                args=[*map(make_literal, called.args), *node.args],
                keywords=node.keywords,
            )
            called = called.func

        try:
            if called in KNOWN_RESULTS:
                return ast.Constant(value=KNOWN_RESULTS[called])
        except TypeError:
            called = UNKNOWN  # what has no hash is nothing of ours
        if called is isinstance and "SymInt" in ast.dump(node):
            return ast.Constant(value=False)  # sizes are whole numbers but in a trace
        if isinstance(called, type) and is_own(called):
            return self._fold_construction(called, node)
        if isinstance(called, FunctionType) and is_own(called):
            if called.__name__ == "<lambda>":
                return self._fold_lambda_call(node)
            return self._fold_own_function(called, node)
        return self._tidy_call(called, self._fold_fields(node))

    def _fold_lambda_call(self, node: ast.Call) -> ast.expr:
        """Fold a call of a table's line, such as TABLE[name](x), where that is a lambda."""
        assert isinstance(node.func, ast.Subscript)
        assert isinstance(node.func.value, ast.Name)
        table, space = find_constant(self.scope.space, node.func.value.id)
        assert isinstance(table.value, ast.Dict)
        key = self.scope.evaluate(node.func.slice)
        for name, value in zip(table.value.keys, table.value.values, strict=True):
            if isinstance(value, ast.Lambda) and name and Scope(space=space).evaluate(name) == key:
                names = list_parameter_names(value.args)
                given = dict(zip(names, node.args, strict=True))
                values = {name: self.scope.evaluate(arg) for name, arg in given.items()}
                values = {name: item for name, item in values.items() if item is not UNKNOWN}
                inner = Scope(space=space, local=set(names), values=values)
                body = Folder(self.printer, inner, building=self.building).fold(value.body)
                made = substitute(body, {n: self.fold(a) for n, a in given.items()}, always=True)
                assert made is not None
                return made
        raise ValueError(f"{ast.unparse(node.func)} has no source")

    def _tidy_call(self, called: Any, node: ast.Call) -> ast.expr:
        """Return a call of PyTorch or Python without what it need not say."""
        usual = {} if called is UNKNOWN else DEFAULTS.get(called, {})
        node.keywords = [
            keyword
            for keyword in node.keywords
            if not (
                keyword.arg in usual
                and isinstance(keyword.value, ast.Constant)
                and keyword.value.value == usual[keyword.arg]
            )
        ]
        if called is zip:  # Python 3.9 has no `strict`
            node.keywords = []
        if called is list and len(node.args) == 1 and isinstance(node.args[0], ast.Tuple):
            return ast.List(elts=node.args[0].elts, ctx=ast.Load())
        if called is torch.unflatten:  # PyTorch 1.13 has the method alone
            return ast.Call(
                func=ast.Attribute(value=node.args[0], attr="unflatten", ctx=ast.Load()),
                args=node.args[1:],
                keywords=[],
            )
        if called is nn.Parameter:
            node.args = [start_parameter(node.args[0])]
        return node

    def _fold_construction(self, cls: type, node: ast.Call) -> ast.expr:
        """Fold the making of one of our classes: its printed name, and the arguments it kept."""
        if not issubclass(cls, nn.Module):
            unnamed = ast.Call(
                func=ast.Name(id="?", ctx=ast.Load()), args=node.args, keywords=node.keywords
            )
            folded = self._fold_fields(unnamed)
            folded.func = self.printer.name_helper(cls)
            return folded  # type: ignore[no-any-return]
        arguments = self._evaluate_arguments(cls, node)
        name = self.printer.name_class(cls, arguments)
        kept = self.printer.keep_parameters(name.id)
        given = bind_nodes(cls, node, self.scope)
        args: list[ast.expr] = []
        keywords: list[ast.keyword] = []
        for i, parameter in enumerate(kept):
            if parameter in given:
                value, keyword = given[parameter]
                if keyword and i > 0 and parameter != "channels":
                    keywords.append(ast.keyword(arg=parameter, value=self.fold(value)))
                else:
                    args.append(self.fold(value))
        return ast.Call(func=name, args=args, keywords=keywords)

    def _evaluate_arguments(self, cls: type, node: ast.Call) -> dict[str, Any]:
        """Return the values that a constructor is called with.

        Raises:
            ValueError: they depend on what a call is given.
        """
        arguments = {}
        for name, (value, _) in bind_nodes(cls, node, self.scope).items():
            arguments[name] = self.scope.evaluate(value)
            if arguments[name] is UNKNOWN:
                raise ValueError(f"{cls.__name__} is made with a {name} that only a call can tell")
        return arguments

    def _fold_own_function(self, function: FunctionType, node: ast.Call) -> ast.expr:
        """Fold a call of one of our functions: written out where it is short, else by its name."""
        if any(isinstance(arg, ast.Starred) for arg in node.args):
            named = self._fold_fields(
                ast.Call(func=ast.Name(id="?", ctx=ast.Load()), args=node.args, keywords=[])
            )
            statics = {k.arg: self.scope.evaluate(k.value) for k in node.keywords if k.arg}
            named.func = self.printer.name_function(function, statics)
            return named  # type: ignore[no-any-return]

        given = bind_nodes(function, node, self.scope)
        folded = {name: self.fold_argument(value) for name, (value, _) in given.items()}
        values = {name: self.scope.evaluate(value) for name, (value, _) in given.items()}
        values = {name: value for name, value in values.items() if value is not UNKNOWN}
        statics = {
            name: arg.value for name, arg in folded.items() if is_constant(arg, *LITERALS)
        } | {name: value for name, value in values.items() if callable(value)}
        statics = {name: v for name, v in statics.items() if not isinstance(v, nn.Module)}

        inlined = self.printer.inline(function, statics, values)
        if inlined is not None:
            substituted = substitute(inlined, folded, always=self.building)
            if substituted is not None:
                return self._tidy_inlined(substituted)

        name = self.printer.name_function(function, statics)
        args = [
            folded[parameter]
            for parameter, (_, keyword) in given.items()
            if parameter not in statics and not keyword
        ]
        keywords = [
            ast.keyword(arg=parameter, value=folded[parameter])
            for parameter, (_, keyword) in given.items()
            if parameter not in statics and keyword
        ]
        return ast.Call(func=name, args=args, keywords=keywords)

    def fold_argument(self, node: ast.expr) -> ast.expr:
        """Fold an argument; a function that is handed on is none that has to be printed."""
        value = self.scope.evaluate(node)
        if isinstance(value, FunctionType) and isinstance(node, ast.Name):
            return node
        return self.fold(node)

    def _tidy_inlined(self, node: ast.expr) -> ast.expr:
        """Drop what the calls in an inlined body need not say, now that arguments are known."""
        for part in ast.walk(node):
            if isinstance(part, ast.Call) and ast.unparse(part.func) == "nn.Conv2d":
                self._tidy_call(nn.Conv2d, part)
        return node

    def _inline_module(self, module: nn.Module, node: ast.Call) -> ast.expr:
        """Write out a module without weights whose forward is one expression."""
        inlined = self.printer.inline_forward(module)
        if inlined is not None and not node.keywords:
            parameters, body = inlined
            given = dict(zip(parameters, map(self.fold, node.args), strict=True))
            substituted = substitute(body, given, always=False)
            if substituted is not None:
                return substituted
        return self._fold_fields(node)  # type: ignore[no-any-return]


def is_data(value: Any) -> bool:
    """Return whether a module's name stands for plain data, which a printed file can hold."""
    return isinstance(value, str | int | float | bool | tuple | list | dict | frozenset)


def bind_target(target: ast.expr, item: Any) -> dict[str, Any]:
    """Return the values of the names of a loop's target."""
    if isinstance(target, ast.Name):
        return {target.id: item}
    assert isinstance(target, ast.Tuple)
    values: dict[str, Any] = {}
    for part, value in zip(target.elts, item, strict=True):
        values |= bind_target(part, value)
    return values


def bind_nodes(called: Any, node: ast.Call, scope: Scope) -> dict[str, tuple[ast.expr, bool]]:
    """Return the arguments of a call by parameter, and whether each was given by its name."""
    code = called.__init__.__code__ if isinstance(called, type) else called.__code__
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    names = names[1:] if isinstance(called, type) else names

    listed: list[ast.expr] = []
    for arg in node.args:
        if isinstance(arg, ast.Starred):
            # A tuple that is spread is read item by item.
            for i in range(len(scope.evaluate(arg.value))):
                listed.append(
                    ast.Subscript(value=arg.value, slice=ast.Constant(value=i), ctx=ast.Load())
                )
        else:
            listed.append(arg)
    bound = {name: (arg, False) for name, arg in zip(names, listed, strict=False)}
    return bound | {k.arg: (k.value, True) for k in node.keywords if k.arg}


def start_parameter(node: ast.expr) -> ast.expr:
    """Return the start of a parameter without what only training needs: it is loaded anyway."""
    plain = ("ones", "zeros", "full", "randn")
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in plain:
        return node
    for part in ast.walk(node):
        made = isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)
        if made and part.func.attr in (*plain, "empty") and ast.unparse(part.func.value) == "torch":
            return ast.Call(
                func=ast.Attribute(value=part.func.value, attr="zeros", ctx=ast.Load()),
                args=part.args,
                keywords=[],
            )
    return node


def substitute(body: ast.expr, given: dict[str, ast.expr], *, always: bool) -> ast.expr | None:
    """Return an expression with arguments in the place of parameters.

    None where an argument that is more than a name would be computed twice.
    """
    counts: dict[str, int] = {}
    for part in ast.walk(body):
        if isinstance(part, ast.Name):
            counts[part.id] = counts.get(part.id, 0) + 1
    for name, arg in given.items():
        is_small = isinstance(arg, ast.Name | ast.Constant | ast.Attribute)
        is_readable = always and (len(show(arg)) <= LONGEST_REPEATED or counts.get(name, 0) < 3)
        if counts.get(name, 0) > 1 and not (is_small or is_readable):
            return None
    return _Substitution(given).visit(copy.deepcopy(body))  # type: ignore[no-any-return]


class _Substitution(ast.NodeTransformer):
    """Puts arguments in the place of names, and computes what became a number by that."""

    def __init__(self, given: dict[str, ast.expr]) -> None:
        self.given = given

    def visit_Name(self, node: ast.Name) -> ast.expr:  # noqa: N802
        return copy.deepcopy(self.given.get(node.id, node))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:  # noqa: N802
        before = ast.dump(node)
        made = self.generic_visit(node)
        assert isinstance(made, ast.BinOp)
        known = is_constant(made.left, int) and is_constant(made.right, int)
        if known and ast.dump(made) != before:
            value: Any = Scope(space={}).evaluate(made)
            return ast.Constant(value=value)
        return made
