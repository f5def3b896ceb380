"""MuAdamW: orthogonalised steps for hidden convolutions, AdamW for everything else."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from search_spaces.layers.attention import ATTENTIONS

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
ROUNDING = 1e-7


def orthogonalise(matrices: Tensor) -> Tensor:
    """Push the singular values of each matrix (B, rows, columns) towards 1 by Newton-Schulz steps."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + ROUNDING)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Muon over convolution kernels, flattened to (out, in * kh * kw); torch.optim.Muon takes matrices only.

    The learning rate is a step in spectral norm, so it does not compare with AdamW's; with a weight decay
    d the norm of a kernel stays near or below 1 / d, however long the training. Kernels of one shape are
    orthogonalised in one batch.

    Source: K. Jordan et al., Muon, 2024; as MuAdamW in VARH-AI's entry of NTIRE 2026 Efficient SR.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float, decay: float
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            mu = group["momentum"]
            shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append((p, p.grad))
            for shape, members in shapes.items():
                updates = []
                for p, gradient in members:
                    state = self.state[p]
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    state["momentum"].mul_(mu).add_(gradient)
                    updates.append(gradient.add(state["momentum"], alpha=mu).flatten(1))
                rows, columns = shape[0], shape[1:].numel()
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                for (p, _), update in zip(
                    members, orthogonalise(torch.stack(updates)), strict=True
                ):
                    p.mul_(1 - group["lr"] * group["decay"]).add_(update.view(shape), alpha=-scale)


def hidden_kernels(net: nn.Module) -> list[Tensor]:
    """The kernels that Muon takes: dense convolutions between features, neither first nor last ones.

    Nor those of attentions: orthogonal steps let a gate outgrow what it weighs, and training diverges.
    """
    kinds = tuple(ATTENTIONS.values())
    gates = {m for part in net.modules() if isinstance(part, kinds) for m in part.modules()}
    dense = [
        m
        for m in net.modules()
        if isinstance(m, nn.Conv2d) and m.groups == 1 and m.in_channels != 3
    ]
    return [m.weight for m in dense[:-1] if m not in gates]
