"""What `arch=` may name: a published network, a YAML or JSON file, or a trial of a run."""

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
from nas.search.store.runs import load_run
from nas.train.parent import ParentFile
from nas.train.weights import weights_path
from search_spaces import ArchSpec, published
from search_spaces.checkpoints.files import split_entry
from search_spaces.published import names as published_names
from search_spaces.published import report

PREFIX = "published/"


def named(texts: list[str]) -> Iterator[str]:
    """What texts name, one each: published/all is every published network, cheap ones first as reported."""
    for text in texts:
        if text == f"{PREFIX}all":
            runtimes = {
                name: report(name).get("runtime_ms", math.inf) for name in published_names()
            }
            yield from (f"{PREFIX}{name}" for name in sorted(runtimes, key=runtimes.__getitem__))
        else:
            yield text


def resolve_arch(text: str, *, key: str = "arch") -> ArchSpec:
    """The spec that a text names.

    Args:
        text: published/NAME, a file that holds a spec, by itself or under `spec`, or RUN:PICK.
        key: the key that it was given for, for messages.
    Raises:
        ValueError: it names nothing, or what it names cannot be built.
    """
    try:
        if text.startswith(PREFIX):
            return published(text.removeprefix(PREFIX))
        if run_pick := split_pick(text):
            spec = pick(load_run(run_pick[0]), run_pick[1]).spec
        else:
            spec = _read(Path(text).expanduser())
        check_buildable(spec)
    except ValueError as error:
        raise ValueError(f"{key}={part(text)}: {error}") from None
    return spec


def resolve_archs(text: str, *, key: str) -> list[ArchSpec]:
    """The specs that a text names: of each row of a CSV file with a column arch, else one.

    Raises:
        ValueError: as `resolve_arch`; or the file has no such column.
    """
    path = Path(text).expanduser()
    if path.suffix != ".csv":
        return [resolve_arch(text, key=key)]
    if not path.is_file():
        raise ValueError(f"{key}={part(text)}: there is no such file")
    place = f"{key}={part(text)}"
    header, rows = read_csv(path, place)
    if "arch" not in header:
        raise ValueError(
            f"{place}: it has no column arch, as trials.csv and front.csv of a run have"
        )
    specs = []
    for line, row in rows:
        try:
            specs.append(ArchSpec.from_json(row["arch"]))
            check_buildable(specs[-1])
        except ValueError as error:
            raise ValueError(f"{place}, line {line}: {error}") from None
    return specs


def resolve_parent(arch: str | None, weights: str | None, *, scale: int) -> ParentFile | None:
    """A trained network by `parent=` and `parent_weights=`; None where neither is given.

    Raises:
        ValueError: one is missing, there is no such file, or it is of another scale.
    """
    if arch is None:
        if weights is not None:
            raise ValueError(
                f"parent_weights={weights} needs parent=..., the architecture that it belongs to"
            )
        return None
    spec = resolve_arch(arch, key="parent")
    if spec.scale != scale:
        raise ValueError(f"parent={arch} is of scale {spec.scale}, here it is {scale}")
    if weights is not None:
        path = Path(weights).expanduser()
        if not split_entry(path)[0].is_file():
            raise ValueError(f"parent_weights={weights}: there is no such file")
        return ParentFile(spec=spec, weights=path)
    if run_pick := split_pick(arch):
        state = load_run(run_pick[0])
        return ParentFile(
            spec=spec, weights=kept_weights(run_pick[0], state, pick(state, run_pick[1]))
        )
    raise ValueError(f"parent={arch} needs parent_weights=..., its trained weights")


def split_pick(text: str) -> tuple[Path, str] | None:
    """The run directory and the pick of RUN:PICK; None where the text has another form."""
    run, colon, which = text.rpartition(":")
    if not colon or not run or "/" in which or Path(text).is_file():
        return None
    return Path(run).expanduser(), which


def kept_weights(run: Path, state: RunState, record: TrialRecord) -> Path:
    """The proxy weights that a run keeps of an architecture.

    Raises:
        ValueError: it keeps none; the message names the trials whose weights are there.
    """
    path = weights_path(run, record.spec)
    if path.is_file():
        return path
    ended = f"{record.state}: {record.error}" if record.state != "complete" else "not on the front"
    members = front_table(table(state))
    held = [
        str(member.number)
        for member in state.records
        if member.number in set(members["number"]) and weights_path(run, member.spec).is_file()
    ]
    ways = f"those of {', '.join(held)} are there" if held else "none are there"
    raise ValueError(
        f"trial {record.number} of {state.name} has no weights ({ended}); "
        f"a run keeps those of its front: {ways}"
    )


def _read(file: Path) -> ArchSpec:
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise ValueError(
            f"{what}; use {PREFIX}NAME, a YAML or JSON file that holds a spec, or RUN:PICK, where PICK is "
            f"{', '.join(WORDS)} or a trial number"
        )
    return read_spec(file)
