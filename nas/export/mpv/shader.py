"""A network as one user shader: passes that each compute four channels of one feature map."""

from typing import Any

from torch import fx

from nas.export.mpv.expressions import apply_function, format_number, format_vector
from nas.export.mpv.graph import (
    CONVOLUTION,
    ENLARGING,
    POINTWISE,
    Graph,
    count_channels,
    enlargement,
    kind_of,
)
from nas.export.mpv.kernels import Taps, list_terms, multiply, pick_rows
from nas.export.mpv.passes import IMAGE, Channel, Pass, fetch, write_pass

LIMIT = 16  # textures that a pass of mpv or libplacebo may bind
MAX_BINDS = LIMIT - 1  # one is kept for a partial sum
COMPONENTS = "xyzw"


class Shader:
    """Writes the passes of a traced network.

    Args:
        prefix: of the textures' names, so that two shaders can run one after the other.
    """

    def __init__(self, graph: Graph, prefix: str) -> None:
        self._graph, self._prefix = graph, prefix
        self._places: dict[fx.Node, list[Channel]] = {}
        self._factors = {IMAGE: 1}
        self.passes: list[str] = []
        for node in graph.nodes:
            self._add_node(node)

    def _add_node(self, node: fx.Node) -> None:
        """Place the channels of a node: those of others as they are, or in new textures."""
        kind = kind_of(node)
        if node.op == "placeholder":
            self._places[node] = [Channel(IMAGE, component) for component in range(3)]
        elif kind == "cat":
            parts: Any = node.args[0]
            self._places[node] = [channel for part in parts for channel in self._places[part]]
        elif kind == "getitem":
            self._places[node] = self._take_part(node)
        elif node in self._graph.stored:
            self._store(node)

    def _take_part(self, node: fx.Node) -> list[Channel]:
        """Return the channels of one part of a split."""
        split, index = node.args
        assert isinstance(split, fx.Node)
        source, sizes = split.args[:2]
        assert isinstance(source, fx.Node)
        places = self._places[source]
        size: Any = sizes
        return places[index * size : (index + 1) * size]  # type: ignore[operator]

    def _store(self, node: fx.Node) -> None:
        """Write the passes that compute a node, four channels each."""
        channels = count_channels(node)
        places: list[Channel] = []
        for group in range(-(-channels // 4)):
            made = Pass(factor=self._graph.factor(node), group=group)
            # Values that lie in textures first: what they leave is a convolution's.
            self._load_operands(made, node)
            value = self._compute(made, node)
            texture = self._finish(made, value, is_result=node is self._graph.result)
            places += [Channel(texture, i) for i in range(min(4, channels - 4 * group))]
        self._places[node] = places

    def _compute(self, made: Pass, node: fx.Node) -> str:
        """Compute the four channels of a pass of a node; return the name of the value."""
        if node not in made.values:
            if node in self._places:
                expression = self._load(made, self._places[node], "p")
            elif kind_of(node) == CONVOLUTION:
                expression = self._convolve(made, node)
            elif kind_of(node) in ENLARGING:
                expression = self._enlarge(made, node)
            else:
                assert kind_of(node) in POINTWISE, node
                operands = [self._read_operand(made, arg) for arg in node.args]
                expression = apply_function(kind_of(node), operands)
            made.values[node] = made.add(expression)
        return made.values[node]

    def _load_operands(self, made: Pass, node: fx.Node) -> None:
        """Load what a pass reads at its own pixel."""
        if kind_of(node) in POINTWISE:
            for source in filter(self._graph.is_map, node.all_input_nodes):
                if source in self._places:
                    self._compute(made, source)
                else:
                    self._load_operands(made, source)

    def _read_operand(self, made: Pass, operand: Any) -> str:
        """Return an operand of a pointwise operator: a number, a constant or a map."""
        if not isinstance(operand, fx.Node):
            return format_number(operand)
        if operand.op != "get_attr":
            return self._compute(made, operand)
        values = self._graph.constant(operand).flatten().tolist()
        if len(values) == 1:
            return format_number(values[0])
        return format_vector(values[4 * made.group : 4 * made.group + 4])

    def _bind(self, made: Pass, texture: str) -> str:
        made.binds.setdefault(texture, self._factors[texture])
        return texture

    def _load(self, made: Pass, places: list[Channel], position: str) -> str:
        """Return four channels of a map at a position that lies in it."""
        picked = places * 4 if len(places) == 1 else places[4 * made.group : 4 * made.group + 4]
        texture = picked[0].texture
        if [channel.component for channel in picked] == [0, 1, 2, 3] and all(
            channel.texture == texture for channel in picked
        ):
            return fetch(self._bind(made, texture), position)

        # Channels of a concatenation lie where they were made.
        values = [
            f"{fetch(self._bind(made, channel.texture), position)}.{COMPONENTS[channel.component]}"
            for channel in picked
        ]
        return f"vec4({', '.join([*values, *['0.0'] * (4 - len(values))])})"

    def _convolve(self, made: Pass, node: fx.Node) -> str:
        """Return a convolution of four channels, zero outside the map."""
        source, weight, bias = [*node.args, None][:3]
        assert isinstance(source, fx.Node)
        assert isinstance(weight, fx.Node)
        kernel = pick_rows(self._graph.constant(weight), node, made.group)
        terms = list_terms(kernel, self._places[source])

        start = "vec4(0.0)"
        if isinstance(bias, fx.Node):
            rows = self._graph.constant(bias)[4 * made.group : 4 * made.group + 4]
            start = format_vector(rows.tolist())

        # What one pass cannot bind is summed up in passes before it.
        textures = list(terms)
        partial: str | None = None
        while len(textures) > max(MAX_BINDS - len(made.binds), 1):
            part = Pass(factor=made.factor, group=made.group)
            taken, textures = textures[:MAX_BINDS], textures[MAX_BINDS:]
            start = start if partial is None else fetch(self._bind(part, partial), "p")
            total = self._add_terms(part, start, {name: terms[name] for name in taken})
            partial = self._finish(part, total, is_result=False)
        start = start if partial is None else fetch(self._bind(made, partial), "p")
        return self._add_terms(made, start, {name: terms[name] for name in textures})

    def _add_terms(self, made: Pass, start: str, terms: dict[str, "Taps"]) -> str:
        """Add products of textures with matrices, each around the pixel; return the sum's name."""
        total = made.add(start)
        for texture, taps in terms.items():
            self._bind(made, texture)
            for (row, column), matrix in taps.items():
                if row == column == 0:
                    value = fetch(texture, "p")
                else:
                    value = f"{texture}_at(p + ivec2({column}, {row}))"
                made.lines.append(f"{total} += {multiply(matrix, value)};")
        return total

    def _enlarge(self, made: Pass, node: fx.Node) -> str:
        """Return a value of a larger map at a pixel of it."""
        source, factor, kind = node.args[0], enlargement(node), kind_of(node)
        assert isinstance(source, fx.Node)
        places = self._places[source]
        if kind == "pixel_shuffle":
            return self._shuffle(made, places, factor)
        if kind == "upsample_nearest2d":
            return self._load(made, places, f"(p / {factor})")

        # Half-pixel centres: the place in the small map, and how far it is past a pixel of it.
        size = f"ivec2({self._bind(made, places[0].texture)}_size)"
        made.lines.append(f"vec2 place = (vec2(p) + 0.5) / {factor}.0 - 0.5;")
        made.lines.append("ivec2 q = ivec2(floor(place));")
        made.lines.append("vec2 t = place - floor(place);")
        reach = (-1, 0, 1, 2) if kind == "upsample_bicubic2d" else (0, 1)
        for axis in "xy":
            weights = f"cubic4(t.{axis})"
            if kind == "upsample_bilinear2d":
                weights = f"vec4(1.0 - t.{axis}, t.{axis}, 0.0, 0.0)"
            made.lines.append(f"vec4 weight_{axis} = {weights};")

        total = made.add("vec4(0.0)")
        for i, row in enumerate(reach):
            for j, column in enumerate(reach):
                at = f"clamp(q + ivec2({column}, {row}), ivec2(0), {size} - 1)"
                weight = f"weight_y.{COMPONENTS[i]} * weight_x.{COMPONENTS[j]}"
                made.lines.append(f"{total} += {weight} * {self._load(made, places, at)};")
        return total

    def _shuffle(self, made: Pass, places: list[Channel], factor: int) -> str:
        """Return the pixel of an image that lies in the channels of a smaller map."""
        # Each texture is read once; which of its values is asked for depends on the place.
        names: dict[str, str] = {}
        for channel in places:
            if channel.texture not in names:
                texture = self._bind(made, channel.texture)
                names[channel.texture] = made.add(fetch(texture, f"(p / {factor})"))
        made.lines.append(f"int i = (p.y % {factor}) * {factor} + p.x % {factor};")

        values = []
        area = factor**2
        for colour in range(len(places) // area):
            cells = [
                f"{names[channel.texture]}.{COMPONENTS[channel.component]}"
                for channel in places[colour * area : (colour + 1) * area]
            ]
            made.lines.append(f"float cells{colour}[{area}] = float[{area}]({', '.join(cells)});")
            values.append(f"cells{colour}[i]")
        return f"vec4({', '.join([*values, *['0.0'] * (4 - len(values))])})"

    def _finish(self, made: Pass, value: str, *, is_result: bool) -> str:
        """Write a pass; return the name of its texture."""
        texture = f"{self._prefix}_{len(self.passes)}"
        if is_result:
            # Where a display turns values to light, one below zero would be no number.
            self._bind(made, IMAGE)
            alpha = f"{IMAGE}_tex({IMAGE}_pos).a"
            value = f"vec4(clamp({value}.rgb, 0.0, 1.0), {alpha})"
        assert len(made.binds) <= LIMIT, f"{texture} would bind {len(made.binds)} textures"
        self._factors[texture] = made.factor
        self.passes.append(write_pass(made, value, texture, is_result=is_result))
        return texture
