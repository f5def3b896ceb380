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

    Parent and child are walked side by side. Every convolution of the child begins as the parent's
    kernel, read through the channels that the child has. Ridge regression then corrects it, from
    the child's input to the parent's output at the same place. Fewer channels, fewer blocks,
    another activation, attention, head, skip branch or set of taps are all one case; what
    regression cannot correct is the child's error.

    A child that holds all of its parent and adds to it gives exactly the parent's output. This
    holds for more channels (fresh incoming kernels, zero outgoing ones), more taps, and more blocks
    with attention conv1x1, diagonal or none: their third convolution starts at zero and x passes.

    Parameter-free gates cannot pass x: of (x + f) (sigmoid(f) - 0.5) a constant f leaves less than
    half, with an offset that zero padding then shows. Such blocks are regressed like the rest, and
    so are those added to a parent of one block whose inner feature is tapped.

    A residual parent gives a residual child. For another relation, such as a residual child of a
    whole network, `target` says what the child is to give.

    Args:
        teacher: the parent; its images calibrate the regression.
        spec: the child's, of the parent's space; without a fixed skip branch for residual training.
        seed: of fresh channels.
        target: (N, 3, scale H, scale W): what the child's last layers are fitted to on the
            teacher's images, such as the parent's output minus the base. None: the parent's own
            output, and only then is growth exact. True HR pixels measured worse than the parent's
            output in every case tried, by 0.1 to 0.7 dB with released SPAN, SPANF and SPANV2.
    Returns:
        The child in inference form and evaluation mode; `unfold` gives its training form.
    Raises:
        ValueError: the child's parts do not match the parent's, or the target has another shape.
    """
    check_family(spec)
    num, _, height, width = teacher.images.shape
    shape = (num, 3, spec.scale * height, spec.scale * width)
    if target is not None and tuple(target.shape) != shape:
        raise ValueError(
            f"target must be {shape} for the teacher's images, got {tuple(target.shape)}"
        )

    # Blocks first, then the head on the features that they give.
    plan = Plan(teacher, spec)
    child = initial_network(spec, seed, teacher.images[:NUM_FRESH], zero_output=False)
    walk = Walk(teacher, child, plan)
    walk.run()
    fit_head(teacher, child, walk, target)
    return child.eval()
