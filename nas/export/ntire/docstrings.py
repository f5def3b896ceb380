"""Docstrings of the sources, without what is said of arguments that were folded in."""

from collections.abc import Sequence

SECTIONS = ("Args:", "Returns:", "Raises:", "Attributes:", "Example:")


def shorten_docstring(text: str, parameters: Sequence[str] | None) -> str:
    """Return the first paragraph of a docstring, the arguments that are left, and the source.

    Args:
        text: with the indentation taken away.
        parameters: those of a class' constructor that are left; None: arguments are not said.
    """
    paragraphs = text.split("\n\n")
    kept = [paragraphs[0]]
    for paragraph in paragraphs[1:]:
        if paragraph.startswith("Args:") and parameters:
            entries = _list_entries(paragraph)
            left = [entry for entry in entries if _name_entry(entry) in parameters]
            kept += ["\n".join(["Args:", *left])] if left else []
        elif paragraph.startswith("Source:"):
            kept.append(paragraph)
    return "\n\n".join(kept)


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
