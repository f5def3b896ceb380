"""MuAdamW: orthogonalised steps for hidden convolutions, AdamW for everything else."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from search_spaces.layers.attention import ATTENTIONS

# Coefficients of the quintic iteration x -> a x + (b G + c G G) x with G = x x^T, of K. Jordan et
# al., "Muon", 2024: steep at 0, they bring singular values near 1 in five steps, not exactly to 1.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
EPSILON = 1e-7  # added to the norm, for gradients of zero


def orthogonalise(matrices: Tensor) -> Tensor:
    """Push the singular values of matrices (B, rows, columns) towards 1 by Newton-Schulz steps."""
    a, b, c = NEWTON_SCHULZ

    # Wide rather than tall: the Gram matrix is then the smaller of the two.
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + EPSILON)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x

    orthogonal: Tensor = x.mT if tall else x
    return orthogonal


class Muon(torch.optim.Optimizer):
    """Muon for convolution kernels, flattened to (out, in * kh * kw).

    The learning rate is a step in spectral norm, so it does not compare with AdamW's. With a weight
    decay d the norm of a kernel stays near or below 1 / d, however long the training. Ours because
    torch.optim.Muon takes matrices only; kernels of one shape are orthogonalised in one batch.

    Source: K. Jordan et al., "Muon", 2024; as MuAdamW in VARH-AI's entry of NTIRE 2026 Efficient
        SR.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float, decay: float
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients of the kernels; one without a gradient stays."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    by_shape.setdefault(kernel.shape, []).append(kernel)

            for shape, kernels in by_shape.items():
                updates = [self._add_momentum(kernel, group["momentum"]) for kernel in kernels]

                # A kernel with more rows than columns takes longer steps, as in the source.
                rows, columns = shape[0], shape[1:].numel()
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                steps = orthogonalise(torch.stack(updates))
                for kernel, step in zip(kernels, steps, strict=True):
                    kernel.mul_(1 - group["lr"] * group["decay"]).add_(
                        step.view(shape), alpha=-rate
                    )

    def _add_momentum(self, kernel: Tensor, mu: float) -> Tensor:
        """Update the momentum; return the gradient with Nesterov momentum, (out, in * kh * kw)."""
        gradient, state = kernel.grad, self.state[kernel]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].mul_(mu).add_(gradient)
        return gradient.add(state["momentum"], alpha=mu).flatten(1)


def hidden_kernels(net: nn.Module) -> list[Tensor]:
    """List the kernels that Muon trains: dense convolutions between features.

    The first and the last convolution are left out, and those of attentions: orthogonal steps let a
    gate outgrow the features that it weighs, and training diverges.
    """
    kinds = tuple(ATTENTIONS.values())
    # Attentions are found by their classes, wherever they stand.
    gates = {m for part in net.modules() if isinstance(part, kinds) for m in part.modules()}
    dense = [
        m
        for m in net.modules()
        if isinstance(m, nn.Conv2d) and m.groups == 1 and m.in_channels != 3
    ]
    return [m.weight for m in dense[:-1] if m not in gates]
