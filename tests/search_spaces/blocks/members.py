"""Small networks around the blocks that are tested."""

from search_spaces import ArchSpec, BlockSpec

SPAB = {"activation": "silu", "attention": "parameter_free", "bias": True}


def hab(channels=16, kernel=7):
    return {"kind": "hab", "channels": channels, "kernel": kernel}


def shab(channels=16, kernel=7):
    return {"kind": "shab", "channels": channels, "kernel": kernel}


def spab(channels=16, **changes):
    return {"kind": "spab", "channels": channels} | SPAB | changes


def group(*blocks, kernel=1, attention="none"):
    return {
        "kind": "group",
        "kernel": kernel,
        "bias": True,
        "attention": attention,
        "blocks": list(blocks),
    }


def member(*blocks, channels=16, **changes):
    """A x2 network with these blocks after a stem, the stem added to what they give."""
    data = {
        "scale": 2,
        "normalise": False,
        "stem": {"kind": "conv", "channels": channels, "kernel": 3, "bias": True},
        "blocks": list(blocks),
        "taps": [f"block{len(blocks)}"],
        "fusion": {"kind": "conv", "channels": channels, "kernel": 3, "bias": True},
        "residuals": [{"kind": "identity", "feature": "stem"}],
        "upsampler": {"kind": "pixel_shuffle", "kernel": 3, "bias": True},
        "train_form": {"kind": "conv3xc", "gain": 2},
    }
    return ArchSpec.from_dict(data | changes)


def made(data, in_channels):
    """One block by itself."""
    from search_spaces.layers.conv import plain_conv
    from search_spaces.parts import make_block

    return make_block(BlockSpec.from_dict(data), in_channels, plain_conv)
