# ruff: noqa: E501 - one case a line
"""Stored files, changed: one line or success alone, no hang, bounded memory, and no figure that changed unseen.

Some dozens a format in the suite; NAS_FUZZ_FILES=2000 python -m pytest tests/fuzz/test_files.py -s for more.
"""

import functools
import itertools
import json
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file

from nas.analysis import front_probability
from nas.cli import catalog, composition
from nas.cli.door import main
from nas.commands import evaluate, report, search, train, trust
from nas.commands.architectures import resolve_archs
from nas.commands.networks import open_network
from nas.commands.training.folder import read_result
from nas.report.page import render
from nas.search.session import SearchResult, SearchSession
from nas.search.store.run_folder.run_directory import read_retrained
from nas.search.store.run_folder.trained import add_trained
from nas.search.table.contents import TableContents
from nas.search.table.log import TabulationLog
from nas.search.table.table import Table, find_table
from nas.search.table.tabulation import assemble_table
from nas.system.files.record_file import frame
from nas.train.run.checkpoint import read_checkpoint
from nas.train.weights import weights_path
from search_spaces import build, published
from search_spaces.spaces.span import SpanSpace
from tests.fuzz.formats import FORMATS, TABLE, list_results
from tests.fuzz.mutations import change_bytes
from tests.fuzz.watch import Watch
from tests.nas.commands.test_strangers_files import SPACE
from tests.search_spaces.tiny import tiny_spec

COUNT = int(os.environ.get("NAS_FUZZ_FILES", "10"))  # of each format
MAX_SECONDS = 20
MAX_BYTES = 4 * 2**30  # of memory, beyond what the process holds at the start
RESULTS = ("run/trials.csv", "run/front.csv", "run/recovered/trials.csv")


@pytest.fixture(scope="module")
def good_files(tmp_path_factory, pictures) -> Path:
    """One good file of each format."""
    folder: Path = tmp_path_factory.mktemp("good")
    run = folder / "run"
    assert main(["search", *TABLE.replace("random", "cost_aware").split(), "trials=7", "confirm=1", f"run={run}"]) == 0  # fmt: skip
    state = pd.read_csv(run / "trials.csv")
    lines = [
        {"number": int(row.number), "arch_id": row.arch_id, "fidelity": 2000, "psnr_db": row.psnr_db, "steps": steps, "long_psnr_db": row.psnr_db + 0.3, "seconds": 9.5}
        for steps in (8000, 40000) for row in state.itertuples()
    ]  # fmt: skip
    lines[0] = {"format": 1, "config": "", **lines[0]}
    (run / "trust.jsonl").write_bytes(b"".join(map(frame, lines, range(len(lines)))))
    shutil.copy(run / "trials.csv", folder / "start.csv")
    shutil.copy(run / "trials.csv", folder / "before.csv")
    for name in ("report.html", "trials.csv", "front.csv"):
        (run / name).unlink()

    span = published("span")
    (folder / "arch.json").write_text(span.to_json())
    (folder / "arch.yaml").write_text(json.dumps(published("spanv2").to_dict(), indent=1))
    shutil.copy(find_table("esr_bench_mini"), folder / "table.parquet")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "ranking.csv").write_text("team,psnr_db,runtime_ms,params_m,flops_g\na,26.95,5.2,0.139,9.11\nb,26.9,7.74,0.151,9.83\n")  # fmt: skip
    net = build(published("spanf"))
    torch.save({"params": net.state_dict(), "epoch": 3}, folder / "released.pth")
    (run / "weights").mkdir()
    for target, name in ((folder / "weights.safetensors", "spanf"),):
        save_file(net.state_dict(), target, metadata={"arch": published(name).to_json()})
    _begin_tabulation(folder)
    _train_briefly(folder, pictures)
    return folder


def _train_briefly(folder: Path, pictures: Path) -> None:
    """Train a tiny network for some steps, and note the same beside a trial of the search."""
    tiny = tiny_spec()
    (folder / "tiny.json").write_text(tiny.to_json())
    data = f"data=folder data.train={pictures}/train data.val={pictures}/val device=cpu"
    keys = (
        f"recipe=short recipe.smoke=true validations=1 run={folder}/train arch={folder}/tiny.json"
    )
    assert main(["train", *keys.split(), *data.split()]) == 0
    result = read_result(folder / "train")
    assert result
    for arch_id in ("0123456789ab", pd.read_csv(folder / "before.csv")["arch_id"].iloc[1]):
        other = replace(result, arch_id=arch_id, on_same_val=True)
        add_trained(folder / "run", other, tiny, weights_path(folder / "train", tiny))


def _begin_tabulation(folder: Path) -> None:
    """Write the log of a table in which nothing is left to do."""
    log = TabulationLog(folder / "half.jsonl", {"proxy.steps": 2000})
    for result in list_results(_list_contents(), Table.load(find_table("esr_bench_mini"))):
        log.add(result)


@functools.cache
def _list_contents() -> TableContents:
    options = yaml.safe_load(catalog.text("space/esr_bench_mini").replace("${scale}", "4"))
    space = SpanSpace(**{name: value for name, value in options.items() if name != "_target_"})
    return TableContents.of(
        space, ladder_sizes=["8x1", "20x4"], num_seeds=1, num_repeated=0, scale=4, seed=0
    )


def read_tabulation(file: Path) -> None:
    """Read a tabulation log as `nas tabulate` does, and make its table."""
    log = TabulationLog(file, {"proxy.steps": 2000})
    contents = _list_contents()
    if (
        contents.members.keys() - log.measured.keys()
        or set(contents.trainings()) - log.trained.keys()
    ):
        raise ValueError("it would train and measure what is missing")
    assemble_table(contents, log, fidelities=(2000,), settings={}, environment={})


READERS: dict[str, Callable[[Path], object]] = {
    "checkpoint": read_checkpoint,
    "tabulation": read_tabulation,
    "table": Table.load,
    "start": lambda file: resolve_archs(str(file), key="start"),
}


@pytest.fixture
def bounds() -> Iterator[None]:
    """Limits of memory and of time for each call."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + MAX_BYTES, before[1]))

    def stop(*_: object) -> None:
        raise AssertionError(f"took more than {MAX_SECONDS} s")

    handler = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def light(monkeypatch) -> None:
    """Commands up to the point at which images would be read, networks trained or a page drawn."""

    def read_weights(*, arch: str | None, weights: str | None, **_: Any) -> None:
        open_network(arch, weights)

    def end_search(session: SearchSession, study: Any, *_: Any) -> SearchResult:
        return SearchResult(state=study.state, folder=Path(), reason="not begun")

    def end_training(*_: Any) -> None:
        raise ValueError("run: it would train")

    def end_trust(run: Path, *_: Any, **__: Any) -> tuple[Any, ...]:
        return read_retrained(run)

    monkeypatch.setattr(evaluate, "run", functools.wraps(evaluate.run)(read_weights))
    monkeypatch.setattr(SearchSession, "_search", end_search)
    monkeypatch.setattr(trust, "retrain", end_trust)
    monkeypatch.setattr(train, "open_training", end_training)
    monkeypatch.setattr(front_probability, "DRAWS", 10)
    _compose_once(monkeypatch)

    # Every tenth page is drawn.
    draws = itertools.count()

    def render_some(state: Any) -> str:
        return render(state) if next(draws) % 10 == 0 else ""

    for module in (report, trust, search):
        monkeypatch.setattr(module, "render", render_some)


def _compose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose the defaults of each command once: most of the time is Hydra's."""
    compose = composition._compose_config
    defaults = functools.cache(lambda command: compose(command, {}, {}))

    def compose_once(command: str, overrides: Any, keys: Any) -> Any:
        return compose(command, overrides, keys) if overrides else defaults(command)

    monkeypatch.setattr(composition, "_compose_config", compose_once)


@pytest.mark.parametrize("way", ["bytes", "data"])
@pytest.mark.parametrize("name", FORMATS)
def test_changed_files_are_read_or_refused(watch, light, bounds, good_files, name, way):
    found, rng = FORMATS[name], random.Random(f"{name} {way}")
    good = (good_files / found.file).read_bytes()
    before = pd.read_csv(good_files / "before.csv")
    for number in range(COUNT):
        folder = Path(f"case{number}")
        _copy_needed(good_files, folder, found.file)
        changed = (change_bytes if way == "bytes" else found.change)(rng, good)
        (folder / found.file).write_bytes(changed)
        signal.alarm(MAX_SECONDS)
        command = rng.choice(found.commands)
        if command in READERS:
            read = functools.partial(READERS[command], folder / found.file)
            watch.read(read, (ValueError, OSError), changed[:300])
        else:
            watch.call(*command.format(folder=folder, table=TABLE).split())
        if name == "journal" and way == "bytes" and command.startswith("report"):
            _compare_tables(watch, folder, before)
        signal.alarm(0)
        if KEEP and len(watch.faults()) > KEEP[0]:
            KEEP[0] = len(watch.faults())
            shutil.copytree(
                folder, Path(KEEP_FOLDER) / f"{name}_{way}_{number}", dirs_exist_ok=True
            )
        shutil.rmtree(folder)
    print(f"\n{watch.report(f'{name}, {way}')}")
    assert watch.faults() == [], "\n".join(watch.faults()[:40])


KEEP_FOLDER = os.environ.get("NAS_FUZZ_KEEP", "")
KEEP = [0] if KEEP_FOLDER else []


def _copy_needed(good: Path, folder: Path, file: str) -> None:
    """Copy the run that a file is of, or the file's folder alone."""
    folder.mkdir()
    for name in ("run", "train"):
        if file.startswith(f"{name}/"):
            shutil.copytree(good / name, folder / name)
    if file.startswith("run/.hydra"):  # what was changed is read, not refused for its hash
        journal = folder / "run/journal.log"
        lines = journal.read_bytes().splitlines(keepends=True)
        header = {
            name: value
            for name, value in json.loads(lines[0]).items()
            if name not in ("record", "crc")
        }
        journal.write_bytes(frame({**header, "config": ""}, 0) + b"".join(lines[1:]))


def _compare_tables(watch: Watch, folder: Path, before: pd.DataFrame) -> None:
    """Note figures that are not those that the search wrote."""
    for name in RESULTS:
        if not (folder / name).exists():
            continue
        rows = pd.read_csv(folder / name)
        shared = [
            column for column in ("arch", "psnr_db", "runtime_ms", "params") if column in rows
        ]
        both = rows[["number", *shared]].merge(before[["number", *shared]])
        if len(both) != len(rows):
            watch.answers.append(f"{name}: figures changed unseen")
