"""What can be built: architectures as data, and the networks made from them."""

from typing import TYPE_CHECKING, Any

from search_spaces.published import published
from search_spaces.spec import ArchSpec, BlockSpec

if TYPE_CHECKING:
    from search_spaces.network import build

__all__ = ["ArchSpec", "BlockSpec", "build", "published"]


def __getattr__(name: str) -> Any:
    """Load `build`, and torch with it, only when it is asked for (PEP 562)."""
    if name == "build":
        from search_spaces.network import build

        return build
    raise AttributeError(f"module 'search_spaces' has no attribute {name!r}")
