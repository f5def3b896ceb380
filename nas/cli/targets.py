"""The classes that a configuration may name: no file can make other code run."""

import pkgutil
import typing
from importlib.metadata import entry_points
from typing import Any

from nas.cli.invocation import UsageError
from nas.cli.message import part

TARGET = "_target_"
ENTRY_POINTS = "nas.classes"  # the group by which an installed package offers classes of its own
# Those that conf/ names, and a loss that recipes of users may; a test holds both equal.
CLASSES = frozenset(
    {
        "nas.data.config.DataConfig",
        "nas.data.config.FolderSource",
        "nas.data.config.PhotoSource",
        "nas.export.mpv.exporter.MpvExporter",
        "nas.export.ncnn.exporter.NcnnExporter",
        "nas.export.onnx.exporter.OnnxExporter",
        "nas.export.ntire.exporter.NtireExporter",
        "nas.export.safetensors.SafetensorsExporter",
        "nas.export.spandrel.exporter.SpandrelExporter",
        "nas.export.torch_export.TorchExportExporter",
        "nas.losses.edges.Gradient",
        "nas.losses.edges.Laplacian",
        "nas.losses.frequency.FFT",
        "nas.losses.pixel.Charbonnier",
        "nas.losses.pixel.L1",
        "nas.losses.pixel.MSE",
        "nas.losses.structure.SSIM",
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
        "nas.train.distill.terms.Affinity",
        "nas.train.distill.terms.Features",
        "nas.train.distill.terms.Output",
        "nas.train.proxy.Optimizer",
        "nas.train.proxy.ProxyConfig",
        "nas.train.recipe.config.Recipe",
        "nas.train.recipe.optimizers.Adam",
        "nas.train.recipe.optimizers.AdamW",
        "nas.train.recipe.optimizers.MuAdamW",
        "nas.train.recipe.schedules.Constant",
        "nas.train.recipe.schedules.Cosine",
        "nas.train.recipe.schedules.Linear",
        "nas.train.recipe.schedules.MultiStep",
        "search_spaces.spaces.grammar.GrammarSpace",
        "search_spaces.spaces.span.SpanSpace",
    }
)


def check_name(target: object, path: str) -> str:
    """Check that a `_target_` names a class that may be built, and return it; imports nothing.

    Raises:
        UsageError: it is no text, or names something else.
    """
    # A file holds any YAML value here, also a list or a number.
    place = f"{path}.{TARGET}" if path else TARGET
    if not isinstance(target, str):
        raise UsageError(f"{place} must be the name of a class, got {part(repr(target))}")

    # Entry points are looked up last: that reads the metadata of every installed package.
    if target not in CLASSES and target not in _list_installed():
        raise UsageError(
            f"{place}: {part(target)!r} is not run: a file may name the classes of conf/, those of "
            "search_spaces.spaces and those of installed packages "
            f"(entry points {ENTRY_POINTS}) alone"
        )

    return target


def locate(target: object, path: str) -> type:
    """Import the class that a `_target_` names.

    Raises:
        UsageError: as `check_name`; or an installed package's entry point names no class.
    """
    # An import runs code, so the name is checked before.
    name = check_name(target, path)
    try:
        located = pkgutil.resolve_name(name)
    except (AttributeError, ImportError, ValueError) as error:
        raise UsageError(f"{path}.{TARGET}: cannot import {part(name)!r}: {error}") from error
    if not isinstance(located, type):
        raise UsageError(f"{path}.{TARGET}: {part(name)!r} is no class")
    return located


def fits(cls: type, hint: Any) -> bool:
    """Return whether objects of a class can stand where an annotation is a class or a Protocol."""
    # Most Protocols here have attributes, for which issubclass cannot be asked.
    if getattr(hint, "_is_protocol", False):
        names = {*dir(cls), *_read_annotations(cls)}
        return all(name in names for name in _list_members(hint))
    return isinstance(hint, type) and issubclass(cls, hint)


def lacking_members(value: object, protocol: Any) -> set[str]:
    """Return the public names of a protocol that an object does not have."""
    return {name for name in _list_members(protocol) if not hasattr(value, name)}


def _list_installed() -> frozenset[str]:
    """Return the classes that installed packages offer, as entry points: package.module:Class."""
    return frozenset(entry_point.value for entry_point in entry_points(group=ENTRY_POINTS))


def _list_members(protocol: Any) -> set[str]:
    """Return the public names of a Protocol, those of Protocols that it extends among them."""
    defined = {
        name
        for base in protocol.__mro__
        if getattr(base, "_is_protocol", False)
        for name in vars(base)
    }
    # Attributes without a value are annotations alone.
    names = defined | set(_read_annotations(protocol))
    return {name for name in names if not name.startswith("_")}


def _read_annotations(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except NameError:  # a name that is imported for type checks alone
        return {}
