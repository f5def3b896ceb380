"""Neural architecture search for efficient x4 super-resolution."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import Search

__all__ = ["Search"]


def __getattr__(name: str) -> Any:
    """Load `Search`, and torch with it, only when it is asked for (PEP 562)."""
    if name == "Search":
        from nas.api import Search

        return Search
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
