"""Training forms by name, and the factory that makes a network's convolutions in one of them."""

import functools
import inspect
import json

import torch
from torch import nn

from search_spaces.layers.conv import plain_conv
from search_spaces.reparam.base import RepConv2d
from search_spaces.reparam.conv3xc import Conv3XC
from search_spaces.reparam.erb import ERB
from search_spaces.reparam.lora import LoRA
from search_spaces.reparam.parallel import MBRB, Asymmetric, RepVGG, Sum
from search_spaces.spec import BlockSpec

FORMS: dict[str, type[RepConv2d]] = {
    "asymmetric": Asymmetric,
    "conv3xc": Conv3XC,
    "erb": ERB,
    "lora": LoRA,
    "mbrb": MBRB,
    "repvgg": RepVGG,
}
PLAIN, SUM = "none", "sum"  # a part that stays plain; several forms added, which `blocks` holds
KINDS = (*FORMS, PLAIN, SUM)


class TrainingConv:
    """Makes dense convolutions in a training form: a `ConvFactory`. A 1x1 has none and is plain.

    Args:
        form: its kind and every argument; `none`: all are plain.
    Raises:
        ValueError: its kind or an argument is not known, or the argument's value is out of range.
    """

    def __init__(self, form: BlockSpec) -> None:
        self.form = form
        if form.kind != PLAIN:
            with torch.device("meta"):  # every part of it is checked, none is drawn
                make_form(form, 1, 1, kernel=3, bias=True)
        elif form.args or form.blocks:
            raise ValueError(f"train_form {PLAIN!r} takes no arguments, got {form.to_dict()}")

    def __call__(self, in_channels: int, channels: int, *, kernel: int, bias: bool) -> nn.Module:
        # A 1x1 has no training form: it is plain in both forms of a network.
        if kernel == 1 or self.form.kind == PLAIN:
            return plain_conv(in_channels, channels, kernel=kernel, bias=bias)
        return make_form(self.form, in_channels, channels, kernel=kernel, bias=bias)


def training_conv(form: BlockSpec) -> TrainingConv:
    """Return the factory of a form; a form is checked when it is first met.

    Raises:
        ValueError: as `TrainingConv`.
    """
    return _make_training_conv(json.dumps(form.to_dict(), sort_keys=True))


@functools.lru_cache(maxsize=1000)
def _make_training_conv(
    text: str,
) -> TrainingConv:  # of text: as Python has it, 1 and true are one form
    return TrainingConv(BlockSpec.from_dict(json.loads(text)))


def make_form(
    form: BlockSpec, in_channels: int, channels: int, *, kernel: int, bias: bool
) -> RepConv2d:
    """Return one convolution in a training form.

    Raises:
        ValueError: as `TrainingConv`.
    """
    if form.train_form is not None:
        raise ValueError(f"train_form {form.kind!r} has no train_form of its own; name one form")

    # A sum holds its forms as blocks, each over the same input.
    if form.kind == SUM:
        if len(form.blocks) < 2 or form.args:
            raise ValueError(
                f"train_form {SUM!r} takes two or more forms as blocks, got {form.to_dict()}"
            )
        parts = [
            make_form(part, in_channels, channels, kernel=kernel, bias=bias) for part in form.blocks
        ]
        return Sum(in_channels, channels, kernel=kernel, bias=bias, parts=parts)

    if form.kind not in FORMS:
        raise ValueError(f"train_form {form.kind!r} is not known here; known: {', '.join(KINDS)}")

    # Every argument must be in the spec: a default that changes would change old specs.
    make = FORMS[form.kind]
    expected = {
        name for name, p in inspect.signature(make).parameters.items() if p.kind is p.KEYWORD_ONLY
    } - {
        "kernel",
        "bias",
    }
    given = {name for name, _ in form.args}
    if expected != given or form.blocks:
        wrong = f"missing {sorted(expected - given)}, unknown {sorted(given - expected)}"
        wrong += ", and holds no blocks" if form.blocks else ""
        raise ValueError(
            f"train_form {form.kind!r} takes the arguments {sorted(expected)}: {wrong}"
        )

    args: dict[str, object] = dict(form.args)
    return make(in_channels, channels, kernel=kernel, bias=bias, **args)
