"""From one stage to the next: the network's form, and the base that it takes over."""

from torch import Tensor

from nas.train.absorb import absorb_base, can_absorb
from nas.train.recipe.config import Stage
from search_spaces.network import Network
from search_spaces.reparam import rep_convs
from search_spaces.spec import ArchSpec


def has_base(spec: ArchSpec, stage: Stage) -> bool:
    """Return whether a stage trains what networks of a spec add to the bicubic base."""
    return stage.base == "bicubic" and can_absorb(spec)


def change_form(net: Network, form: str, *, seed: int) -> Network:
    """Return a network in its training form, or plain; one that is so already is returned.

    Args:
        form: train or plain.
        seed: of the fresh branches of a training form.
    """
    is_plain = next(rep_convs(net), None) is None
    if form == "plain":
        return net if is_plain else net.fold()
    return net.unfold(seed=seed) if is_plain else net


def make_whole(net: Network, spec: ArchSpec, stage: Stage, lr: Tensor) -> Network:
    """Return the plain network that gives whole images, after a stage.

    Args:
        net: as the stage left it.
        spec: of the whole network.
        lr: patches on which a base is taken into it, (N, 3, h, w), on the network's device.
    """
    plain = change_form(net, "plain", seed=0).eval()
    return absorb_base(plain, spec, lr).eval() if has_base(spec, stage) else plain
