# ruff: noqa: E501 - long lists of cases
"""Every kind of file that is stored or handed on: a good one, its changes, and who reads it."""

import csv
import io
import json
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from nas.record import Quality
from nas.search.table.log import Measured, Trained
from nas.search.table.table import Table
from tests.fuzz.mutations import change_bytes, change_data, change_record

Change = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One kind of file.

    Attributes:
        file: in the folder of good files.
        change: its data, so that the file is whole otherwise.
        commands: each reads it; {folder} stands for where it lies. A word alone is a reader.
    """

    file: str
    change: Change
    commands: tuple[str, ...]


def _change_yaml(rng: random.Random, data: bytes) -> bytes:
    changed = change_data(rng, yaml.safe_load(data))
    try:
        return yaml.safe_dump(changed, sort_keys=False).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 3000


def _change_json(rng: random.Random, data: bytes) -> bytes:
    try:
        text = json.dumps(change_data(rng, json.loads(data)))
    except (RecursionError, ValueError):
        text = "[" * 100_000
    return text.encode("utf-8", "surrogatepass")


def _change_csv(rng: random.Random, data: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode())))
    changed = change_data(rng, rows)
    text = io.StringIO()
    if not isinstance(changed, list):
        return repr(changed)[:500].encode("utf-8", "surrogatepass")
    writer = csv.writer(text)
    for row in changed:
        writer.writerow([str(cell)[:3000] if type(cell) is not int else hex(cell) for cell in row] if isinstance(row, list) else [str(row)[:3000]])  # fmt: skip
    return text.getvalue().encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"]), "replace")


def _change_parquet(rng: random.Random, data: bytes) -> bytes:
    """Change rows, columns, types, metadata or the way it is packed."""
    table = pq.read_table(io.BytesIO(data))
    kind = rng.choice(["cell", "cell", "cell", "cast", "drop", "double", "metadata", "metadata", "pack", "rows", "add", "nulls"])  # fmt: skip
    name = rng.choice(table.column_names)
    place = table.column_names.index(name)
    metadata = dict(table.schema.metadata)
    if kind == "cell":
        rows = table.column(name).to_pylist()
        at = rng.randrange(len(rows))
        near = rows[at]
        rows[at] = rng.choice([None, near, rng.choice(rows), -1, 0, float("nan"), float("inf"), 1e308, "x" * 5000, "", "\x1b"])  # fmt: skip
        try:
            column = pa.array(rows, type=table.schema.field(name).type)
        except (pa.ArrowException, TypeError):
            column = pa.array([None if row is None else str(row) for row in rows])
        table = table.set_column(place, name, column)
    elif kind == "cast":
        values = table.column(name).to_pylist()
        kinds = [
            lambda value: str(value),
            lambda value: [value],
            lambda value: {"x": value},
            lambda value: b"\xff\xfe",
            lambda value: 1.5,
            lambda value: True,
            lambda value: 3,
        ]
        cast = rng.choice(kinds)
        table = table.set_column(place, name, pa.array([cast(value) for value in values]))
    elif kind == "drop":
        table = table.drop_columns([name])
    elif kind == "double":
        table = pa.Table.from_arrays(
            [*table.columns, table.column(name)], names=[*table.column_names, name]
        )
    elif kind == "add":
        table = table.append_column(rng.choice(["x", "", "\x1b"]), pa.array([1] * len(table)))
    elif kind == "nulls":
        table = table.set_column(
            place,
            name,
            pa.nulls(len(table), rng.choice([pa.null(), table.schema.field(name).type])),
        )
    elif kind == "rows":
        start = rng.randrange(len(table))
        table = rng.choice(
            [
                lambda: table.slice(0, start),
                lambda: pa.concat_tables([table, table.slice(start, 3)]),
                lambda: pa.concat_tables([table.slice(0, start), table.slice(start + 1)]),
                lambda: table.slice(0, 0),
            ]
        )()
    elif kind == "metadata":
        facts = _change_json(rng, metadata[b"esr_nas"])
        metadata[b"esr_nas"] = facts if rng.random() < 0.8 else change_bytes(rng, facts)
        if rng.random() < 0.05:
            del metadata[b"esr_nas"]
    stream = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        stream,
        compression=rng.choice(["zstd", "none", "snappy", "gzip", "brotli", "lz4"]),
        use_dictionary=rng.random() < 0.7,
        row_group_size=rng.choice([None, 7]),
    )
    return stream.getvalue()


def _list_odd_tensors() -> list[Any]:
    """Values that stand in a checkpoint's place of weights."""
    weight = torch.zeros(4, 3, 3, 3)
    own: dict[str, Any] = {"x": weight}
    own["own"] = own
    deep: Any = {"x": weight}
    for _ in range(200):
        deep = {"state_dict": deep}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors are on their way out of torch
        quantised = torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
        compressed = torch.eye(3).to_sparse_csr()
    return [
        weight.to_sparse(), weight.to(torch.complex64), weight.half(), weight.bfloat16(), weight.double(), weight.bool(),
        weight.int(), torch.zeros(1).expand(10**12), torch.zeros(1).expand(28, 28, 3, 3), torch.full((4,), float("nan")),
        quantised, torch.empty(5, 5, device="meta"), torch.zeros(0),
        torch.zeros(2, 0, 3), torch.tensor(1.0), torch.nn.Parameter(weight), weight.to(torch.float8_e4m3fn),
        weight[0], weight.transpose(0, 1), {"a": weight}, [weight], (weight,), own, deep, None, 3, "x", b"x",
        compressed, nested, {1: weight}, {("a", 1): weight}, {"": weight},
        10**400, float("nan"), set(), torch.Size([1]), torch.float32, torch.Generator().get_state(),
    ]  # fmt: skip


def _change_torch(rng: random.Random, data: bytes) -> bytes:
    """Put something odd in the place of weights, beside them or around them."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    odd = _list_odd_tensors()
    for _ in range(rng.choice([1, 1, 2])):
        holder, key = rng.choice(list(_list_torch_places(state)))
        kind = rng.choice(["odd", "odd", "odd", "drop", "add", "wrap", "nan", "shape"])
        value = holder[key]
        if kind == "odd":
            holder[key] = rng.choice(odd)
        elif kind == "drop":
            del holder[key]
        elif kind == "add" and isinstance(holder, dict):
            holder[rng.choice(["x", "", 5, "module.x", "\x1b", "params_ema", "step", ("a",)])] = (
                rng.choice(odd)
            )
        elif kind == "wrap":
            state = {rng.choice(["params", "params_ema", "state_dict", "ema", "x"]): state}
        elif kind == "nan" and isinstance(value, torch.Tensor) and value.is_floating_point():
            holder[key] = value * float("nan")
        elif isinstance(value, torch.Tensor):
            holder[key] = rng.choice([value[None], value.flatten(), value.repeat(2, *[1] * max(0, value.ndim - 1)) if value.ndim else value])  # fmt: skip
    stream = io.BytesIO()
    try:
        torch.save(state, stream, _use_new_zipfile_serialization=rng.random() < 0.7)
    except Exception:
        return b"PK\x03\x04"
    return stream.getvalue()


def _list_torch_places(data: Any, depth: int = 8) -> Any:
    keys = list(data) if isinstance(data, dict) else range(len(data)) if type(data) is list else ()
    for key in keys if depth else ():
        yield data, key
        yield from _list_torch_places(data[key], depth - 1)


def _change_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Change the header, which is JSON, or the metadata in it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if rng.random() < 0.5 and "arch" in header.get("__metadata__", {}):
        metadata = header["__metadata__"]
        metadata["arch"] = _change_json(rng, metadata["arch"].encode()).decode(
            "utf-8", "surrogatepass"
        )
        text = json.dumps(header).encode()
    else:
        text = _change_json(rng, data[8 : 8 + length])
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


RELEASED = ("evaluate arch=published/spanf weights={folder}/released.pth",) * 9 + (
    "evaluate weights={folder}/released.pth",
)
RUN = ("report run={folder}/run", "export run={folder}/run pick=fastest out={folder}/out", "search run={folder}/run trials=7",
       "trust run={folder}/run", "evaluate arch={folder}/run:knee", "search {table} trials=1 warm_start=[{folder}/run] run={folder}/other")  # fmt: skip
TABLE = "evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000 workers=1 sampler=random"
TRAINING = ("report run={folder}/train", "train run={folder}/train")
FORMATS: Mapping[str, Format] = {
    "config": Format(file="run/.hydra/config.yaml", change=_change_yaml, commands=RUN),
    "choices": Format(file="run/.hydra/hydra.yaml", change=_change_yaml, commands=RUN),
    "environment": Format(file="run/environment.json", change=_change_json, commands=RUN),
    "journal": Format(file="run/journal.log", change=change_record, commands=RUN),
    "trust": Format(file="run/trust.jsonl", change=change_record, commands=RUN),
    "trained": Format(file="run/trained.jsonl", change=change_record, commands=RUN),
    "training_log": Format(file="train/train.jsonl", change=change_record, commands=TRAINING),
    "training_result": Format(file="train/result.json", change=_change_json, commands=TRAINING),
    "training_arch": Format(file="train/arch.json", change=_change_json, commands=TRAINING),
    "training_environment": Format(
        file="train/environment.json", change=_change_json, commands=TRAINING
    ),
    "training_config": Format(
        file="train/.hydra/config.yaml", change=_change_yaml, commands=TRAINING
    ),
    "training_checkpoint": Format(
        file="train/checkpoints/last.pt", change=_change_torch, commands=("checkpoint",)
    ),
    "table": Format(
        file="table.parquet",
        change=_change_parquet,
        commands=("table",) * 9 + ("search {table} table={folder}/table.parquet trials=1 run={folder}/other",),
    ),
    "tabulation": Format(
        file="half.jsonl",
        change=change_record,
        commands=("tabulation",),
    ),
    "space": Format(
        file="space.yaml",
        change=_change_yaml,
        commands=("spaces space={folder}/space.yaml",),
    ),
    "arch_json": Format(
        file="arch.json",
        change=_change_json,
        commands=("profile arch={folder}/arch.json measure=false",),
    ),
    "arch_yaml": Format(
        file="arch.yaml",
        change=_change_yaml,
        commands=("profile arch={folder}/arch.yaml measure=false",),
    ),
    "ranking": Format(
        file="ranking.csv", change=_change_csv, commands=("rank table={folder}/ranking.csv",)
    ),
    "start": Format(
        file="start.csv",
        change=_change_csv,
        commands=("start",) * 9 + ("search {table} trials=1 run={folder}/other start=[{folder}/start.csv]",),
    ),
    "released": Format(file="released.pth", change=_change_torch, commands=RELEASED),
    "weights": Format(
        file="weights.safetensors",
        change=_change_safetensors,
        commands=("evaluate weights={folder}/weights.safetensors",),
    ),
}  # fmt: skip


def list_results(contents: Any, table: Table) -> Iterator[Measured | Trained]:
    """Yield the results of a tabulation in which nothing is left to do, with a table's figures."""
    for arch_id, seed in contents.trainings():
        training = table.entries[arch_id].trainings[seed]
        quality = Quality(psnr_db=training.curve[-1][1], base_db=table.facts.base_db, fidelity=2000, train_seconds=training.train_seconds, restarts=0)  # fmt: skip
        yield Trained(arch_id=arch_id, seed=seed, quality=quality)
    for arch_id in contents.members:
        entry = table.entries[arch_id]
        yield Measured(arch_id=arch_id, cost=entry.cost, latency=entry.latency, seconds=1.5)
