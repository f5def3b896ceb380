"""Checks of a space of the grammar: each mistake in one line that names its place."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from search_spaces.limits import MAX_BLOCKS, MAX_CHANNELS
from search_spaces.spaces import template
from search_spaces.spec import SCALES, ArchSpec

FRAME = {"first", "start", "end"} | {field.name for field in fields(ArchSpec)} - {"scale", "blocks"}
NEEDED = {"normalise", "taps", "fusion", "upsampler"}  # of a frame
FEATURES = ("stem", "skip", "first", "last", "end")  # one each; and block2, block2.inner
TAPS = (*FEATURES, "before_last", "last.inner", "blocks")  # likewise


class Grammar(Protocol):
    """What `search_spaces.spaces.grammar.GrammarSpace` holds."""

    @property
    def scale(self) -> int: ...
    @property
    def num_blocks(self) -> list[int]: ...
    @property
    def channels(self) -> list[int]: ...
    @property
    def choices(self) -> dict[str, list[Any]]: ...
    @property
    def blocks(self) -> dict[str, dict[str, Any]]: ...
    @property
    def each(self) -> list[str]: ...
    @property
    def frames(self) -> dict[str, dict[str, Any]]: ...


def check_grammar(space: Grammar) -> None:
    """Check what can be checked without a network.

    Raises:
        ValueError: something is wrong; the message names the place, the value and what is allowed.
    """
    if space.scale not in SCALES:
        raise ValueError(f"space.scale must be one of {SCALES}, got {space.scale}")
    for name, most in (("num_blocks", MAX_BLOCKS), ("channels", MAX_CHANNELS)):
        for option in getattr(space, name):
            if not 1 <= option <= most:
                raise ValueError(
                    f"space.{name} must be at least 1 and at most {most}, got {option}"
                )

    for name, options in _list_options(space):
        if not options or len(set(map(repr, options))) < len(options):
            raise ValueError(
                f"space.{name} must list at least one option and none twice, got {options}"
            )

    for name in ("blocks", "frames"):
        if not getattr(space, name):
            raise ValueError(f"space.{name} must hold at least one, got none")

    # YAML reads yes, no and numbers as other types than text.
    for name in ("choices", "blocks", "frames"):
        for key in getattr(space, name):
            if not isinstance(key, str):
                raise ValueError(f"space.{name}: a name must be text, got {key!r}; quote it")

    # Then what the parts say, and what they refer to.
    _check_blocks(space)
    for name, frame in space.frames.items():
        _check_frame(f"frames.{name}", frame)
    _check_references(space)


def _list_options(space: Grammar) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the lists of options, by their keys."""
    yield "num_blocks", space.num_blocks
    yield "channels", space.channels
    for name, options in space.choices.items():
        yield f"choices.{name}", options
    for block, arguments in space.blocks.items():
        for name, one in arguments.items():
            if isinstance(one, list) and name != "blocks":
                yield f"blocks.{block}.{name}", one


def _check_blocks(space: Grammar) -> None:
    for name, block in space.blocks.items():
        if "kind" not in block:
            raise ValueError(f"space.blocks.{name} must have a kind, got {sorted(map(str, block))}")
        # A rule may name a block that is written further down.
        after = block.get("after", name)
        if not isinstance(after, str) or after not in space.blocks:
            raise ValueError(
                f"space.blocks.{name}.after: {after!r} is no block here; known: "
                f"{', '.join(space.blocks)}"
            )
        _check_multiples(f"blocks.{name}", block)

    # The first block stands in where another may not, so it may stand anywhere.
    first = next(iter(space.blocks))
    if any(key in space.blocks[first] for key in template.RULES):
        raise ValueError(
            f"space.blocks.{first} stands in for others: it must have no "
            f"{' or '.join(template.RULES)}"
        )

    # `each` names what is decided for every block by itself.
    known = ["block", *sorted({key for block in space.blocks.values() for key in block})]
    for name in space.each:
        if name not in known:
            raise ValueError(
                f"space.each: {name!r} is no argument of a block; known: {', '.join(known)}"
            )


def _check_multiples(path: str, part: Any) -> None:
    for layer in template.layers(part):
        multiple = layer.get("multiple_of", 1)
        if type(multiple) is not int or multiple < 1:
            raise ValueError(
                f"space.{path}.multiple_of must be a whole number of at least 1, got {multiple!r}"
            )


def _check_frame(path: str, frame: Mapping[str, Any]) -> None:
    if unknown := sorted(map(str, set(frame) - FRAME)):
        raise ValueError(
            f"space.{path}: {', '.join(unknown)} unknown; known: {', '.join(sorted(FRAME))}"
        )

    # Unknown keys first: a misspelt one is missing too.
    if missing := sorted(NEEDED - set(frame)):
        raise ValueError(f"space.{path}: {', '.join(missing)} missing")
    for key, one in frame.items():
        # The first alternative stands in for the others, likewise.
        choice = template.alternatives(one)
        if not choice:
            raise ValueError(
                f"space.{path}.{key} must hold a layer, or at least one alternative, got {one}"
            )
        # Every alternative is checked, also those that are rarely drawn.
        for part in choice.values():
            _check_multiples(f"{path}.{key}", part)
        if any(
            "multiple_of" in layer for layer in template.layers(next(iter(choice.values()), None))
        ):
            raise ValueError(
                f"space.{path}.{key}: its first layer stands in for others: it must have no "
                "multiple_of"
            )

    # What the fusion takes, and what is added to its output, both by words.
    has_end = bool(frame.get("end"))
    for words in template.alternatives(frame["taps"]).values():
        if not isinstance(words, list) or not words:
            raise ValueError(
                f"space.{path}.taps must be a list of features such as [last], got {words!r}"
            )
        _check_words(f"{path}.taps", words, TAPS, has_end=has_end)

    for residuals in template.alternatives(frame.get("residuals")).values():
        if residuals is not None and not template.is_chain(residuals):
            raise ValueError(
                f"space.{path}.residuals must be a list of layers such as "
                f"[{{kind: identity, feature: stem}}], got {residuals!r}"
            )
        for layer in residuals or []:
            named = layer.get("feature")
            words = named if isinstance(named, list) else [named]
            _check_words(f"{path}.residuals", words, FEATURES, has_end=has_end)


def _check_words(path: str, words: list[Any], known: tuple[str, ...], *, has_end: bool) -> None:
    for word in words:
        if word not in known and not re.fullmatch(r"block\d+(\.inner)?", str(word)):
            raise ValueError(
                f"space.{path}: {word!r} is no feature; known: {', '.join(known)}, block2, "
                "block2.inner"
            )
        # A word names a feature that every member of the space has.
        if word == "end" and not has_end:
            raise ValueError(
                f"space.{path}: there is no end; give the frame a layer `end`, or use last"
            )


def _check_references(space: Grammar) -> None:
    """Check that every `$name` is a choice, every choice is used, and shares are of numbers."""
    options = {"channels": space.channels, **space.choices}
    known = ", ".join(f"${name}" for name in options)
    used = set()

    # All that may refer to a choice, by the place that a message names.
    parts = {f"blocks.{name}": block for name, block in space.blocks.items()}
    parts |= {f"frames.{name}": frame for name, frame in space.frames.items()}
    for path, part in parts.items():
        for text in template.references(part):
            match = template.REFERENCE.fullmatch(text)
            if match is None or not set(template.referred(match)) <= options.keys():
                raise ValueError(
                    f"space.{path}: {text} is no named choice; known: {known}, "
                    "a share of one such as $channels/2 or $channels*2"
                )
            used.update(template.referred(match))
            if match[2] and not _is_share(match, options):
                shares = {name: list(options[name]) for name in template.referred(match)}
                raise ValueError(
                    f"space.{path}: {text} must be a share of whole numbers, by 1 or more, "
                    f"got {shares}"
                )

    # A choice that nothing uses would be asked for nothing.
    if idle := [name for name in space.choices if name not in used]:
        raise ValueError(
            f"space.choices.{idle[0]}: nothing uses ${idle[0]}; use it or leave it out"
        )


def _is_share(match: re.Match[str], options: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether a share is one of whole numbers, by whole numbers of at least 1."""
    factor = match[3]
    by = options[factor[1:]] if factor.startswith("$") else [int(factor)]
    numbers = [*options[match[1]], *by]
    return all(type(number) is int for number in numbers) and min(by) >= 1
