"""What operators compute of four channels at one pixel, in GLSL."""

import numpy as np

# Functions that a shader's passes call; a pass carries those that it names.
FUNCTIONS = {
    "sigmoid4": """\
vec4 sigmoid4(vec4 x) { return 1.0 / (1.0 + exp(min(-x, 80.0))); }""",
    "silu4": """\
vec4 silu4(vec4 x) { return x / (1.0 + exp(min(-x, 80.0))); }""",
    "hard4": """\
vec4 hard4(vec4 x) { return clamp(x / 6.0 + 0.5, 0.0, 1.0); }""",
    # The error function to 2e-7: Abramowitz and Stegun, 7.1.26.
    "gelu4": """\
vec4 gelu4(vec4 x) {
    vec4 a = abs(x) * 0.70710678;
    vec4 t = 1.0 / (1.0 + 0.3275911 * a);
    vec4 s = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
        + 0.254829592) * t;
    return 0.5 * x * (1.0 + sign(x) * (1.0 - s * exp(-a * a)));
}""",
    # Weights of the four pixels around a place between the second and the third, a = -0.75.
    "cubic4": """\
vec4 cubic4(float t) {
    vec4 d = vec4(1.0 + t, t, 1.0 - t, 2.0 - t);
    vec4 inner = (1.25 * d - 2.25) * d * d + 1.0;
    vec4 outer = ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0;
    return vec4(outer.x, inner.yz, outer.w);
}""",
}
SIGNS = {"add": "+", "sub": "-", "mul": "*"}


def format_number(value: float) -> str:
    """Return a float32 in the shortest text that reads back equal."""
    return str(np.float32(value))


def format_vector(values: list[float]) -> str:
    """Return up to four numbers as a vec4; what is missing is zero."""
    padded = [*values, *[0.0] * (4 - len(values))]
    if len(set(padded)) == 1:
        return f"vec4({format_number(padded[0])})"
    return f"vec4({', '.join(map(format_number, padded))})"


def format_matrix(columns: list[list[float]]) -> str:
    """Return four columns of four numbers as a mat4."""
    return f"mat4({', '.join(format_number(value) for column in columns for value in column)})"


def apply_function(kind: str, operands: list[str]) -> str:
    """Return the expression of a pointwise operator.

    Args:
        operands: expressions; of `leaky_relu` the second is the slope.
    """
    first, *others = operands
    match kind:
        case "add" | "sub" | "mul":
            return f"{first} {SIGNS[kind]} {others[0]}"
        case "relu":
            return f"max({first}, 0.0)"
        case "leaky_relu":
            slope = others[0] if others else "0.01"
            return f"max({first}, 0.0) + {slope} * min({first}, 0.0)"
        case "sigmoid" | "silu" | "gelu":
            return f"{kind}4({first})"
        case "hardsigmoid":
            return f"hard4({first})"
        case "hardswish":
            return f"{first} * hard4({first})"
    raise AssertionError(f"{kind} is no pointwise operator")
