"""How each case of conv_act is tiled: rules from before anything was timed, and a table above them."""

import json
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

MAX_CHANNELS = 64  # of one program; a gate that mixes channels needs all of them in one
FEW_CHANNELS = 4  # up to which the input is taken for an image and read with any strides,
MAX_COLUMNS = 128  # where all its taps are no more than this
HELD_BYTES = 40 * 1024  # of weights that the form `rows` holds in shared memory
FORMS = ("image", "tile", "loop", "rows", "separable")
ROWS_AT_ONCE = {
    2: 4,
    4: 3,
}  # blocks of the form `rows` of a height that fit a multiprocessor, by registers
WORTH_A_HEIGHT = 0.9  # of the steps of the rules' height: another one has to save a tenth
TABLE = Path(__file__).with_name("tilings.json")  # what benchmarks/kernels/tune.py timed

_cudnn: Any = torch.backends.cudnn
_products = _cudnn.conv


class Case(NamedTuple):
    """What a tiling depends on.

    Attributes:
        item_bytes: of a weight.
        epilogue: one of `EPILOGUES`, or `pixel_shuffle`.
        image: the input has few channels and any strides.
        strict: float32 as three TF32 products.
        separable: the weight is 1x1, and `kernel` that of a depthwise convolution before it.
        capability: of the GPU, such as 86 or 90.
    """

    in_channels: int
    channels: int
    kernel: int
    item_bytes: int
    epilogue: str
    image: bool
    strict: bool
    separable: bool
    capability: int

    @property
    def hopper(self) -> bool:
        """Whether the GPU is of compute capability 9.0: its matrix products read shared memory."""
        return self.capability == 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A program gives height x width pixels and block_n channels, and adds up block_k inputs a step.

    Attributes:
        form: how it adds up, one of `FORMS`; see `triton_kernels`.
        num_stages: loads that a loop has under way; of the other forms Triton makes nothing else.
    Raises:
        ValueError: a field is not what it has to be.
    """

    form: str
    height: int
    width: int
    block_k: int
    block_n: int
    num_warps: int
    num_stages: int = 1

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {self.form!r}")
        for name in ("height", "width", "block_k", "block_n", "num_warps"):
            value = getattr(self, name)
            if type(value) is not int or value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, got {value!r}")
        if type(self.num_stages) is not int or not 1 <= self.num_stages <= 8:
            raise ValueError(f"num_stages must be 1 to 8, got {self.num_stages!r}")


class Spill(NamedTuple):
    """Cases whose usual tiling does not fit the registers.

    Attributes:
        where: what they are: fields of `Case` and what `default` adds to them, each with its value.
        instead: the fields of `Config` that differ.
        seen: on which compute capabilities, under which Triton.
    """

    where: dict[str, Any]
    instead: dict[str, Any]
    seen: str


SPILLS = (  # the first that fits
    Spill(
        {"form": "image", "epilogue": "conv1x1", "item_bytes": 4, "block_n": 64},
        {"height": 2},
        "80, 86 and 120, under 3.6.0 and 3.9.0",
    ),
    Spill(
        {"form": "loop", "epilogue": "conv1x1", "item_bytes": 4, "strict": False, "block_n": 64},
        {"height": 4, "num_warps": 8},
        "80, 100 and 120, under 3.6.0: 52 -> 52 in TF32, in eight rows",
    ),
    Spill(
        {"form": "loop", "strict": True, "block_n": 32, "masks_outputs": True, "hopper": False},
        {"height": 2, "num_warps": 4},
        "80, under 3.6.0: 28 -> 28 gated; 80 and 120: 112 -> 28. Four rows: 120, under 3.7.1",
    ),
    Spill(
        {"form": "separable", "item_bytes": 4, "masks_inputs": True, "capability": 120},
        {"num_warps": 8},
        "120, under 3.9.0: 28 -> 48. Two rows of four warps: 120, under 3.7.1",
    ),
)

TUNED: dict[Case, Config] = {}  # filled by `triton.tune`, of this process alone


def precision_of(dtype: torch.dtype) -> str:
    """How float32 products are formed: as cuDNN's convolutions are set to, or in three TF32 products."""
    if dtype != torch.float32:
        return "tf32"  # has no meaning for it
    return "tf32" if _products.fp32_precision == "tf32" else "tf32x3"


def reads_image(in_channels: int, kernel: int) -> bool:
    """Whether the kernel takes its input for an image: any strides and dtype, all taps in one row."""
    return in_channels <= FEW_CHANNELS and in_channels * kernel**2 <= MAX_COLUMNS


def choose(case: Case) -> Config:
    """The tiling of a case: the timed one where there is one, else that of the rules."""
    return TUNED.get(case) or _shipped().get(case) or default(case)


def fit_image(case: Case, count: int, height: int, width: int, multiprocessors: int) -> Config:
    """The tiling of a case for images of a size: by the rules, blocks are as high as fills the GPU best.

    Args:
        count, height, width: of the map, in images and pixels.
        multiprocessors: of the GPU.
    """
    config = choose(case)
    if config.form != "rows" or config != default(case):
        return config

    def steps(rows: int) -> int:
        """Steps one after the other: waves of blocks, each of which reads its rows and two more."""
        blocks = count * -(-height // rows) * -(-width // config.width)
        return -(-blocks // (multiprocessors * ROWS_AT_ONCE[rows])) * (rows + 2)

    lower = [rows for rows in ROWS_AT_ONCE if rows < config.height]
    best = min(lower, key=steps, default=config.height)
    better = steps(best) < WORTH_A_HEIGHT * steps(config.height)
    return replace(config, height=best) if better else config


@cache
def _shipped() -> dict[Case, Config]:
    return read_table(TABLE)


def read_table(path: Path) -> dict[Case, Config]:
    """Read timed tilings, one for each case; a case that the table lacks is tiled by the rules.

    Args:
        path: JSON, a list of {"case": fields of `Case`, "config": fields of `Config`}; what else an entry
            has, such as the GPU's name and what was timed, is for people.
    Raises:
        ValueError: an entry is none, in one line that names it.
    """
    table: dict[Case, Config] = {}
    for place, entry in enumerate(_entries(path)):
        where = f"{path.name}: entry {place}"
        cure = "write the table again with benchmarks/kernels/tune.py"
        try:
            given = entry["case"]
            wanted = Case.__annotations__
            if given.keys() != wanted.keys() or any(
                type(given[name]) is not wanted[name] for name in wanted
            ):
                names = ", ".join(f"{name}: {kind.__name__}" for name, kind in wanted.items())
                raise ValueError(f"case must be {{{names}}}, got {given}")
            unknown = entry["config"].keys() - {field.name for field in fields(Config)}
            if unknown:
                raise ValueError(f"config has no {', '.join(sorted(unknown))}")
            case, config = Case(**given), Config(**entry["config"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{where}: {error}; {cure}") from None
        if case in table:
            raise ValueError(f"{where}: its case is there twice; {cure}")
        table[case] = config
    return table


def _entries(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path.name} is no JSON: {error}; write it again with benchmarks/kernels/tune.py"
        ) from None
    if not isinstance(found, list):
        raise ValueError(
            f"{path.name} must hold a list, got {type(found).__name__}; use benchmarks/kernels/tune.py"
        )
    return found


def default(case: Case) -> Config:
    """The tiling of the rules: without spills where it was compiled, see the tests."""
    config = _tile_usually(case)
    facts = case._asdict() | {
        "hopper": case.hopper,
        "form": config.form,
        "block_n": config.block_n,
        "masks_inputs": case.in_channels % config.block_k > 0,
        "masks_outputs": case.channels % config.block_n > 0,
    }
    for spill in SPILLS:
        if all(facts[name] == value for name, value in spill.where.items()):
            return replace(config, **spill.instead)
    return config


def _tile_usually(case: Case) -> Config:
    block_n = min(_power_of_two(case.channels), MAX_CHANNELS)
    if case.image:
        columns = _power_of_two(case.in_channels * case.kernel**2)
        # On 100 eight warps spilled here under 3.6.0, four of the other images under 3.7.1
        many = case.strict or block_n > 32
        warps = 4 if many and case.epilogue != "conv1x1" else 8
        return Config(
            form="image", height=8, width=16, block_k=columns, block_n=block_n, num_warps=warps
        )
    if case.separable:
        return Config(
            form="separable", height=4, width=16, block_k=16, block_n=block_n, num_warps=4
        )
    block_k = min(_power_of_two(case.in_channels), 64 if case.item_bytes == 2 else 32)
    if _fits_rows(case, block_k, block_n):
        height = 2 if case.item_bytes == 4 and case.epilogue == "conv1x1" else 4
        return Config(
            form="rows", height=height, width=64, block_k=block_k, block_n=block_n, num_warps=4
        )
    form, height, warps = "tile", 8, 8
    if case.strict:
        form, height = "loop", 2 if block_n > 32 else 8
    elif block_n > 32:
        if not case.hopper:
            form, warps = "loop", 8 if case.item_bytes == 2 else 4
    elif case.item_bytes == 4:
        height, warps = 16 if block_n == 16 else 4, 4
    elif block_k <= 32:
        warps = 4
    return Config(
        form=form, height=height, width=16, block_k=block_k, block_n=block_n, num_warps=warps
    )


def _fits_rows(case: Case, block_k: int, block_n: int) -> bool:
    """Whether a row of pixels can be read once a column of taps: on GPUs other than Hopper it spills."""
    held = 9 * block_k * block_n * case.item_bytes
    plain = (
        case.hopper and case.kernel == 3 and not case.strict and case.epilogue != "pixel_shuffle"
    )
    return plain and case.in_channels <= block_k and case.channels <= block_n and held <= HELD_BYTES


def _power_of_two(count: int) -> int:
    return max(16, 1 << (count - 1).bit_length())
