"""Names of released checkpoints: theirs onto ours, and ours onto theirs."""

import re
from collections.abc import Mapping

# Within a Conv3XC of SPAN's repository: the branches' names there and here.
BRANCHES = {"sk": "shortcut", "conv.0": "expand", "conv.1": "conv", "conv.2": "project"}
MERGED = "eval_conv"  # the merged convolution beside them
LONGEST_NAME = 100  # characters of a name that a message shows
_BRANCH = re.compile(rf"(.+)\.({'|'.join(map(re.escape, BRANCHES))})\.(weight|bias)")
_SHIFTED = re.compile(r"\{(\d+)([+-]\d+)\}")
_REFERENCE = re.compile(rf"\\(\d)|{_SHIFTED.pattern}")


def shorten_name(name: str) -> str:
    """A name out of a file as a line can show it: no control characters, and not endless."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}..."


def our_name(key: str, patterns: Mapping[str, str]) -> str:
    """The name here of a key of a released checkpoint; other keys are left as they are.

    Args:
        patterns: regular expression of the whole key -> replacement, in which {2-1} is group 2 as a
            number less one: counts start at 0 here or there. An empty replacement: known, and not
            needed.
    """
    for pattern, replacement in patterns.items():
        if match := re.fullmatch(pattern, key):
            return _SHIFTED.sub(
                lambda m: str(int(match[int(m[1])]) + int(m[2])), match.expand(replacement)
            )
    return key


def our_branch(key: str, patterns: Mapping[str, str]) -> tuple[str, str] | None:
    """The convolution here, and the name within its Conv3XC, of a released key; None where it is no branch.

    The patterns name the merged convolution alone; its branches stand beside it.
    """
    if not (match := _BRANCH.fullmatch(key)):
        return None
    merged = f"{match[1]}.{MERGED}.{match[3]}"
    name = our_name(merged, patterns)
    if name in (merged, ""):
        return None
    return name.rpartition(".")[0], f"{BRANCHES[match[2]]}.{match[3]}"


def released_name(name: str, patterns: Mapping[str, str]) -> str:
    """The name in a released checkpoint of a key here; the key itself where the patterns do not tell it."""
    for pattern, replacement in patterns.items():
        found = _invert_pattern(name, pattern, replacement)
        if found and our_name(found, patterns) == name:
            return found
    return name


def released_branch(conv: str, branch: str, patterns: Mapping[str, str]) -> str:
    """The name in a released checkpoint of a branch here: the inverse of `our_branch`."""
    layer, _, kind = branch.partition(".")
    merged = released_name(f"{conv}.{kind}", patterns)
    theirs = {ours: name for name, ours in BRANCHES.items()}[layer]
    return merged.replace(f".{MERGED}.", f".{theirs}.")


def _invert_pattern(name: str, pattern: str, replacement: str) -> str | None:
    """What a pattern of literal text and flat groups would have matched to give a name."""
    groups = re.findall(r"\(([^()]*)\)", pattern)
    wanted, shifts, end = "", {}, 0
    for found in _REFERENCE.finditer(replacement):
        number = int(found[1] or found[2])
        wanted += re.escape(replacement[end : found.start()])
        held = r"\d+" if found[3] else groups[number - 1]
        wanted += f"(?P=g{number})" if number in shifts else f"(?P<g{number}>{held})"
        shifts[number] = int(found[3] or 0)
        end = found.end()
    try:
        match = re.fullmatch(wanted + re.escape(replacement[end:]), name)
    except re.error:
        return None
    if not match:
        return None
    text = ""
    for i, literal in enumerate(re.split(r"\([^()]*\)", pattern)):
        value = match[f"g{i}"] if i in shifts else ""
        text += str(int(value) - shifts[i]) if shifts.get(i) else value
        text += re.sub(r"\\(.)", r"\1", literal)
    return text
