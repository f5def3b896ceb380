"""Docstrings of the sources, with what was folded in: the activation, the attention's formula."""

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

SECTIONS = ("Args:", "Returns:", "Raises:", "Attributes:", "Example:")
QUOTES = '"""'
WIDTH = 93  # of a docstring's first line, which is indented by four and stands behind its quotes


def shorten_docstring(
    text: str, parameters: Sequence[str] | None, words: Mapping[str, str] | None = None
) -> str:
    """Return a docstring's first paragraph, its formulas, the arguments that are left, the source.

    Args:
        text: with the indentation taken away.
        parameters: those of a class' constructor that are left; None: arguments are not said.
        words: what stands for a word in the first paragraph.
    """
    paragraphs = text.split("\n\n")
    # The quotes that end a docstring stand behind its first line where that is all.
    width = WIDTH if len(paragraphs) > 1 else WIDTH - len(QUOTES)
    kept = [_replace_words(paragraphs[0], words or {}, width)]
    for paragraph in paragraphs[1:]:
        if paragraph.startswith("Args:") and parameters:
            entries = _list_entries(paragraph)
            left = [entry for entry in entries if _name_entry(entry) in parameters]
            kept += ["\n".join(["Args:", *left])] if left else []
        elif paragraph.startswith("Source:"):
            kept.append(paragraph)
        elif " = " in paragraph and not paragraph.startswith(SECTIONS):
            kept.append(_replace_words(paragraph, words or {}, WIDTH))  # what it computes
    return "\n\n".join(kept)


def describe_arguments(owner: nn.Module, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return what a class' docstring may call by a general name: its activation, its attention."""
    words = {}
    if isinstance(arguments.get("activation"), str):
        words["act"] = arguments["activation"].partition("_0")[0]
    attention = getattr(owner, "attention", None)
    if attention is not None and attention.__doc__:
        # "(x + f) * (sigmoid(f) - 0.5). Source: ..." begins with the formula.
        formula = inspect.cleandoc(attention.__doc__).partition("\n")[0]
        words["attend(x, f)"] = _cut_formula(formula)
    return words


def _cut_formula(text: str) -> str:
    """Return what a sentence says before its first comma, colon or point outside of brackets."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and (character in ",:" or text[i:] == "." or text[i : i + 2] == ". "):
            return text[:i]
    return text


def _replace_words(before: str, words: Mapping[str, str], width: int) -> str:
    """Return a paragraph with words replaced, filled anew where it became too wide."""
    text = before
    for word, meaning in words.items():
        pattern = rf"\b{re.escape(word)}(?=\()" if word.isalpha() else re.escape(word)
        text = re.sub(pattern, meaning.replace("\\", r"\\"), text)
    if not any(word in before for word in words):
        return before
    lines = text.split("\n")
    # Text that grew is filled anew; what stands in lines on purpose stays.
    if any(len(line) > width for line in lines):
        return "\n".join(textwrap.wrap(" ".join(lines), width))
    return text


def _list_entries(paragraph: str) -> list[str]:
    """Return the entries of a section, each with the lines that continue it."""
    entries: list[str] = []
    for line in paragraph.split("\n")[1:]:
        if line.startswith("     ") and entries:
            entries[-1] += f"\n{line}"
        else:
            entries.append(line)
    return entries


def _name_entry(entry: str) -> str:
    return entry.split(":")[0].strip()
