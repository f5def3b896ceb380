"""Write one architecture of a run, with the weights that the run keeps of it, into a folder.

The folder holds arch.json (the spec, and where it comes from) and the files of each format. What a
search trains is brief: the weights are a residual over a bicubic base, which safetensors alone can
hold.

Examples:
    nas export run=runs/mine
    nas export run=runs/mine pick=best_score out=exports/mine
    nas export run=runs/mine pick=17
"""

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
from nas.system.console import open_console, print_lines
from nas.train.proxy import BASE
from nas.train.weights import read_metadata, residual_network
from search_spaces.checkpoints.official import read_state

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

    # Whoever exports a search result may take it for a finished network: say that it is not.
    lines = [
        f"trial {record.number} of {state.name}, {record.spec.arch_id}: {describe(record.spec)}",
        *(f"written: {file}" for file in files),
        f"These are proxy weights, after a brief training: a residual over a {bundle.base} base, "
        "which nas evaluate adds. The network has to be trained before it is used.",
    ]
    print_lines(open_console(), lines)


def open_bundle(folder: Path, state: RunState, record: TrialRecord) -> Bundle:
    """Return an architecture of a run with the proxy weights that the run keeps of it.

    Raises:
        ValueError: it keeps none, or they do not fit.
    """
    # A file of another origin would be exported as what it is not.
    path = kept_weights(folder, state, record)
    weights = read_state(path)
    if read_metadata(path).base != BASE:
        raise ValueError(
            f"weights: {path} does not say that it is a residual over base={BASE}; it is no run's"
        )

    # The network is built and loaded here, so that weights that do not fit are refused.
    return Bundle(
        spec=record.spec,
        net=residual_network(record.spec, weights, str(path)),
        base=BASE,
        provenance=provenance(state, record),
    )


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
