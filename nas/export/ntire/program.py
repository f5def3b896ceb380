"""The classes, functions and constants of one printed file, under names that do not clash."""

import ast
import copy
import inspect
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from torch import nn

from nas.export.ntire.bodies import drop_unread, fold_body, strip_annotations
from nas.export.ntire.constructors import Constructor
from nas.export.ntire.docstrings import describe_arguments, shorten_docstring
from nas.export.ntire.expressions import show
from nas.export.ntire.folding import Folder
from nas.export.ntire.scope import LITERALS, Scope, list_parameter_names
from nas.export.ntire.sources import (
    find_class,
    find_constant,
    find_function,
    find_method,
    is_own,
    list_methods,
)
from nas.export.ntire.trees import (
    drop_keywords,
    inline_parents,
    is_docstring,
    make_constructor,
    make_docstring,
    read_docstring,
)

MARK = "_mark_"  # begins what stands for a name until all names are known
LONGEST_INLINED = 40  # characters of a function that is written out where it is called


class LooseError(Exception):
    """A class cannot be printed with its text arguments kept."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls.__name__)
        self.cls = cls


@dataclass(slots=True, kw_only=True)
class Definition:
    """One class, function or constant of the file.

    Attributes:
        mark: stands for its name until all names are known.
        origin: what it was made from.
        name: as the sources have it.
        node: its tree.
        parameters: of a class, those of its constructor.
        statics: arguments that were folded in.
    """

    mark: str
    origin: Any
    name: str
    node: ast.stmt
    parameters: list[str] = field(default_factory=list)
    statics: dict[str, Any] = field(default_factory=dict)


class Program:
    """Collects what a network needs; see `Printer` for what a folder asks of it.

    Args:
        loose: classes that keep text and truth arguments, since a network has several of them.
        methods: names of methods that something calls; None: all are printed.
    """

    def __init__(self, *, loose: frozenset[type], methods: frozenset[str] | None) -> None:
        self.loose, self.methods = loose, methods
        self.definitions: dict[str, Definition] = {}
        self._marks: dict[Any, str] = {}
        self._classes: dict[Any, str] = {}
        self._functions: dict[Any, ast.FunctionDef] = {}

    # What folders ask for.

    def name_class(self, cls: type, arguments: dict[str, Any]) -> ast.Name:
        """Return the name of a class as it is printed for some arguments."""
        signature = inspect.signature(cls)
        given = {n: p.default for n, p in signature.parameters.items() if p.default is not p.empty}
        given |= arguments
        # One class for one set of plain arguments; layers as arguments are not compared.
        key = (cls, *sorted(given.items(), key=lambda item: item[0]))
        is_plain = not any(isinstance(value, nn.Module | list) for value in given.values())
        if is_plain and key in self._classes:
            return ast.Name(id=self._classes[key], ctx=ast.Load())
        owner = cls(**given).eval()
        try:
            node, parameters = self._print_class(cls, owner, given)
        except ValueError as error:
            if cls in self.loose:
                raise LooseError(cls) from error
            raise
        statics = {n: v for n, v in given.items() if isinstance(v, str | bool)}
        name = self._add(cls, cls.__name__, node, parameters, statics)
        if is_plain:
            self._classes[key] = name.id
        return name

    def keep_parameters(self, name: str) -> list[str]:
        return self.definitions[name].parameters

    def name_function(self, function: FunctionType, statics: dict[str, Any]) -> ast.Name:
        """Return the name of a function as it is printed with some arguments folded in."""
        node = self._print_function(function, statics, {})
        return self._add(function, function.__name__, node, [], statics)

    def name_constant(self, space: dict[str, Any], name: str) -> ast.Name:
        """Return the name of a module's constant."""
        assignment, defined_in = find_constant(space, name)
        folder = Folder(self, Scope(space=defined_in), building=False)
        assignment.value = folder.fold(assignment.value)
        # Two modules may have one constant under one name: it is written once.
        return self._add((defined_in["__name__"], name), name, assignment, [], {}, shared=name)

    def name_helper(self, cls: type) -> ast.Name:
        """Return the name of a class that is no layer: printed with the methods that are called."""
        body: list[ast.stmt] = []
        for name in list_methods(cls):
            if self._is_called(name) or name == "__init__":
                body.append(self._print_method(cls, name, None, loose=False))
        source = find_class(cls)
        docstring = read_docstring(source.body)
        body = [make_docstring(shorten_docstring(docstring, None)), *body] if docstring else body
        node = ast.ClassDef(name=cls.__name__, bases=[], keywords=[], body=body, decorator_list=[])
        return self._add(cls, cls.__name__, node, [], {})

    def inline(
        self, function: FunctionType, statics: dict[str, Any], values: dict[str, Any]
    ) -> ast.expr | None:
        """Return a function's one expression; None where it is more, or long."""
        node = self._print_function(function, statics, values)
        body = [statement for statement in node.body if not is_docstring(statement)]
        if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
            return None
        makes_layer = "nn." in ast.unparse(body[0].value) or MARK in ast.unparse(body[0].value)
        is_short = len(show(body[0].value)) <= LONGEST_INLINED
        return body[0].value if is_short or makes_layer else None

    def inline_forward(self, module: nn.Module) -> tuple[list[str], ast.expr] | None:
        """Return parameters and the one expression of a layer that holds nothing."""
        if next(module.children(), None) is not None or len(module.state_dict()) > 0:
            return None
        if any(True for _ in module.buffers()):
            return None
        node = self._print_method(type(module), "forward", module, loose=False)
        body = [statement for statement in node.body if not is_docstring(statement)]
        reads_self = "self" in {p.id for s in body for p in ast.walk(s) if isinstance(p, ast.Name)}
        if len(body) != 1 or not isinstance(body[0], ast.Return) or reads_self:
            return None
        assert body[0].value is not None
        return list_parameter_names(node.args), body[0].value

    # How they are printed.

    def _print_class(
        self, cls: type, owner: nn.Module, arguments: dict[str, Any]
    ) -> tuple[ast.ClassDef, list[str]]:
        loose = cls in self.loose
        methods = []
        for name in list_methods(cls):
            if name != "__init__" and self._is_called(name):
                try:
                    methods.append(self._print_method(cls, name, owner, loose=loose))
                except ValueError:
                    # In a first pass, methods are printed that nothing may call.
                    if self.methods is not None or loose:
                        raise
        read = {
            part.attr
            for method in methods
            for part in ast.walk(method)
            if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self"
        }

        bases = [base for base in cls.__mro__ if not is_own(base)]
        torch_base = bases[0] is not nn.Module
        scope = self._open_constructor(cls, owner, arguments, loose)
        constructor = Constructor(
            owner=owner,
            make_folder=lambda scope: Folder(self, scope, building=True),
            is_read=lambda name: name in read,
            loose=loose,
        )
        body = constructor.fold(cls, scope)
        parameters = self._list_kept(cls, body)
        base = f"nn.{bases[0].__name__}" if torch_base else "nn.Module"
        docstring = read_docstring(find_class(cls).body)
        made: list[ast.stmt] = []
        if docstring:
            words = describe_arguments(owner, arguments) if not loose else {}
            made.append(make_docstring(shorten_docstring(docstring, parameters, words)))
        if len(body) > 1 or torch_base:
            made.append(make_constructor(cls, parameters, body))
        made += methods
        node = ast.ClassDef(
            name=cls.__name__, bases=[ast.parse(base, mode="eval").body], keywords=[],
            body=made, decorator_list=[],
        )  # fmt: skip
        return node, parameters

    def _open_constructor(
        self, cls: type, owner: nn.Module, arguments: dict[str, Any], loose: bool
    ) -> Scope:
        """Return what a constructor's parameters stand for."""
        replaced: dict[str, ast.expr] = {}
        for name, value in arguments.items():
            if value is None or (isinstance(value, str | bool) and not loose):
                replaced[name] = ast.Constant(value=value)
        both = {"in_channels", "channels"} <= arguments.keys()
        if both and arguments["in_channels"] == arguments["channels"] and not loose:
            replaced["in_channels"] = ast.Name(id="channels", ctx=ast.Load())
        return Scope(
            space=vars(inspect.getmodule(cls)), local=set(arguments), values=dict(arguments),
            replaced=replaced, owner=owner, loose=loose,
        )  # fmt: skip

    def _list_kept(self, cls: type, body: list[ast.stmt]) -> list[str]:
        """Return the parameters of a constructor that its printed statements read."""
        read = {
            part.id
            for statement in body
            for part in ast.walk(statement)
            if isinstance(part, ast.Name)
        }
        return [name for name in inspect.signature(cls).parameters if name in read]

    def _print_method(
        self, cls: type, name: str, owner: nn.Module | None, *, loose: bool
    ) -> ast.FunctionDef:
        found = find_method(cls, name)
        assert found is not None
        function, defined_in = found
        names = set(list_parameter_names(function.args))
        scope = Scope(
            space=vars(inspect.getmodule(defined_in)), local=names, owner=owner, loose=loose
        )
        function = copy.copy(function)
        if isinstance(function.body[-1], ast.Return):
            function.body = self._inline_inner(cls, function.body)
        function.body = inline_parents(defined_in, function.body)
        return self._finish_function(function, scope, list(function.args.args))

    def _inline_inner(self, cls: type, body: list[ast.stmt]) -> list[ast.stmt]:
        """Return `return self.method(x)[0]` as that method's body, where nothing else calls it."""
        value = body[-1].value if isinstance(body[-1], ast.Return) else None
        if self.methods is None or len(body) != 1 or not isinstance(value, ast.Subscript):
            return body
        call = value.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            return body
        name = call.func.attr
        if self._is_called(name) or not ast.unparse(call.func).startswith("self."):
            return body
        found = find_method(cls, name)
        assert found is not None
        inner = [statement for statement in found[0].body if not is_docstring(statement)]
        last = copy.copy(inner[-1])
        assert isinstance(last, ast.Return)
        assert isinstance(last.value, ast.Tuple)
        assert isinstance(value.slice, ast.Constant)
        last.value = last.value.elts[int(str(value.slice.value))]
        return [*inner[:-1], last]

    def _print_function(
        self, function: FunctionType, statics: dict[str, Any], values: dict[str, Any]
    ) -> ast.FunctionDef:
        key = _make_key(function, statics, values)
        if key in self._functions:
            return self._functions[key]
        node = find_function(function)
        names = set(list_parameter_names(node.args))
        replaced: dict[str, ast.expr] = {}
        for name, value in statics.items():
            if isinstance(value, LITERALS):
                replaced[name] = ast.Constant(value=value)
        scope = Scope(
            space=vars(inspect.getmodule(function)), local=names, values=values | statics,
            replaced=replaced,
        )  # fmt: skip
        kept = [arg for arg in node.args.args if arg.arg not in statics]
        node = copy.copy(node)
        node.args = drop_keywords(node.args, statics)
        made = self._finish_function(node, scope, kept)
        if key is not None:
            self._functions[key] = made
        return made

    def _finish_function(
        self, node: ast.FunctionDef, scope: Scope, kept: list[ast.arg]
    ) -> ast.FunctionDef:
        """Return a function with its body folded and the parameters that are left."""
        docstring = read_docstring(node.body)
        statements = node.body[1:] if docstring else node.body
        body = drop_unread(fold_body(statements, Folder(self, scope, building=False)))
        arguments = strip_annotations(node.args)
        defaults = dict(
            zip(
                reversed([a.arg for a in node.args.args]),
                reversed(node.args.defaults),
                strict=False,
            )
        )
        read = {p.id for s in body for p in ast.walk(s) if isinstance(p, ast.Name)}
        arguments.args = [
            ast.arg(arg=arg.arg) for arg in kept if arg.arg not in defaults or arg.arg in read
        ]
        arguments.defaults = [defaults[a.arg] for a in arguments.args if a.arg in defaults]
        given = dict(
            zip([arg.arg for arg in node.args.kwonlyargs], node.args.kw_defaults, strict=False)
        )
        arguments.kw_defaults = [given.get(arg.arg) for arg in arguments.kwonlyargs]
        if docstring:
            body = [make_docstring(shorten_docstring(docstring, None)), *body]
        return ast.FunctionDef(name=node.name, args=arguments, body=body, decorator_list=[])

    def _is_called(self, name: str) -> bool:
        return self.methods is None or name in self.methods or name == "forward"

    def _add(
        self,
        origin: Any,
        name: str,
        node: ast.stmt,
        parameters: list[str],
        statics: dict[str, Any],
        shared: str | None = None,
    ) -> ast.Name:
        """Keep a definition unless it is there already; return the mark that names it.

        Args:
            shared: what makes two definitions one beside their trees; None: where they come from.
        """
        key = (shared or str(origin), ast.dump(node))
        if key not in self._marks:
            mark = f"{MARK}{len(self._marks)}_"
            self._marks[key] = mark
            self.definitions[mark] = Definition(
                mark=mark, origin=origin, name=name, node=node, parameters=parameters,
                statics=statics,
            )  # fmt: skip
        return ast.Name(id=self._marks[key], ctx=ast.Load())


def _make_key(function: FunctionType, statics: dict[str, Any], values: dict[str, Any]) -> Any:
    """Return what a printed function depends on; None where that cannot be compared."""
    known = {**values, **statics}
    plain = (*LITERALS, int, float, tuple, FunctionType, type)
    if not all(isinstance(value, plain) for value in known.values()):
        return None
    return function, frozenset(statics), *((name, repr(known[name])) for name in sorted(known))
