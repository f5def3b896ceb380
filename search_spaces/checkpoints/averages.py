"""Names of averages: read from a place in a checkpoint whether its weights are averaged."""

import re
from collections.abc import Sequence

_WORDS = r"emas?|swa|average[ds]?|avg|shadow|polyak"
_GLUED = (
    r"(model|net|params|weights|gen|generator|g)ema|ema(model|params|weights)"  # as in modelema
)
_AVERAGED = re.compile(rf"(?<![a-z])({_WORDS}|{_GLUED})(?![a-z])")
_RAW = re.compile(r"(?<![a-z])(online|raw)(?![a-z])")  # of what lies within an averaging module
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # net|EMA, EMA|Net
_TRAINING = re.compile(r"(.*_)?opt(_.*)?|.*optim(?!al|i[sz]ed).*|.*scheduler.*|.*scaler|grads?")
# Averages that optimisers keep of gradients, as their states name them: exp_avg_sq, square_avg,
# grad_ema.
_MOMENT = re.compile(
    r"(.*_)?(exp|square|sq|grads?|gradients?)_(avg|ema)(_(?!model|net|params|weights|state).*)?"
    r"|(avg|ema)_(sq|squared?|grads?|gradients?)(_.*)?|grads?|gradients?|momentum(_.*)?"
)
SLOTS = (  # what optimisers keep of one parameter holds one of these
    *("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta", "exp_inf"),
)


def names_average(place: Sequence[str]) -> bool:
    """Return whether a place is named as averages of weights over training steps.

    The innermost word that says either counts: `ema.online_model` holds raw weights.
    """
    # modelEMA and model_ema are one name.
    parts = [_HUMP.sub("_", part).lower() for part in place]
    if any(_MOMENT.fullmatch(part) for part in parts):
        return False
    for part in reversed(parts):
        # Raw weights lie beside the averages within an averaging module.
        if _RAW.search(part):
            return False
        if _AVERAGED.search(part):
            return True
    return False


def names_training(key: str) -> bool:
    """Return whether a key is named as the state of an optimiser, or of what trains beside it."""
    return _TRAINING.fullmatch(key.lower()) is not None
