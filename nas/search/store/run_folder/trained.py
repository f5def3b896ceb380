"""Trained weights and figures of a search's architectures, beside their trials."""

from dataclasses import asdict
from pathlib import Path

from nas.analysis.training import Trained
from nas.search.store.run_folder.run_directory import read_objects
from nas.system.files.drafts import replaced
from nas.system.files.record_file import RecordWriter, recover
from nas.system.lock_waits import hold_file
from search_spaces.spec import ArchSpec

TRAINED = "trained.jsonl"
FOLDER = "trained"  # holds the weights


def trained_path(run: Path, spec: ArchSpec) -> Path:
    """Return where the trained weights of an architecture lie in a search's folder."""
    return run / FOLDER / f"{spec.arch_id}.safetensors"


def read_trained(run: Path) -> dict[str, Trained]:
    """Return the last training of each architecture by its arch_id.

    Raises:
        DamagedFileError: a record is damaged. SchemaError: it is not what nas train writes.
    """
    found = read_objects(run / TRAINED, Trained, writer="nas train")
    return {trained.arch_id: trained for trained in found}


def add_trained(run: Path, trained: Trained, spec: ArchSpec, weights: Path) -> Trained | None:
    """Keep what a training came to beside its trial, in the place of an earlier one of it.

    Several trainings may end at once: one after the other writes.

    Args:
        run: the search's run directory.
        weights: the training's own file of them, which is copied.
    Returns:
        An earlier training that is better on the same val images, and stays; None: it is kept.
    Raises:
        OSError: it cannot be written. ValueError: what lies there is damaged.
    """
    with hold_file(run / f".{FOLDER}.lock", what=f"{run / TRAINED}"):
        earlier = read_trained(run).get(trained.arch_id)
        if earlier and earlier.val == trained.val and earlier.psnr_db > trained.psnr_db:
            return earlier
        path = trained_path(run, spec)
        with replaced(path) as draft:
            draft.write_bytes(weights.read_bytes())
        log = run / TRAINED
        if log.exists():
            recover(log)
        if earlier != trained:
            RecordWriter(log, "").append([asdict(trained)])
    return None
