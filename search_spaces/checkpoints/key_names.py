"""Key names of released checkpoints: from theirs to ours, and back.

The patterns of a published network stand in its YAML file as `official_keys`.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache

# Within a Conv3XC of SPAN's repository: the branches' names there and here.
BRANCHES = {"sk": "shortcut", "conv.0": "expand", "conv.1": "conv", "conv.2": "project"}
MERGED = "eval_conv"  # the merged convolution beside them
LONGEST_NAME = 100  # characters of a name that a message shows
_BRANCH = re.compile(rf"(.+)\.({'|'.join(map(re.escape, BRANCHES))})\.(weight|bias)")
_SHIFTED = re.compile(r"\{(\d+)([+-]\d+)\}")
_REFERENCE = re.compile(rf"\\(\d)|{_SHIFTED.pattern}")


def shorten_name(name: str) -> str:
    """Return a name out of a file as a line can show it: no control characters, and not endless."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}..."


def our_name(key: str, patterns: Mapping[str, str]) -> str:
    """Return our name for a key of a released checkpoint; other keys are left as they are.

    Args:
        patterns: regular expression of the whole key -> replacement, in which {2-1} is group 2 as a
            number less one: counts start at 0 here or there. An empty replacement: known, and not
            needed.
    """
    for pattern, replacement in patterns.items():
        if match := _compile_pattern(pattern).fullmatch(key):
            return _SHIFTED.sub(
                lambda m: str(int(match[int(m[1])]) + int(m[2])), match.expand(replacement)
            )
    return key


def our_branch(key: str, patterns: Mapping[str, str]) -> tuple[str, str] | None:
    """Return our convolution and the name within its Conv3XC for a released key.

    None where the key is no branch.


    The patterns name the merged convolution alone; its branches stand beside it.
    """
    if not (match := _BRANCH.fullmatch(key)):
        return None
    # A pattern of the merged convolution serves its branches too.
    merged = f"{match[1]}.{MERGED}.{match[3]}"
    name = our_name(merged, patterns)
    if name in (merged, ""):
        return None
    return name.rpartition(".")[0], f"{BRANCHES[match[2]]}.{match[3]}"


def released_name(name: str, patterns: Mapping[str, str]) -> str:
    """Return the released name of one of our keys.

    The key itself where the patterns do not tell it.
    """
    return _search_released_name(name, tuple(patterns.items()))


@lru_cache(maxsize=65536)  # a misfit asks for the same names again and again
def _search_released_name(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        key = _invert_name(name, pattern, replacement)
        if key and our_name(key, dict(patterns)) == name:
            return key
    return name


def released_branch(conv: str, branch: str, patterns: Mapping[str, str]) -> str:
    """Return the released name of one of our branches: the inverse of `our_branch`."""
    layer, _, kind = branch.partition(".")
    merged = released_name(f"{conv}.{kind}", patterns)
    # The merged convolution's name with the branch in its place.
    theirs = {ours: name for name, ours in BRANCHES.items()}[layer]
    return merged.replace(f".{MERGED}.", f".{theirs}.")


@cache  # a network has more patterns than the cache of `re` holds
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _invert_name(name: str, pattern: str, replacement: str) -> str | None:
    """Return the key that a pattern would have turned into a name; None where it could not have.

    The pattern is literal text and flat groups.
    """
    expression, shifts = _invert_pattern(pattern, replacement)
    match = expression.fullmatch(name) if expression else None
    if not match:
        return None

    # Fill the groups into the pattern's text; numbers that were counted up are counted down again.
    text = ""
    for i, literal in enumerate(re.split(r"\([^()]*\)", pattern)):
        value = match[f"g{i}"] if i in shifts else ""
        text += str(int(value) - shifts[i]) if shifts.get(i) else value
        text += re.sub(r"\\(.)", r"\1", literal)
    return text


@cache
def _invert_pattern(
    pattern: str, replacement: str
) -> tuple[re.Pattern[str] | None, dict[int, int]]:
    """Return the expression of the names that a replacement gives, and how its groups are shifted.

    Group N of the pattern is its group gN. The expression is None where it cannot be written.
    """
    groups = re.findall(r"\(([^()]*)\)", pattern)

    # Write the replacement as an expression of its own, with the pattern's groups for its
    # references.
    inverse, shifts, end = "", {}, 0
    for reference in _REFERENCE.finditer(replacement):
        number = int(reference[1] or reference[2])
        inverse += re.escape(replacement[end : reference.start()])
        text = r"\d+" if reference[3] else groups[number - 1]
        inverse += f"(?P=g{number})" if number in shifts else f"(?P<g{number}>{text})"
        shifts[number] = int(reference[3] or 0)
        end = reference.end()

    try:
        return re.compile(inverse + re.escape(replacement[end:])), shifts
    except re.error:
        return None, shifts
