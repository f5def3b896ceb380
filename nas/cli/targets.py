"""The classes that a configuration may name: code runs for these and for nothing else that a file says."""

import pkgutil
import typing
from importlib.metadata import entry_points
from typing import Any

from nas.cli.invocation import UsageError
from nas.cli.message import part

TARGET = "_target_"
ENTRY_POINTS = "nas.classes"  # the group by which an installed package offers classes of its own
CLASSES = frozenset(  # those that conf/ names; a test holds both equal
    {
        "nas.data.config.DataConfig",
        "nas.data.config.FolderSource",
        "nas.data.config.PhotoSource",
        "nas.export.safetensors.SafetensorsExporter",
        "nas.measure.latency.config.LatencyConfig",
        "nas.score.Baseline",
        "nas.score.Challenge",
        "nas.score.Gate",
        "nas.score.Weights",
        "nas.search.backends.table.TableBackend",
        "nas.search.backends.training.TrainingBackend",
        "nas.search.engines.local.LocalEngine",
        "nas.search.fidelity.config.FidelityConfig",
        "nas.search.samplers.cost_aware.CostAware",
        "nas.search.samplers.evolution.Evolution",
        "nas.search.samplers.optuna_samplers.GP",
        "nas.search.samplers.optuna_samplers.NSGA2",
        "nas.search.samplers.optuna_samplers.TPE",
        "nas.search.samplers.random.Random",
        "nas.train.proxy.Optimizer",
        "nas.train.proxy.ProxyConfig",
        "search_spaces.spaces.grammar.GrammarSpace",
        "search_spaces.spaces.span.SpanSpace",
    }
)


def check_name(target: object, path: str) -> str:
    """Return what a `_target_` says, once it is known to name a class that may be built; imports nothing.

    Raises:
        UsageError: it is no text, or names something else.
    """
    place = f"{path}.{TARGET}" if path else TARGET
    if not isinstance(target, str):
        raise UsageError(f"{place} must be the name of a class, got {part(repr(target))}")
    if target not in CLASSES and target not in _installed():
        raise UsageError(
            f"{place}: {part(target)!r} is not run: a file may name the classes of conf/, those of "
            f"search_spaces.spaces and those of installed packages (entry points {ENTRY_POINTS}) alone"
        )
    return target


def locate(target: object, path: str) -> type:
    """Import the class that a `_target_` names.

    Raises:
        UsageError: as `check_name`; or an installed package's entry point names no class.
    """
    name = check_name(target, path)
    try:
        found = pkgutil.resolve_name(name)
    except (AttributeError, ImportError, ValueError) as error:
        raise UsageError(f"{path}.{TARGET}: cannot import {part(name)!r}: {error}") from error
    if not isinstance(found, type):
        raise UsageError(f"{path}.{TARGET}: {part(name)!r} is no class")
    return found


def fits(found: type, hint: Any) -> bool:
    """Whether objects of a class can stand where an annotation is a class or a Protocol."""
    if getattr(hint, "_is_protocol", False):
        known = {*dir(found), *_annotations(found)}
        return all(name in known for name in _members(hint))
    return isinstance(hint, type) and issubclass(found, hint)


def lacking_members(value: object, protocol: Any) -> set[str]:
    """Return the public names of a protocol that an object does not have."""
    return {name for name in _members(protocol) if not hasattr(value, name)}


def _installed() -> frozenset[str]:
    """The classes that installed packages offer, as their entry points spell them: package.module:Class."""
    return frozenset(one.value for one in entry_points(group=ENTRY_POINTS))


def _members(protocol: Any) -> set[str]:
    """The public names of a Protocol."""
    named = {
        name
        for base in protocol.__mro__
        if getattr(base, "_is_protocol", False)
        for name in vars(base)
    }
    return {name for name in named | set(_annotations(protocol)) if not name.startswith("_")}


def _annotations(found: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(found)
    except NameError:  # a name that is imported for type checks alone
        return {}
