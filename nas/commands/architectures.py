"""What `arch=` may name: a published network, or a YAML or JSON file."""

from pathlib import Path
from typing import Any

import torch
import yaml

from search_spaces import ArchSpec, build, published

PREFIX = "published/"


def resolve_arch(text: str, *, key: str = "arch") -> ArchSpec:
    """The spec that a text names.

    Args:
        text: published/NAME, or a file that holds a spec, by itself or under `spec`.
        key: the key that it was given for, for messages.
    Raises:
        ValueError: it names nothing, or what it names cannot be built.
    """
    try:
        if text.startswith(PREFIX):
            return published(text.removeprefix(PREFIX))
        spec = ArchSpec.from_dict(_read(Path(text).expanduser()))
        with torch.device("meta"):
            build(spec)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key}={text}: {error}") from None
    return spec


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise ValueError(f"{what}; use {PREFIX}NAME, or a YAML or JSON file that holds a spec")
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"is no YAML or JSON: {' '.join(str(error).split())}") from None
    found = data["spec"] if isinstance(data, dict) and "spec" in data else data
    if not isinstance(found, dict):
        raise ValueError(f"holds no architecture: a mapping of fields is needed, got {type(found).__name__}")
    return found
