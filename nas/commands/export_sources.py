"""What `nas export` takes: a trial of a run, or a file of weights with its architecture."""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nas.analysis import picks, results
from nas.analysis.run_state import RunState
from nas.commands.architectures import kept_weights, resolve_arch, split_pick
from nas.commands.networks import find_weights
from nas.export.bundle import Bundle, check_free
from nas.measure.quality import PROTOCOL
from nas.record import TrialRecord
from nas.report.words import describe, score_label
from nas.search.store.run_folder.runs import load_run
from nas.search.store.run_folder.trained import trained_path
from nas.train.proxy import OverBase
from nas.train.weights import find_spec, read_metadata, read_upscaler, residual_network
from search_spaces.checkpoints.official import describe_origin, load_strict, read_state
from search_spaces.network import Network, build

DEFAULT_PICK = "knee"
# Columns that say nothing here: the spec stands beside them, and only complete rows have weights.
NOT_PROVENANCE = ("arch", "arch_id", "state", "error")
# Settings of a search that its figures depend on: they stand on the card.
LINEAGE = ("data", "parent", "parent_weights", "proxy", "space", "sampler", "seed", "warm_start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A network that was opened, where it goes, and what is said of it."""

    bundle: Bundle
    target: Path
    headline: str
    closing: str


def open_source(
    run: str | None, pick: str | None, arch: str | None, weights: str | None, out: str | None
) -> Source:
    """Open a trial of a run, or a file of weights.

    Raises:
        ValueError: neither is named, or both; or what is named cannot be opened.
    """
    if run is None and arch is None and weights is None:
        raise ValueError(
            "run, or arch and weights, has to be given: run=RUN, or arch=published/NAME "
            "weights=FILE"
        )
    if run is not None and (arch is not None or weights is not None):
        raise ValueError("run names the network already; leave out arch and weights, or run")
    if run is not None:
        return _open_trial(run, pick or DEFAULT_PICK, out)
    if pick is not None:
        raise ValueError(
            f"pick={pick} belongs to run=RUN; use run=RUN pick={pick}, or leave pick out"
        )

    # arch=RUN:PICK without weights is a pick, whose weights the run keeps.
    run_pick = None if arch is None or weights is not None else split_pick(arch)
    if run_pick is not None:
        return _open_trial(str(run_pick[0]), run_pick[1], out)
    return _open_file(arch, weights, out)


def _open_trial(run: str, pick: str, out: str | None) -> Source:
    folder = Path(run)
    state = load_run(folder)
    record = picks.pick(state, pick)

    # Two exports of one network would be equal, so its id is name enough.
    target = _choose_target(out, f"{folder.resolve().name}_{record.spec.arch_id}")
    check_free(target)

    try:
        # Weights are read before a folder is made: without them there is nothing to export.
        bundle = open_bundle(folder, state, record)
    except ValueError as error:
        raise ValueError(f"pick={pick}: {error}") from None

    return Source(
        bundle=bundle,
        target=target,
        headline=f"trial {record.number} of {state.name}, {record.spec.arch_id}: "
        f"{describe(record.spec)}",
        closing=describe_weights(bundle, state, record, folder),
    )


def _open_file(arch: str | None, weights: str | None, out: str | None) -> Source:
    """Open a file of weights; without arch= the file tells its architecture.

    Raises:
        ValueError: no file is named, or it does not fit.
    """
    named = None if arch is None else resolve_arch(arch)
    path = find_weights(arch, weights)
    spec = named or find_spec(path)
    target = _choose_target(out, spec.arch_id)
    check_free(target)

    # A file that says so holds a proxy's residual, whatever trained it.
    upscaler, entry = read_upscaler(spec, path)
    base = read_metadata(path).base
    net = upscaler.net if isinstance(upscaler, OverBase) else upscaler
    assert isinstance(net, Network)
    origin = arch or describe_origin(spec)
    whose = f"a proxy's residual over a {base} base" if base else "weights of a whole network"
    facts = {"arch": origin, "weights": whose, "file": Path(entry).name}
    return Source(
        bundle=Bundle(spec=spec, net=net, base=base, provenance=facts, description=describe(spec)),
        target=target,
        headline=f"{origin}, {spec.arch_id}: {describe(spec)}",
        closing=f"These are {whose}, from {entry}.",
    )


def _choose_target(out: str | None, name: str) -> Path:
    return Path(out).expanduser() if out else Path("exports") / name


def describe_weights(bundle: Bundle, state: RunState, record: TrialRecord, folder: Path) -> str:
    """Say what the weights are: whoever exports a search result may take it for finished."""
    if bundle.base is not None:
        return (
            f"These are proxy weights, after a brief training: a residual over a {bundle.base} "
            "base, which nas evaluate adds. The network has to be trained before it is used: "
            f"nas train {shlex.quote(f'arch={folder}:{record.number}')}."
        )
    trained = state.trained.get(record.spec.arch_id)
    if trained is None:
        return "These are weights of a whole network."
    proxy = (
        f"; the search's proxy came to {record.quality.psnr_db:.3f} dB" if record.quality else ""
    )
    return (
        f"These are trained weights, by recipe {trained.recipe} in {trained.steps:,} steps: "
        f"{trained.psnr_db:.3f} dB on the val images of {trained.run}{proxy}."
    )


def open_bundle(folder: Path, state: RunState, record: TrialRecord) -> Bundle:
    """Return an architecture of a run with the weights that the run keeps of it.

    Raises:
        ValueError: it keeps none, or they do not fit.
    """
    path = kept_weights(folder, state, record)
    weights, metadata = read_state(path), read_metadata(path)
    is_trained = path == trained_path(folder, record.spec)

    # A file of another origin would be exported as what it is not.
    if (metadata.base is None) != is_trained or metadata.spec != record.spec:
        whose = f"says base={metadata.base}, arch {metadata.spec and metadata.spec.arch_id}"
        raise ValueError(f"weights: {path} {whose}; it is no run's")

    # The network is built and loaded here, so that weights that do not fit are refused.
    if is_trained:
        net = build(record.spec)
        load_strict(net, weights, str(path))
    else:
        net = residual_network(record.spec, weights, str(path))
    kind = "trained weights" if is_trained else "val set, proxy weights"
    return Bundle(
        spec=record.spec,
        net=net,
        base=metadata.base,
        provenance=provenance(state, record) | _describe_training(state, record, kind),
        description=describe(record.spec),
    )


def _describe_training(state: RunState, record: TrialRecord, kind: str) -> dict[str, Any]:
    """Return what the weights are, and the training that made them where it was a whole one."""
    trained = state.trained.get(record.spec.arch_id)
    is_trained = kind == "trained weights"
    facts = {"weights": kind}
    return facts | {"training": asdict(trained)} if trained and is_trained else facts


def provenance(state: RunState, record: TrialRecord) -> dict[str, Any]:
    """Return what the run measured of a trial, by column, and how the figures are meant."""
    # Columns that are added to the table later appear here by themselves.
    row = results.table(state).set_index("number").loc[record.number]
    columns = [name for name in row.index if name not in NOT_PROVENANCE]
    values = {str(name): _to_json_value(row[name]) for name in columns}
    words = {
        "psnr_protocol": f"{PROTOCOL}; val set, proxy weights",
        "score_means": score_label(state),
    }
    lineage = {
        name: str(value)
        for name, value in state.settings.items()
        if name.partition(".")[0] in LINEAGE
    }
    return {
        "run": state.name,
        "trial": record.number,
        **values,
        **words,
        "settings": lineage,
    }


def _to_json_value(value: Any) -> Any:
    """Return a table's cell as JSON holds it; an empty one is None."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
