"""The Triton kernels of the attentions as ahead-of-time jobs, beside those of `conv_act`."""

from dataclasses import dataclass

from benchmarks.kernels.ahead_of_time import Specialised
from nas.ops.span_attention import triton_kernels

POINTERS = ("x", "f", "weight", "bias", "out", "grad", "dx", "df", "dweight", "dbias")


@dataclass(frozen=True, kw_only=True)
class AttentionJob:
    """A launch of a kernel of `span_attention.triton_kernels` to compile.

    Attributes:
        capability: of the GPU, such as 90.
        kernel: its name, such as `forward`.
        precision: `fp32`, whose products are three of TF32, or `fp16`.
        layout: of the maps: `planes` (NCHW) or `rows` (channels_last).
        channels: of the maps, and of a tile.
        pixels: of a tile.
    """

    capability: int
    kernel: str
    precision: str
    layout: str
    channels: int
    pixels: int
    num_warps: int
    num_stages: int = 1


def specialise(job: AttentionJob) -> Specialised:
    """Return what a launch of the job on aligned maps tells the compiler."""
    names = getattr(triton_kernels, job.kernel).arg_names
    tile = {
        "PIXELS": job.pixels,
        "CHANNELS": job.channels,
        "BLOCKS": 1,
        "PRECISION": "tf32x3" if job.precision == "fp32" else "tf32",
        "INTERPRET": False,
    }
    constants: dict[str, int | str] = {name: tile[name] for name in names if name in tile}
    signature: dict[str, str] = {}
    aligned = []

    # Triton makes a constant of a stride of one, and is told which other arguments 16 divides.
    one = "_pixel" if job.layout == "planes" else "_channel"
    for place, name in enumerate(names):
        if name in POINTERS:
            signature[name] = "*fp32" if name in ("dweight", "dbias") else f"*{job.precision}"
            aligned.append(place)
        elif name in constants or name.endswith(one):
            signature[name] = "constexpr"
            constants.setdefault(name, 1)
        else:
            signature[name] = "i32"
            if name.endswith(("_pixel", "num_channels")) and job.channels % 16 == 0:
                aligned.append(place)

    options = {
        "num_warps": job.num_warps,
        "num_stages": job.num_stages,
        "enable_fp_fusion": True,
    }
    return Specialised(signature, dict(constants), tuple(aligned), options)
