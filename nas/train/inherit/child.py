"""A child network that starts from its parent's weights."""

import torch
from torch import Tensor

from nas.train.inherit.head import fit_head
from nas.train.inherit.plan import Plan
from nas.train.inherit.teacher import Teacher, check_family
from nas.train.inherit.walk import Walk
from search_spaces.initialise import initial_network
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

NUM_FRESH = 8  # images that set the size of fresh channels


@torch.no_grad()
def inherit(
    teacher: Teacher, spec: ArchSpec, *, seed: int, target: Tensor | None = None
) -> Network:
    """Start a child from a trained parent, in closed form.

    Parent and child are walked side by side. Every convolution of the child begins as the parent's kernel as
    seen through the channels that the child has, and is corrected by ridge regression from what it sees in
    the child to what the parent gives at that place. So fewer channels, fewer blocks, another activation,
    attention, head, skip branch or set of taps are one case; what regression leaves is the child's error.

    Where the child holds all of the parent and adds to it, nothing is left to correct and it gives the
    parent's output: more channels (fresh incoming kernels, zero outgoing ones), more taps, more blocks with
    attention conv1x1, diagonal or none (their third convolution starts at zero and x passes). Parameter-free
    gates cannot pass x: of (x + f) (sigmoid(f) - 0.5) a constant f leaves less than half, with an offset that
    zero padding then shows. Such blocks, and those added to a parent of one block whose inner feature is
    tapped, are regressed like the rest.

    Base or none is no matter here: a residual parent gives a residual child. For another relation, such as a
    residual child of a whole network, say with `target` what the child itself is to give.

    Args:
        teacher: the parent; its images calibrate the regression.
        spec: the child's, of the parent's space; for a residual training without fixed skip branch.
        seed: of fresh channels.
        target: (N, 3, scale*H, scale*W) that the child's last layers are fitted to, such as the parent's
            output minus the base, on the teacher's images; the parent's own output where None. Only then is
            growth exact. True HR pixels measured worse than the parent's output in every case tried, by
            0.1 to 0.7 dB with released SPAN, SPANF and SPANV2.
    Returns:
        the child in inference form, in evaluation mode; `unfold` gives its training form.
    Raises:
        ValueError: the child's parts do not correspond to the parent's, or the target has another shape.
    """
    check_family(spec)
    num, _, height, width = teacher.images.shape
    wanted = (num, 3, spec.scale * height, spec.scale * width)
    if target is not None and tuple(target.shape) != wanted:
        raise ValueError(
            f"target must be {wanted} for the teacher's images, got {tuple(target.shape)}"
        )
    plan = Plan(teacher, spec)
    child = initial_network(spec, seed, teacher.images[:NUM_FRESH], zero_output=False)
    walk = Walk(teacher, child, plan)
    walk.run()
    fit_head(teacher, child, walk, target)
    return child.eval()
