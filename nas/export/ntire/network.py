"""The class of a whole network, printed from its specification."""

import ast
from collections import Counter
from typing import Any

from nas.export.ntire.expressions import show
from nas.export.ntire.folding import Folder
from nas.export.ntire.forward import print_forward
from nas.export.ntire.printer import Printer
from nas.export.ntire.scope import Scope, make_literal
from nas.export.ntire.sources import keep_numbers
from search_spaces import frame
from search_spaces.blocks import BLOCKS
from search_spaces.frame import SKIPS, UPSAMPLERS
from search_spaces.layers.conv import plain_conv
from search_spaces.layers.scale import ChannelScale
from search_spaces.network import Network
from search_spaces.parts import Part, feature_widths, parts, read_width
from search_spaces.spec import ArchSpec, BlockSpec

IDENTITY = "nn.Identity()"


def print_network(net: Network, name: str, docstring: str, printer: Printer) -> ast.ClassDef:
    """Return the class of a network; its layers are named by the printer.

    Raises:
        ValueError: a layer cannot be printed; the message names it.
    """
    calls = _Calls(net.spec, printer)
    constructor = [f"def __init__({calls.list_parameters()}):", "    super().__init__()"]
    if any(_reads(text, "fused") for text in calls.shown.values()):
        times = f"{calls.times} * " if calls.times > 1 else ""
        constructor.append(f"    fused = 3 * scale**2 + {times}channels")
    constructor += [f"    {line}" for line in _list_layers(net.spec, calls)]
    if net.spec.normalise or any(layer.kind == "centre" for layer in net.spec.wrap):
        mean = ", ".join(f"{value:.4f}" for value in frame.DIV2K_MEAN)
        constructor += ["", "    # The mean colour of DIV2K's training images: no weight."]
        constructor.append(f"    mean = torch.tensor([{mean}]).view(1, 3, 1, 1)")
        constructor.append('    self.register_buffer("mean", mean, persistent=False)')

    has_fusion = calls.shown["fusion"] != IDENTITY
    forward = print_forward(net, has_fusion=has_fusion, pad=calls.pad)
    body: list[ast.stmt] = [ast.Expr(value=ast.Constant(value=docstring))]
    body += [_parse(constructor), _parse(forward)]
    base = ast.parse("nn.Module", mode="eval").body
    return ast.ClassDef(name=name, bases=[base], keywords=[], body=body, decorator_list=[])


class _Calls:
    """How each part of a network is made, as text in which classes still have their marks."""

    def __init__(self, spec: ArchSpec, printer: Printer) -> None:
        self.spec, self.printer = spec, printer
        self.channels = _find_width(spec)
        others = sum(feature_widths(spec)[tap] for tap in spec.taps) - 3 * spec.scale**2
        is_joined = "skip" in spec.taps and others > 0 and others % self.channels == 0
        self.times = others // self.channels if is_joined else 0
        self.fused = others + 3 * spec.scale**2 if is_joined else None
        # The names under which a specification's kinds are called here.
        self.space: dict[str, Any] = {
            **{f"block_{name}": made for name, made in BLOCKS.items()},
            **{f"upsampler_{name}": made for name, made in UPSAMPLERS.items()},
            **{f"skip_{name}": made for name, made in SKIPS.items()},
            "ChannelScale": ChannelScale, "plain_conv": plain_conv, "__name__": __name__,
        }  # fmt: skip
        self.shown = {
            part.name: self._show_part(part) for part in parts(spec) if part.role != "wrap"
        }

    def list_parameters(self) -> str:
        """Return the constructor's parameters, those that something reads."""
        texts = self.shown.values()
        named = {"channels": self.channels, "scale": self.spec.scale}
        is_fused = any(_reads(text, "fused") for text in texts)
        read = [
            f"{name}={value}"
            for name, value in named.items()
            if is_fused or any(_reads(text, name) for text in texts)
        ]
        return ", ".join(["self", *read])

    def pad(self, image: str) -> str:
        """Return the call that pads an image as the network's wrap does."""
        layer = next(layer for layer in self.spec.wrap if layer.kind == "pad")
        args = dict(layer.args)
        text = f"pad_to_multiple({image}, {args['multiple']}, {args['mode']!r})"
        scope = Scope(space=vars(frame), local={image})
        folded = Folder(self.printer, scope, building=False).fold(_read(text))
        return show(folded)

    def _show_part(self, part: Part) -> str:
        try:
            call = self._make_call(part)
            values = {"channels": self.channels, "scale": self.spec.scale, "fused": self.fused}
            scope = Scope(space=self.space, local=set(values), values=values)
            return show(Folder(self.printer, scope, building=True).fold(call))
        except ValueError as error:
            raise ValueError(f"{part.name} ({part.block.kind}): {error}") from error

    def _make_call(self, part: Part) -> ast.expr:
        """Return the call that makes a part, by its kind's class or function."""
        if part.role == "tap":
            return _read(f"ChannelScale({self._show_width(part.in_channels)})")
        if part.role == "skip":
            keywords = self._list_keywords(part.block)
            return ast.Call(
                func=_read(f"skip_{part.block.kind}"), args=[_read("scale")], keywords=keywords
            )
        if part.role == "upsampler":
            call = self._make_block(part.block, part.in_channels, "upsampler")
            call.keywords.insert(0, ast.keyword(arg="scale", value=_read("scale")))
            return call
        return self._make_block(part.block, part.in_channels, "block")

    def _make_block(self, block: BlockSpec, in_channels: int, role: str) -> ast.Call:
        keywords = self._list_keywords(block)
        if block.blocks:
            held: list[ast.expr] = []
            channels = in_channels
            for inner in block.blocks:
                held.append(self._make_block(inner, channels, "block"))
                channels = read_width(inner, channels)
            keywords.append(ast.keyword(arg="blocks", value=ast.List(elts=held, ctx=ast.Load())))
        keywords.append(ast.keyword(arg="make_conv", value=_read("plain_conv")))
        width = _read(self._show_width(in_channels))
        return ast.Call(func=_read(f"{role}_{block.kind}"), args=[width], keywords=keywords)

    def _list_keywords(self, block: BlockSpec) -> list[ast.keyword]:
        return [
            ast.keyword(
                arg=name,
                value=_read(self._show_width(int(value)))
                if name == "channels"
                else make_literal(value),
            )
            for name, value in block.args
        ]

    def _show_width(self, width: int) -> str:
        """Return a number of channels by the network's, where it is a multiple of that."""
        if width == self.channels:
            return "channels"
        if width % self.channels == 0:
            return f"{width // self.channels} * channels"
        # The branch from the image has the channels of its pixel shuffle.
        if width == self.fused:
            return "fused"
        return str(width)


def _list_layers(spec: ArchSpec, calls: _Calls) -> list[str]:
    """Return the statements that make the layers, under the names of the state dict."""
    shown = calls.shown
    lines = [f"self.stem = {shown['stem']}"] if "stem" in shown else []
    lines += _list_blocks([shown[f"block{i}"] for i in range(1, len(spec.blocks) + 1)])
    if spec.scaled_taps:
        scales = [shown[f"tap{i}"] for i in range(1, len(spec.taps) + 1)]
        lines.append(f"self.tap_scales = nn.ModuleList({_show_list(scales)})")
    if shown["fusion"] != IDENTITY:
        lines.append(f"self.fusion = {shown['fusion']}")

    tail = [shown[f"tail{i}"] for i in range(1, len(spec.tail) + 1)]
    lines += [f"self.tail = nn.Sequential({', '.join(tail)})"] if tail else []
    residuals = [shown[f"residual{i}"] for i in range(1, len(spec.residuals) + 1)]
    if any(residual != IDENTITY for residual in residuals):
        lines.append(f"self.residuals = nn.ModuleList({_show_list(residuals)})")
    lines += [f"self.skip = {shown['skip']}"] if "skip" in shown else []
    return [*lines, f"self.upsampler = {shown['upsampler']}"]


def _list_blocks(shown: list[str]) -> list[str]:
    """Return the statements that make the body; equal blocks in a row are made in a loop."""
    runs: list[tuple[int, int, str]] = []  # first and last number, and the call
    for i, call in enumerate(shown, start=1):
        if runs and runs[-1][2] == call:
            runs[-1] = (runs[-1][0], i, call)
        else:
            runs.append((i, i, call))

    if all(first == last for first, last, _ in runs):
        entries = ", ".join(f'"{first}": {call}' for first, _, call in runs)
        return [f"self.blocks = nn.ModuleDict({{{entries}}})"]

    first, last, call = runs[0]
    loop = f"{{str(i): {call} for i in range({first}, {last + 1})}}"
    single = f'{{"1": {call}}}'
    lines = [f"self.blocks = nn.ModuleDict({single if last == 1 else loop})"]
    for first, last, call in runs[1:]:
        if first == last:
            lines.append(f'self.blocks["{first}"] = {call}')
        else:
            lines += [f"for i in range({first}, {last + 1}):", f"    self.blocks[str(i)] = {call}"]
    return lines


def _show_list(calls: list[str]) -> str:
    if len(calls) > 1 and len(set(calls)) == 1:
        return f"{calls[0]} for _ in range({len(calls)})"
    return f"[{', '.join(calls)}]"


def _find_width(spec: ArchSpec) -> int:
    """Return the number of channels that most features of the body have."""
    widths = feature_widths(spec)
    counts = Counter(width for name, width in widths.items() if name.startswith("block"))
    return counts.most_common(1)[0][0]


def _reads(text: str, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(_read(text)))


def _read(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _parse(lines: list[str]) -> ast.FunctionDef:
    """Return the function of some lines, with the comments that stand on lines of their own."""
    text = "\n".join(lines)
    node = ast.parse(text).body[0]
    keep_numbers(node, text)
    assert isinstance(node, ast.FunctionDef)
    for statement in node.body:
        above = statement.lineno - 2
        comments: list[str] = []
        while lines[above].lstrip().startswith("#"):
            comments.insert(0, lines[above].strip())
            above -= 1
        statement.comments = comments  # type: ignore[attr-defined]
        statement.blank_before = not lines[above].strip()  # type: ignore[attr-defined]
    return node
