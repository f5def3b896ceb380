"""A network in its training form that computes what a given one does."""

import torch
from torch import Tensor

from search_spaces.network import Network, build
from search_spaces.reparam import RepConv2d


@torch.no_grad()
def training_form(net: Network, *, seed: int) -> Network:
    """The inverse of `Network.fold`: training branches whose merged kernels are the network's.

    Of the four branches the two outer 1x1 and the shortcut stay as PyTorch starts them, so the branches are
    as well conditioned as in a fresh training; the 3x3 between them takes the difference, by the smallest
    change that merges to it: no other branch can, the shortcut reaches only the centre tap. It always
    exists: the outer ones map into more channels than they come from, so both have one-sided inverses.

    Args:
        net: in inference form; its spec names the training form.
        seed: of the fresh branches; the global generator is left as it was.
    Returns:
        a network that shares no memory with `net`; in inference form where the spec has no training form.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = build(net.spec, train=True)
    modules = dict(made.named_modules())
    held = {name: module for name, module in modules.items() if isinstance(module, RepConv2d)}
    state = net.state_dict()
    rest = {key: value for key, value in state.items() if key.rpartition(".")[0] not in held}
    made.load_state_dict(rest, strict=False)
    for name, module in held.items():
        _hold(module, state[f"{name}.weight"], state.get(f"{name}.bias"))
    return made


def _hold(module: RepConv2d, kernel: Tensor, bias: Tensor | None) -> None:
    """Change the k x k branch and a bias so that the branches merge to (b, a, k, k) and (b,)."""
    for _ in range(2):  # the second time for what float32 rounds off
        project = torch.linalg.pinv(module.project.weight.flatten(1).double())
        expand = torch.linalg.pinv(module.expand.weight.flatten(1).double())
        missing = (kernel - module.merged()[0]).double()
        module.conv.weight += torch.einsum("qo,oihw,ip->qphw", project, missing, expand).float()
    merged = module.merged()[1]
    if merged is not None and bias is not None:
        assert module.project.bias is not None
        module.project.bias += bias - merged
