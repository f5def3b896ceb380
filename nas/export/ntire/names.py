"""What the files of a team are called, and the class of its network."""

import builtins
import keyword
from dataclasses import dataclass

from search_spaces.published import names as list_published
from search_spaces.published import published
from search_spaces.spec import ArchSpec

# Names that the printed file needs for itself.
TAKEN = ("F", "math", "nn", "torch")
# Published names that their papers write otherwise than in capitals.
PAPERS = {
    "amcanet": "AMCANet",
    "dwmamba": "DWMamba",
    "hfenet": "HFENet",
    "mambagate": "MambaGate",
    "safmn_deep15": "SAFMN_Deep15",
    "vscinet": "VSCINet",
    "zenosr": "ZenoSR",
    "dscf_fused": "DSCF_Fused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A team's number and the name of its network.

    Attributes:
        team: 0 to 99; 0 is the challenge's baseline.
        network: name of the class, and part of the files' names.
    """

    team: int
    network: str

    def __post_init__(self) -> None:
        if not 0 <= self.team <= 99:
            raise ValueError(f"team must be at least 0 and at most 99, got {self.team}")
        is_name = self.network.isidentifier() and self.network.isascii()
        is_taken = self.network in TAKEN or hasattr(builtins, self.network)
        if not is_name or keyword.iskeyword(self.network) or is_taken:
            raise ValueError(
                f"name must be the name of a Python class, got {self.network!r}; such as MySPAN"
            )

    @property
    def stem(self) -> str:
        """The files' name without its ending: team05_SPAN."""
        return f"team{self.team:02}_{self.network}"

    @property
    def model(self) -> str:
        return f"models/{self.stem}.py"

    @property
    def weights(self) -> str:
        return f"model_zoo/{self.stem}.pth"


def find_published(spec: ArchSpec) -> str | None:
    """Return the name of the published network that an architecture is; None for others."""
    for name in list_published():
        if published(name).arch_id == spec.arch_id:
            return name
    return None


def propose_name(spec: ArchSpec) -> str:
    """Return a class name for a network: a published one's, or one made of its identity."""
    name = find_published(spec)
    return f"ESR_{spec.arch_id[:6]}" if name is None else PAPERS.get(name, name.upper())
