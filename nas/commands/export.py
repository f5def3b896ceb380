"""Write one architecture of a run, with the weights that the run keeps of it, into a folder.

The folder holds arch.json (the spec, and where it comes from) and the files of each format. Where
nas train arch=RUN:PICK has trained the architecture, its weights are taken. What a search trains is
brief: then the weights are a residual over a bicubic base, which safetensors alone can hold.

Examples:
    nas export run=runs/mine
    nas export run=runs/mine pick=best_score out=exports/mine
    nas export run=runs/mine pick=17
"""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from nas.analysis import picks, results
from nas.analysis.run_state import RunState
from nas.commands.architectures import kept_weights
from nas.export.bundle import Bundle, Exporter, check_free, export
from nas.measure.quality import PROTOCOL
from nas.record import TrialRecord
from nas.report.words import describe, score_label
from nas.search.store.run_folder.runs import load_run
from nas.search.store.run_folder.trained import trained_path
from nas.system.console import open_console, print_lines
from nas.train.weights import read_metadata, residual_network
from search_spaces.checkpoints.official import load_strict, read_state
from search_spaces.network import build

# Columns that say nothing here: the spec stands beside them, and only complete rows have weights.
NOT_PROVENANCE = ("arch", "arch_id", "state", "error")


def run(*, run: str, pick: str, formats: dict[str, Exporter], out: str | None) -> None:
    """Pick an architecture, write its folder and print the files."""
    folder = Path(run)
    state = load_run(folder)
    record = picks.pick(state, pick)

    # Two exports of one network would be equal, so its id is name enough.
    name = f"{folder.resolve().name}_{record.spec.arch_id}"
    target = Path(out).expanduser() if out else Path("exports") / name
    check_free(target)

    try:
        # Weights are read before a folder is made: without them there is nothing to export.
        bundle = open_bundle(folder, state, record)
    except ValueError as error:
        raise ValueError(f"pick={pick}: {error}") from None

    files = export(bundle, formats, target)

    lines = [
        f"trial {record.number} of {state.name}, {record.spec.arch_id}: {describe(record.spec)}",
        *(f"written: {file}" for file in files),
        describe_weights(bundle, state, record, folder),
    ]
    print_lines(open_console(), lines)


def describe_weights(bundle: Bundle, state: RunState, record: TrialRecord, folder: Path) -> str:
    """Say what the weights are: whoever exports a search result may take it for a finished network."""
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
    return {"run": state.name, "trial": record.number, **values, **words}


def _to_json_value(value: Any) -> Any:
    """Return a table's cell as JSON holds it; an empty one is None."""
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
