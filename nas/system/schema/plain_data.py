"""YAML and JSON files of users, read as plain data and within bounds."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 256 * 1024  # of a file; the longest of ours, a stored configuration, has some 10 KiB
MAX_DEPTH = 40  # of nested lists and mappings, aliases followed; ours have 8
MAX_WEIGHT = 20_000  # values, aliases followed; a long text counts as several
TEXT_WEIGHT = 64  # characters that count as one value more
MAX_DIGITS = 1000  # of a whole number; Python prints no 4,300
CORE_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")
)
MERGE_TAG = "tag:yaml.org,2002:merge"
FLOAT = re.compile(  # as Hydra reads numbers: 5e-4 and 9.83e9 are numbers, to PyYAML they are text
    r"""^(?:[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
    |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.X,
)
_Base: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml's, where PyYAML was built with it


def read_plain(path: Path) -> Any:
    """Read a YAML or JSON file: mappings with text keys, lists, text, numbers, booleans, null.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, too deep, grows beyond bounds by its aliases, names a key twice
            or by something other than text, holds a tag, or is no YAML or JSON; the message says
            which and where.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("is no regular file")

    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"holds more than {MAX_BYTES // 1024} KiB, which no such file of ours needs"
        )

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"is no YAML or JSON: not UTF-8 at byte {error.start}; save it as UTF-8"
        ) from None
    return parse_plain(text)


def parse_plain(text: str) -> Any:
    """Return what a YAML or JSON text holds; see `read_plain`."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            try:
                data = json.loads(text, object_pairs_hook=_build_mapping, parse_int=_read_whole)
                return _check_bounds(data)
            except json.JSONDecodeError:
                pass  # YAML's own lists and mappings look the same
        _check_events(text)
        return _check_bounds(yaml.load(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML or JSON: {_describe_place(error)}") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def dump_plain(data: Any) -> str:
    """Return YAML text that `read_plain` reads back equal, also text that looks like a number."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


_TOO_DEEP = f"is nested more than {MAX_DEPTH} deep; no such file of ours needs that"
_TOO_LONG = f"holds a number of more than {MAX_DIGITS} digits"
_HALF_PAIR = "holds half a character (such as \\ud800), which no text in UTF-8 does"
_TOO_MUCH = (
    f"holds more than {MAX_WEIGHT} values, aliases (*name) followed; write out what is needed alone"
)


def _check_events(text: str) -> None:
    """Refuse tags, and what is too deep or too much with aliases followed; nothing is built."""
    anchors: dict[str, tuple[int, int]] = {}  # weight and height of what each names
    stack: list[_Open] = [_Open(None, 0, 0)]
    events: Iterator[Any] = yaml.parse(text, Loader=_Base)

    # Weight and height of each open list or mapping grow as its members close: an alias counts as
    # much as what it names, so that a few lines cannot stand for millions of values.
    for event in events:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and tag not in CORE_TAGS:
            raise yaml.MarkedYAMLError(
                problem=f"the tag {tag} is not read", problem_mark=event.start_mark
            )

        if isinstance(event, yaml.CollectionStartEvent):
            stack.append(_Open(event.anchor, 1, 1))
        elif isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            anchor, weight, height = _close_value(event, anchors, stack)
            anchors |= {anchor: (weight, height)} if anchor else {}
            outer = stack[-1]
            stack[-1] = _Open(outer.anchor, outer.weight + weight, max(outer.height, height + 1))

        if stack[-1].weight > MAX_WEIGHT:
            raise ValueError(_TOO_MUCH)
        if len(stack) + stack[-1].height > MAX_DEPTH + 2:
            raise ValueError(_TOO_DEEP)


class _Open(NamedTuple):
    """A list or mapping that is still open: its anchor, and weight and height so far."""

    anchor: str | None
    weight: int
    height: int


def _close_value(event: Any, anchors: dict[str, tuple[int, int]], stack: list[_Open]) -> _Open:
    """Return anchor, weight and height of the value that an event ends."""
    if isinstance(event, yaml.CollectionEndEvent):
        return stack.pop()
    if isinstance(event, yaml.ScalarEvent):
        return _Open(event.anchor, 1 + len(event.value) // TEXT_WEIGHT, 0)

    # An alias weighs as much as what it names: that is how bombs are made.
    if event.anchor not in anchors:
        problem = f"the alias *{event.anchor} stands before or within what it names"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
    return _Open(None, *anchors[event.anchor])


def _check_bounds(data: Any) -> Any:
    """Return data as they are after a check of their bounds (JSON has no events to check)."""
    # Level by level: recursion would meet its own limit first.
    weight, level = 0, [data]

    for _ in range(MAX_DEPTH + 1):
        if not all(map(_is_encodable, level)):
            raise ValueError(_HALF_PAIR)
        weight += sum(
            1 + len(item) // TEXT_WEIGHT if isinstance(item, str) else 1 for item in level
        )
        if weight > MAX_WEIGHT:
            raise ValueError(_TOO_MUCH)
        if not (level := list(_list_inner(level))):
            return data
    raise ValueError(_TOO_DEEP)


def _list_inner(level: list[Any]) -> Iterator[Any]:
    for item in level:
        if isinstance(item, Mapping):
            yield from item.values()
        elif isinstance(item, list):
            yield from item


def _is_encodable(value: Any) -> bool:
    """Whether UTF-8 holds a value's text: JSON can spell halves of characters."""
    texts = (value,) if isinstance(value, str) else value if isinstance(value, Mapping) else ()
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(_TOO_LONG)
    return int(text)


def _build_mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f"names the key {key!r} twice; leave one out")
        mapping[key] = value
    return mapping


def _describe_place(error: yaml.YAMLError) -> str:
    """Say what a YAML reader stumbled over, and where."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{error.problem}{where}" + (f" ({error.context})" if error.context else "")


class _Loader(_Base):  # type: ignore[misc]
    """Core values alone; every key is text and stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE_TAG:
                continue

            # YAML takes any value for a key, and the last of two equal ones.
            is_scalar = isinstance(key_node, yaml.ScalarNode)
            key = self.construct_object(key_node, deep=True) if is_scalar else None
            problem = f"the key {key!r} stands there twice" if key in seen else ""
            if not isinstance(key, str):
                given = key_node.value if is_scalar else "a list or mapping"
                problem = f"a key must be text, got {given}; quote it"

            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)

        found: dict[str, Any] = super().construct_mapping(node, deep=deep)
        return found

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        try:
            found = int(super().construct_yaml_int(node))
        except ValueError:  # 4,300 digits and more
            found = None
        if found is None or abs(found) >= 10**MAX_DIGITS:
            raise yaml.MarkedYAMLError(problem="no such number", problem_mark=node.start_mark)
        return found


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        breaks = any(
            mark in data for mark in "\x85\u2028\u2029"
        )  # unquoted they come back as spaces
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if breaks else None)


_Dumper.add_representer(str, _Dumper.represent_str)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _kind in (_Loader, _Dumper):
    _resolvers = {
        first: [
            (tag, rule)
            for tag, rule in rules
            if tag in CORE_TAGS | {MERGE_TAG} and "float" not in tag
        ]
        for first, rules in _kind.yaml_implicit_resolvers.items()
    }
    _kind.yaml_implicit_resolvers = _resolvers
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
