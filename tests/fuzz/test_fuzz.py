# ruff: noqa: E501 - one case a line
"""Seeded inputs of every kind: no traceback, one readable line, no code run, nothing written elsewhere.

Some hundred in the suite; NAS_FUZZ=10000 python -m pytest tests/fuzz -s for more.
"""

import functools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.cli import composition
from nas.cli.door import main
from nas.commands import data, evaluate, export, profile, search, spaces, tabulate, trust
from nas.commands.architectures import named, resolve_arch
from nas.commands.export_sources import open_source
from nas.commands.networks import open_network
from nas.data.pixels.images import ImageError, read_image, read_size
from nas.search.config import SearchConfig
from nas.search.feasibility import check_members
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.resuming import inspect_folder
from nas.search.store.run_folder.runs import load_run
from nas.system.files.record_file import frame
from search_spaces.checkpoints.official import read_state
from tests.fuzz import inputs
from tests.fuzz.watch import Watch

COUNT = int(os.environ.get("NAS_FUZZ", "500"))
SHARES = {
    "overrides": 0.3,
    "specs": 0.15,
    "spaces": 0.1,
    "runs": 0.1,
    "checkpoints": 0.15,
    "tables": 0.1,
    "images": 0.1,
}


@pytest.fixture
def light(monkeypatch):
    """Commands up to the point before heavy work: what they read is read, nothing is trained or timed."""

    compose = composition._compose_config
    defaults = functools.cache(lambda command: compose(command, {}, {}))

    def compose_once(command: str, overrides: Any, keys: Any) -> Any:
        return compose(command, overrides, keys) if overrides else defaults(command)

    monkeypatch.setattr(composition, "_compose_config", compose_once)  # most of the time is Hydra's

    def replace(module: Any, body: Callable[..., object]) -> None:
        run = module.run
        monkeypatch.setattr(
            module, "run", functools.wraps(run)(lambda **parts: body(**parts) and None)
        )

    monkeypatch.setattr(search, "run", _read_search)
    replace(spaces, lambda *, space=None, **_: space is not None and check_members(space))
    replace(tabulate, lambda *, space, **_: check_members(space))
    replace(
        profile,
        lambda *, arch, **_: [
            resolve_arch(one) for one in named([arch] if isinstance(arch, str) else arch)
        ],
    )
    replace(trust, lambda *, run, **_: (load_run(Path(run)), search.read_stored_config(Path(run))))
    replace(
        evaluate,
        _read_evaluate,
    )
    replace(export, _read_export)
    replace(data, lambda **_: None)


def _read_evaluate(*, arch: str | None, weights: str | None, **_: Any) -> None:
    open_network(arch, weights)


def _read_search(config: SearchConfig) -> None:
    check_members(config.space)
    if config.run and run_directory.exists(config.run):
        inspect_folder(config.run, config.composed.config)
        run_directory.read_environment(config.run)
        load_run(config.run)
    for earlier in config.prior.warm_start:
        load_run(earlier)


def _read_export(*, formats: Any, invocation: Any, **named: str | None) -> None:
    open_source(**named)


def _count(kind: str) -> int:
    return max(1, round(COUNT * SHARES[kind]))


def _finish(watch: Watch, kind: str) -> None:
    print(f"\n{watch.report(kind)}")
    assert watch.faults() == [], "\n".join(watch.faults()[:20])


def test_overrides_are_taken_or_refused(watch, light):
    rng, known = random.Random(1), inputs.keys()
    for _ in range(_count("overrides")):
        watch.call(*inputs.overrides(rng, known))
    _finish(watch, "overrides")


def test_specs_are_taken_or_refused(watch, light):
    rng, known = random.Random(2), inputs.specs()
    for _ in range(_count("specs")):
        file = Path(f"arch{rng.choice(['.yaml', '.json', '.txt'])}")
        file.write_bytes(inputs.written(rng, inputs.mutated(rng, rng.choice(known))))
        watch.call("profile", f"arch={file}", "measure=false")
    _finish(watch, "specs")


def test_spaces_are_taken_or_refused(watch, light):
    rng, known = random.Random(3), inputs.spaces()
    for _ in range(_count("spaces")):
        Path("mine.yaml").write_bytes(inputs.written(rng, inputs.mutated(rng, rng.choice(known))))
        watch.call(
            rng.choice(["spaces", "search", "tabulate"]),
            "space=mine.yaml",
            *(["out=t.parquet"] if rng.random() < 0.3 else []),
        )
    _finish(watch, "spaces")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A run over the table that ships, as a search wrote it."""
    run = tmp_path_factory.mktemp("small") / "run"
    given = "evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000 workers=1 trials=4"
    assert main(["search", *given.split(), "sampler=random", f"run={run}"]) == 0
    (run / "trust.jsonl").write_bytes(
        frame(
            {
                "format": 1,
                "config": "",
                "number": 1,
                "arch_id": "a",
                "fidelity": 1,
                "psnr_db": 1.0,
                "steps": 2,
                "long_psnr_db": 1.0,
                "seconds": 1.0,
            },
            0,
        )
    )
    for path in [*run.glob("*.csv"), run / "report.html"]:
        path.unlink()
    return run


def test_stored_runs_are_read_or_refused(watch, light, small_run):
    rng = random.Random(4)
    for i in range(_count("runs")):
        inputs.stored_run(rng, small_run, Path(f"run{i}"))
        command = rng.choice(["search", "search", "trust", "export", "evaluate", "report"])
        key = "arch" if command == "evaluate" else "run"
        watch.call(
            command,
            f"{key}=run{i}" + (":knee" if key == "arch" else ""),
            *(["trials=9"] if command == "search" else []),
        )
    _finish(watch, "runs")


def test_checkpoints_are_read_or_refused(watch):
    rng = random.Random(5)
    for _ in range(_count("checkpoints")):
        name, content = (
            inputs.checkpoints(rng) if rng.random() < 0.95 else ("w.pth", inputs.archive(rng))
        )
        Path(name).write_bytes(content)
        watch.read(
            functools.partial(read_state, name),
            (ValueError, FileNotFoundError),
            (name, content[:200]),
        )
    _finish(watch, "checkpoints")


def test_tables_are_ranked_or_refused(watch, light):
    rng = random.Random(6)
    for _ in range(_count("tables")):
        Path("t.csv").write_bytes(inputs.tables(rng))
        watch.call("rank", "table=t.csv", "out=ranked.csv")
    _finish(watch, "tables")


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow's own remarks on a damaged file
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_are_read_or_refused(watch):
    rng = random.Random(7)
    for _ in range(_count("images")):
        name, content = inputs.images(rng)
        Path(name).write_bytes(content)
        for reader in (read_size, read_image):
            watch.read(functools.partial(reader, Path(name)), (ImageError,), (name, content[:200]))
    _finish(watch, "images")


def test_the_watch_hears_what_must_not_happen(watch, tmp_path_factory):
    """Else the tests above hold whatever happens."""
    outside = tmp_path_factory.mktemp("outside") / "x"
    watch.read(lambda: os.system("true"), (ValueError,), "system")
    watch.read(lambda: outside.write_text("x"), (ValueError,), "write")
    watch.read(lambda: {}["x"], (ValueError,), "bug")
    watch.judge("two\nlines", "answer")
    watch.judge("x" * 301, "answer")
    assert (len(watch.code), len(watch.writes), len(watch.tracebacks), len(watch.answers)) == (
        1,
        1,
        1,
        2,
    )
