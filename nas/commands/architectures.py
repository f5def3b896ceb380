"""The values of `arch=`: a published network, a YAML or JSON file, or a trial of a run."""

import math
from collections.abc import Iterator
from pathlib import Path

from nas.analysis.picks import WORDS, pick
from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.cli.message import part
from nas.commands.csv_files import read_csv
from nas.commands.spec_files import read_spec
from nas.record import TrialRecord
from nas.search.feasibility import check_buildable
from nas.search.store.run_folder.runs import load_run
from nas.search.store.run_folder.trained import trained_path
from nas.train.parent import ParentFile
from nas.train.weights import weights_path
from search_spaces import ArchSpec, published
from search_spaces.checkpoints.files import split_entry
from search_spaces.published import names as published_names
from search_spaces.published import report

PREFIX = "published/"


def named(texts: list[str]) -> Iterator[str]:
    """Yield the names of single networks; published/all stands for every published one.

    These come fastest first, by the runtimes that the challenge reported.
    """
    for text in texts:
        if text == f"{PREFIX}all":
            # A network without a published runtime comes last.
            runtimes = {
                name: report(name).get("runtime_ms", math.inf) for name in published_names()
            }
            yield from (f"{PREFIX}{name}" for name in sorted(runtimes, key=runtimes.__getitem__))
        else:
            yield text


def resolve_arch(text: str, *, key: str = "arch") -> ArchSpec:
    """Return the spec that a text names.

    Args:
        text: published/NAME, a file that holds a spec, by itself or under `spec`, or RUN:PICK.
        key: the key that it was given for, for messages.
    Raises:
        ValueError: it names nothing, or what it names cannot be built.

    Example:
        >>> resolve_arch("published/span") == published("span")
        True
    """
    try:
        if text.startswith(PREFIX):
            return published(text.removeprefix(PREFIX))

        # Runs and files come from anywhere; published networks were built in a test.
        run_pick = split_pick(text)
        if run_pick is not None:
            spec = pick(load_run(run_pick[0]), run_pick[1]).spec
        else:
            spec = _read_file(Path(text).expanduser())
        check_buildable(spec)
    except ValueError as error:
        raise ValueError(f"{key}={part(text)}: {error}") from None

    return spec


def resolve_archs(text: str, *, key: str) -> list[ArchSpec]:
    """Return the specs that a text names: of each row of a CSV file, or a single one.

    Raises:
        ValueError: as `resolve_arch`; or the file has no column `arch`.
    """
    # Only the ending tells a table of architectures from a file that holds one.
    path = Path(text).expanduser()
    if path.suffix != ".csv":
        return [resolve_arch(text, key=key)]
    if not path.is_file():
        raise ValueError(f"{key}={part(text)}: there is no such file")

    place = f"{key}={part(text)}"

    # The column is what a run writes; everything else in the file is passed over.
    header, rows = read_csv(path, place)
    if "arch" not in header:
        raise ValueError(
            f"{place}: it has no column arch, as trials.csv and front.csv of a run have"
        )

    # A row is refused by its line, which an editor finds.
    specs = []
    for line, row in rows:
        try:
            specs.append(ArchSpec.from_json(row["arch"]))
            check_buildable(specs[-1])
        except ValueError as error:
            raise ValueError(f"{place}, line {line}: {error}") from None

    return specs


def resolve_parent(arch: str | None, weights: str | None, *, scale: int) -> ParentFile | None:
    """Return the trained network of `parent=` and `parent_weights=`.

    None: neither is given.

    Raises:
        ValueError: one is missing, there is no such file, or it is of another scale.
    """
    # Weights alone say nothing of the layers that they belong to.
    if arch is None:
        if weights is not None:
            raise ValueError(
                f"parent_weights={weights} needs parent=..., the architecture that it belongs to"
            )
        return None

    spec = resolve_arch(arch, key="parent")
    if spec.scale != scale:
        raise ValueError(f"parent={arch} is of scale {spec.scale}, here it is {scale}")

    # A file that is named goes before the weights that a run keeps of its pick.
    if weights is not None:
        path = Path(weights).expanduser()
        if not split_entry(path)[0].is_file():
            raise ValueError(f"parent_weights={weights}: there is no such file")
        return ParentFile(spec=spec, weights=path)

    run_pick = split_pick(arch)
    if run_pick is None:
        raise ValueError(f"parent={arch} needs parent_weights=..., its trained weights")

    # The weights are those of the very trial that the pick names.
    folder, word = run_pick
    state = load_run(folder)
    return ParentFile(spec=spec, weights=kept_weights(folder, state, pick(state, word)))


def split_pick(text: str) -> tuple[Path, str] | None:
    """Return the run directory and the pick of RUN:PICK; None where the text has another form.

    Example:
        >>> split_pick("runs/mine:best_score"), split_pick("mine.yaml")
        ((PosixPath('runs/mine'), 'best_score'), None)
    """
    run, colon, word = text.rpartition(":")
    # A file's name may hold a colon, and a Windows path does.
    if not colon or not run or "/" in word or Path(text).is_file():
        return None
    return Path(run).expanduser(), word


def kept_weights(run: Path, state: RunState, record: TrialRecord) -> Path:
    """Return the file of weights that a run keeps of an architecture.

    Those of a whole training (nas train arch=RUN:PICK) go before those of its proxy.

    Raises:
        ValueError: it keeps none; the message names the trials whose weights are there.
    """
    # Files are named by what a network computes, not by the trial that trained it.
    for path in (trained_path(run, record.spec), weights_path(run, record.spec)):
        if path.is_file():
            return path

    # A run keeps the weights of its front; some may have been deleted since.
    on_front = set(front_table(table(state))["number"])
    ended = "it was removed since" if record.number in on_front else "it is not on the front"
    if record.state != "complete":
        ended = f"{record.state}: {record.error}"
    if state.settings.get("evaluator") == "TableBackend":
        ended = "a search over a table trains nothing: only one that trains can be exported"
    kept = [
        str(member.number)
        for member in state.records
        if member.number in on_front and weights_path(run, member.spec).is_file()
    ]

    # The way out: picks that would work.
    ways = f"those of {', '.join(kept)} are there" if kept else "none are there"
    raise ValueError(
        f"trial {record.number} of {state.name} has no weights ({ended}); "
        f"a run keeps those of its front: {ways}"
    )


def _read_file(file: Path) -> ArchSpec:
    """Return the spec that a file holds.

    Raises:
        ValueError: there is no such file, or it holds none.
    """
    if not file.is_file():
        # The message lists all three forms, as a slip in one reads like another.
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise ValueError(
            f"{what}; use {PREFIX}NAME, a YAML or JSON file that holds a spec, or RUN:PICK, "
            f"where PICK is {', '.join(WORDS)} or a trial number"
        )
    return read_spec(file)
