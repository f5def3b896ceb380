"""One pass of a shader, and where channels lie that passes read."""

from dataclasses import dataclass, field

from torch import fx

from nas.export.mpv.expressions import FUNCTIONS

IMAGE = "HOOKED"  # the video's frame, as a shader calls it


@dataclass(frozen=True, slots=True)
class Channel:
    """Where one channel of a feature map lies."""

    texture: str
    component: int


@dataclass(slots=True)
class Pass:
    """One pass: it makes one texture of others.

    Attributes:
        factor: how often larger than the frame the texture is.
        group: which four channels it holds.
        binds: the textures that it reads, each with its factor.
        lines: the body of its function.
        values: of nodes that were computed in it, by name.
    """

    factor: int
    group: int
    binds: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)

    def add(self, expression: str) -> str:
        """Compute an expression once; return the name of its value."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"vec4 {name} = {expression};")
        return name


def fetch(texture: str, position: str) -> str:
    """Return the four channels of a texture at a position that lies in it."""
    # The frame may be held in another range.
    scale = f"{IMAGE}_mul * " if texture == IMAGE else ""
    return f"({scale}texelFetch({texture}_raw, {position}, 0))"


def write_pass(made: Pass, value: str, texture: str, *, is_result: bool) -> str:
    """Return a pass as text: its directives, the functions that it calls, its own."""
    size = "" if made.factor == 1 else f" {made.factor} *"
    head = [
        "//!HOOK MAIN",
        *[f"//!BIND {name}" for name in made.binds],
        *([] if is_result else [f"//!SAVE {texture}"]),
        f"//!WIDTH {IMAGE}.w{size}",
        f"//!HEIGHT {IMAGE}.h{size}",
        *([] if is_result else ["//!COMPONENTS 4"]),
        f"//!WHEN OUTPUT.w {IMAGE}.w >",
    ]

    body = "\n".join(made.lines)
    functions = [text for name, text in FUNCTIONS.items() if f"{name}(" in body]
    functions += [_write_masked(name) for name in made.binds if f"{name}_at(" in body]

    # The pixel, by whichever texture is read: its own size and that of this pass may differ.
    first, factor = next(iter(made.binds.items()))
    ratio = "" if factor == made.factor else f" * {made.factor / factor}"
    lines = [f"ivec2 p = ivec2(floor({first}_pos * {first}_size{ratio}));", *made.lines]
    hook = ["vec4 hook() {", *[f"    {line}" for line in lines], f"    return {value};", "}"]
    return "\n".join([*head, *functions, *hook]) + "\n"


def _write_masked(texture: str) -> str:
    """Return the function that reads a texture, zero where there is none."""
    return (
        f"vec4 {texture}_at(ivec2 q) {{\n"
        f"    ivec2 c = clamp(q, ivec2(0), ivec2({texture}_size) - 1);\n"
        f"    return q == c ? {fetch(texture, 'c')} : vec4(0.0);\n"
        "}"
    )
