# ruff: noqa: E501 - long lists of cases
"""Inputs that nobody should send: seeded mutations of real ones, and what strangers are known to try."""

import copy
import csv
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from nas.cli import catalog
from nas.system.files.record_file import frame
from search_spaces.published import entry, names
from tests.fuzz.watch import CANARY

COMMANDS = ("search", "search", "search", "profile", "rank", "spaces", "evaluate", "export", "data", "train",
            "tabulate", "trust", "report", "nonsense")  # fmt: skip
EVIL = ({"_target_": "os.system", "command": "true"}, {"_target_": f"{CANARY}.Space"}, {"_target_": ["os.system"]},
        {"_target_": 5}, {"_target_": "nas.score.Gate"}, {"_partial_": True}, {"_args_": ["true"], "_target_": "os.system"},
        {"_target_": "search_spaces.spaces.span.SpanSpace"}, {"_target_": f"{CANARY}"}, {"_target_": "builtins.exec"})  # fmt: skip
WORDS = ("", "null", "true", "~", "???", "_", "a", "ä", "字", "\x1b[31m", "\r\n", "\u202e", "\ud800", "\0", "%", "'", '"', "\\",
         "${scale}", "${run}", "${oc.env:HOME}", "${hydra:runtime.cwd}", "${.x}", "${", "}", "${a.${b}}", "[", "]", "{", "}", "(",
         "[" * 500, "{a:" * 300, "[[[[[" * 30 + "]" * 20, "x" * 20_000, "1e999", "-1e999", "nan", "inf", "-inf", "9" * 400, "9" * 5000,
         "0x1f", "1_000", "1:30", "1,2", "a,b,c", "range(3)", "choice(a,b)", "glob(*)", "sort(1,2)", "int(3)", "-1", "0", "1.5", "1e-320",
         "[1,[2,[3]]]", "{a:{b:{c:1}}}", "a: b", "# x", "!!python/object/apply:os.system", "*a", "&a", "<<", "..", "/", "/dev/zero",
         "/dev/null", "/proc/self/mem", "nowhere.yaml", "published/span", "published/", "published/../span", "x:knee", ":", "file://x",
         "@package", "builtin", "tpe", "gp", "folder", "['a (1)',b]", "2" * 40, "-0", "+1", ".5", "5.", "٣", "1e5e5", "\u00ad", "\t")  # fmt: skip
OPTIONS = ("-m", "--multirun", "--trials", "--trials=5", "-c", "job", "--cfg", "--config-name=x", "-cd", "--info", "5", "trials",
           "+trials=5", "++trials=5", "~trials", "~", "+", "=", "==", "=5", "--", "-", "--version", "", " ", "a b=c", "trials =5",
           "hydra.run.dir=/tmp", "hydra=x", "hydra/launcher=x", "_target_=os.system", "space._target_=os.system",
           "space/x=y", "space@y=span", "+space@x=span", "limits._target_=os.system", "sampler={_target_:os.system,command:true}",
           "data.sources.x._target_=os.system", "data={_target_:os.system}", "start=[{_target_:os.system,command:true}]")  # fmt: skip
GOOD = ("trials=3", "hours=0.5", "space=spanv2", "space=esr", "sampler=tpe", "proxy.steps=10", "limits.params=150e3", "seed=7", "scale=2",
        "run=r", "objectives=[params,flops]", "data=folder", "data.train=x", "challenge=ntire2025", "latency.sizes=[[8,8]]", "out=x.parquet",
        "table=esr_bench_mini", "arch=published/span", "weights=w.pth", "device=cpu", "space.channels=[8,16]", "start=[published/spanf]")  # fmt: skip
VALUES = (None, True, False, 0, 1, -1, 2, 10**9, 10**30, 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan"), "", "x", "x" * 5000,
          "\x1b[2J", "${scale}", "${oc.env:HOME}", "$channels", "$nowhere", "$channels/0", "$channels*99999", [], {}, [[]], [1, 2], ["x"],
          [None], {"kind": "conv"}, {"a": 1}, "stem", "last", "block1", "conv", "group", "identity", "pixel_shuffle", "none")  # fmt: skip


def keys() -> list[str]:
    """Every dotted key of the configuration, and its groups."""
    found = {
        "space",
        "sampler",
        "proxy",
        "fidelity",
        "data",
        "latency",
        "challenge",
        "evaluator",
        "engine",
        "formats",
    }
    for folder in ("commands", *sorted(found)):
        for option in catalog.options(folder):
            found |= set(catalog.comments(f"{folder}/{option}"))
    return sorted(found)


def overrides(rng: random.Random, known: list[str]) -> list[str]:
    """A command line: a command and a few arguments, some of them as they should be."""
    arguments = [rng.choice(COMMANDS)]
    for _ in range(rng.randint(1, 3)):
        draw = rng.random()
        if draw < 0.4:
            arguments.append(rng.choice(GOOD))
        elif draw < 0.5:
            arguments.append(rng.choice(OPTIONS))
        elif draw < 0.9:
            arguments.append(f"{rng.choice(known)}={_value(rng)}")
        else:
            arguments.append(_garbled(rng, f"{rng.choice(known)}={_value(rng)}"))
    return arguments


def _value(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(WORDS)
    if draw < 0.8:
        return "".join(rng.choice(WORDS)[:30] for _ in range(rng.randint(2, 4)))
    if draw < 0.9:
        return "[" + ",".join(rng.choice(WORDS)[:30] for _ in range(rng.randint(0, 4))) + "]"
    inner = ",".join(f"{key}:{value}" for key, value in rng.choice(EVIL).items())
    return rng.choice(["{%s}", "[{%s}]", "{a:{%s}}", "[[{%s}]]"]) % inner


def _garbled(rng: random.Random, text: str) -> str:
    marks = list(text)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(marks) + 1)
        marks[place : place + rng.randint(0, 2)] = rng.choice(
            ["", "=", ".", "[", "'", "\x00", "\x1b", "\ud83d", " ", ",", "@", "$"]
        )
    return "".join(marks)


def mutated(rng: random.Random, data: Any) -> Any:
    """Plain data with a few places changed: another value, a part of it elsewhere, gone, doubled, or evil."""
    data = copy.deepcopy(data)
    mild = rng.random() < 0.4  # numbers alone: much of it is still a network
    for _ in range(rng.randint(1, 3)):
        holders = list(_holders(data))
        holder = rng.choice(holders)
        place = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        draw = rng.random()
        if (mild or draw < 0.7) and type(holder[place]) is int:
            holder[place] = rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 32, 48, 100, 1024, -1])
        elif mild:
            continue
        elif draw < 0.5:
            holder[place] = copy.deepcopy(rng.choice(VALUES))
        elif draw < 0.6:
            holder[place] = copy.deepcopy(rng.choice(EVIL))
        elif draw < 0.7:
            holder[place] = copy.deepcopy(rng.choice(holders))
        elif draw < 0.8:
            del holder[place]
        elif draw < 0.9 and isinstance(holder, dict):
            holder[
                rng.choice(["_target_", "defaults", "hydra", "x", "", "kind", "\x1b", "y" * 500])
            ] = rng.choice(VALUES)
        else:
            holder[place] = _nested(rng, holder[place])
    return data


def _nested(rng: random.Random, value: Any) -> Any:
    if rng.random() < 0.3:
        return [value] * rng.choice([2, 300, 3000])
    for _ in range(rng.choice([2, 10, 60, 150])):
        value = [value] if rng.random() < 0.5 else {"kind": "group", "blocks": [value]}
    return value


def _holders(data: Any) -> list[Any]:
    """The lists and mappings that hold something, to some depth."""
    found, level = [], [data]
    for _ in range(12):
        level = [one for one in level if isinstance(one, dict | list) and one][:200]
        found += level
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return found or [{"x": data}]


def written(rng: random.Random, data: Any) -> bytes:
    """Data as a YAML or JSON file, some of them with tags, aliases, keys twice, or a few bytes changed."""
    try:
        text = json.dumps(data) if rng.random() < 0.3 else yaml.safe_dump(data)
    except (RecursionError, ValueError, yaml.YAMLError):
        text = "[" * 3000
    draw = rng.random()
    if draw < 0.1:
        text += rng.choice(["\n? [a]\n: b", "\ntrue: 5", "\n1: 2", "\nscale: 4\nscale: 4", "\nx: !!python/name:os.system",
                            "\nx: !!python/object/apply:os.system [true]", "\nx: &a [*a]", "\nx: *nowhere", "\n--- y", "\n\t", "\n# @package _global_",
                            "\nx: &x [1,1,1,1,1,1,1,1]\n" + "".join(f"y{i}: &y{i} [{','.join([f'*y{i - 1}' if i else '*x'] * 9)}]\n" for i in range(9)),
                            "\ndefaults: [/space: span]", "\nhydra: {run: {dir: /tmp}}", "\n<<: {a: 1}", "\nz: {<<: 5}"])  # fmt: skip
    found = text.encode("utf-8", "surrogatepass")
    return damaged(rng, found) if rng.random() < 0.25 else found


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Bytes of which some are changed, gone, doubled, or cut off."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not found:
            break
        place, draw = rng.randrange(len(found)), rng.random()
        if draw < 0.5:
            found[place] = rng.randrange(256)
        elif draw < 0.65:
            del found[place : place + rng.randint(1, 64)]
        elif draw < 0.8:
            found[place:place] = found[place : place + rng.randint(1, 64)]
        elif draw < 0.9:
            found[place : place + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80"]
            )
        else:
            del found[place:]
    return bytes(found)


def specs() -> list[dict[str, Any]]:
    return [entry(name)["spec"] for name in names()]


def spaces() -> list[dict[str, Any]]:
    """The spaces of conf/, as a user would copy them."""
    return [yaml.safe_load(catalog.text(f"space/{name}")) for name in catalog.options("space")]


def tables(rng: random.Random) -> bytes:
    """A table for nas rank, with cells, separators and encodings as they come."""
    columns = ["team", "psnr_db", "runtime_ms", "params_m", "flops_g"]
    rng.shuffle(columns)
    cells = [*WORDS, "26.95", "5.2", "0.139", "9.11", "26,95", "1,000", "5.2 ms"]
    stream = io.StringIO()
    writer = csv.writer(
        stream,
        delimiter=rng.choice(",,,;\t|"),
        quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    writer.writerow([name if rng.random() < 0.95 else rng.choice(WORDS)[:300] for name in columns])
    for _ in range(rng.randint(0, 4)):
        writer.writerow(
            [
                rng.choice(cells)[:2000] if rng.random() < 0.1 else "7.5"
                for _ in range(rng.choice([5, 5, 5, 4, 6]))
            ]
        )
    text = stream.getvalue().encode(
        rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]), "replace"
    )
    return damaged(rng, text) if rng.random() < 0.3 else text


class Runs:
    """Writes `true` to a shell when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.system, ("true",)


def checkpoints(rng: random.Random) -> tuple[str, bytes]:
    """The name and the bytes of a checkpoint: wrapped, mixed with other things, damaged, or evil."""
    state: dict[Any, Any] = {"a.weight": torch.zeros(2, 3, 3, 3), "a.bias": torch.zeros(2)}
    odd = [1, None, "x", [torch.zeros(1)], {"x": torch.zeros(1)}, torch.tensor(float("nan")), np.zeros(3), np.float64(2), Runs(),
           torch.zeros(3, dtype=torch.complex64), torch.zeros(0), torch.zeros(2).to_sparse(), torch.zeros(1).expand(10**12), {"params": {"params": {}}}]  # fmt: skip
    for _ in range(rng.randint(0, 2)):
        state[rng.choice(["b", "", 5, "module.c", "\x1b", "params", "n_averaged", ("a",)])] = (
            rng.choice(odd)
        )
    whole: Any = state
    for _ in range(rng.randint(0, 3)):
        whole = {
            rng.choice(["params", "params_ema", "state_dict", "ema", "x", "net_g", "model"]): whole
        }
        if rng.random() < 0.3:
            whole[rng.choice(["epoch", "optimizer", "params", "ema"])] = rng.choice(odd)
    if rng.random() < 0.4:
        plain = {
            str(key): value.clone()
            for key, value in state.items()
            if isinstance(value, torch.Tensor)
            and value.layout == torch.strided
            and value.numel() < 100
        }
        data = save(plain, metadata={"arch": rng.choice(["{}", "x", "[" * 5000])})
        name = "w.safetensors"
    else:
        stream = io.BytesIO()
        torch.save(
            rng.choice([whole, whole, whole, odd[0], [state], odd[8]]),
            stream,
            _use_new_zipfile_serialization=rng.random() < 0.7,
        )
        data, name = stream.getvalue(), "w.pth"
    return name, damaged(rng, data) if rng.random() < 0.5 else data


def images(rng: random.Random) -> tuple[str, bytes]:
    """The name and the bytes of an image of some kind, most of them damaged."""
    mode = rng.choice(["RGB", "RGB", "RGB", "L", "P", "RGBA", "LA", "I;16", "CMYK", "1", "F"])
    end = rng.choice(["png", "jpg", "bmp", "webp", "tiff"])
    pixels = Image.fromarray(
        np.random.default_rng(rng.randrange(99)).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    )
    stream = io.BytesIO()
    try:
        pixels.convert("L").convert(mode).save(stream, format={"jpg": "jpeg"}.get(end, end))
    except (OSError, ValueError, KeyError):
        pixels.save(stream, format="png")
    data = stream.getvalue()
    return f"x.{rng.choice([end, end, 'png'])}", data if rng.random() < 0.1 else damaged(rng, data)


def stored_run(rng: random.Random, base: Path, run: Path) -> None:
    """Files of a downloaded run, one or two of them changed; `base` holds them as a search wrote them."""
    for path in sorted(base.rglob("*")):
        if path.is_file():
            target = run / path.relative_to(base)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (run / ".hydra/overrides.yaml").write_text(
        yaml.safe_dump(["start=[{_target_:os.system,command:'true'}]"])
    )
    config = run / ".hydra/config.yaml"
    config.write_bytes(written(rng, mutated(rng, yaml.safe_load(config.read_text()))))
    environment = run / "environment.json"
    if rng.random() < 0.3:
        environment.write_bytes(written(rng, mutated(rng, json.loads(environment.read_bytes()))))
    for name in ("trust.jsonl", "journal.log"):
        path = run / name
        if rng.random() < 0.3 and path.exists():
            path.write_bytes(_line_changed(rng, path.read_bytes()))


def _line_changed(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    try:
        changed = mutated(rng, json.loads(lines[place]))
        # Half of them with a checksum that fits: a stranger's file.
        signed = isinstance(changed, dict) and rng.random() < 0.5
        lines[place] = frame(changed, place) if signed else json.dumps(changed).encode() + b"\n"
    except (ValueError, RecursionError, TypeError):
        lines[place] = damaged(rng, lines[place])
    return b"".join(lines)


def archive(rng: random.Random) -> bytes:
    """A zip archive that is no checkpoint, with an evil pickle in its place."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(
            "archive/data.pkl",
            rng.choice(
                [b"cos\nsystem\n(S'true'\ntR.", b"\x80\x02.", b"", b"\x80\x04\x95" + b"\xff" * 8]
            ),
        )
        file.writestr("archive/version", b"3")
    return stream.getvalue()
