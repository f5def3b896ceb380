"""What launches over the stub of libcuda, printed as JSON: python -m tests.nas.ops.stub.checks FOLDER."""

import copy
import json
import sys
from dataclasses import replace

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from tests.nas.ops.stub.driver import install

STUB = install(sys.argv[1])

from nas.deploy.plan import Plan, trace  # noqa: E402 - after Triton has its driver
from nas.ops import backend  # noqa: E402
from nas.ops.conv_act import triton as launcher  # noqa: E402
from nas.ops.conv_act.config import default  # noqa: E402
from nas.ops.conv_act.module import ConvAct  # noqa: E402
from nas.ops.fuse import fuse  # noqa: E402
from nas.ops.prepared import Prepared  # noqa: E402
from nas.ops.span_attention.module import FusedLearnedPointwise, FusedParameterFree  # noqa: E402
from search_spaces import build, published  # noqa: E402

LAST = torch.channels_last
GATE = nn.Conv2d(32, 32, 1).requires_grad_(False)


def maps(channels, *, height=20, dtype=torch.float32):
    return torch.rand(1, channels, height, 40).to(dtype).contiguous(memory_format=LAST)


def conv(cin=32, cout=32, size=3, *, epilogue="relu", bias=True, dtype=torch.float32):
    plain = nn.Conv2d(cin, cout, size, padding=size // 2, bias=bias).to(dtype)
    return ConvAct(plain.requires_grad_(False), epilogue)


CASES = {
    "relu": (conv(), maps(32)),
    "no bias, float16": (conv(bias=False, dtype=torch.float16), maps(32, dtype=torch.float16)),
    "gate": (conv(epilogue="conv1x1"), maps(32), maps(32), GATE),
    "attention": (conv(epilogue="parameter_free"), maps(32), maps(32)),
    "image": (conv(3), torch.rand(1, 3, 20, 40)),
    "1x1": (conv(size=1, epilogue="none"), maps(32)),
    "learned attention": (FusedLearnedPointwise(32).requires_grad_(False), maps(32), maps(32)),
    "attention of planes": (
        FusedLearnedPointwise(32),
        torch.rand(1, 32, 20, 40),
        torch.rand(1, 32, 20, 40),
    ),
    "attention without weights": (FusedParameterFree(32), maps(32), maps(32)),
}


def call(module, *maps_):
    """The launches of a call, the first one in full, save for the place of the result."""
    before = STUB.count()
    out = module(*maps_)
    launch, place = STUB.launch(before), out.data_ptr()
    return {"launches": STUB.count() - before, "writes": place in launch,
            "launch": ["out" if word == place else word for word in launch], "out": out}  # fmt: skip


def find_kernel(module, *maps_):
    """The kernel that a first call compiles."""
    launcher._launches.clear()
    launcher._compiled.clear()
    module(*maps_)
    (repeat,) = module._launches.values()
    return repeat.held[0]


def compare(module, *maps_):
    """The same call made thrice: as Triton searches for its kernel, and prepared."""
    STUB.expect(find_kernel(module, *maps_))
    launcher._launches.clear()
    launcher._compiled.clear()
    module._launches.clear()
    found = [call(module, *maps_) for _ in range(3)]
    prepared = [repeat is not None for repeat in module._launches.values()]
    return {
        "same": all(one["launch"] == found[0]["launch"] for one in found),
        "writes": all(one["writes"] for one in found),
        "prepared": prepared,
        "launches": [one["launches"] for one in found[1:]],
        "strides": [one["out"].stride() for one in found],
    }


def weights():
    """Whether a launch reads the weights that the module has now."""
    module, x = conv(), maps(32)
    STUB.expect(find_kernel(module, x))

    def reads():
        return (
            module.weight.data_ptr() in call(module, x)["launch"]
            and module.bias.data_ptr() in STUB.launch()
        )

    found = {"first": reads() and reads()}
    with torch.no_grad():
        module.weight.mul_(2)
    found["in place"] = reads()
    module.weight.data, module.bias.data = module.weight.data.clone(), module.bias.data.clone()
    found["swapped"] = reads() and reads()
    found["first again, elsewhere"] = reads()
    module.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    found["loaded"] = reads()
    state = {
        name: value.clone(memory_format=torch.preserve_format)
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(state, assign=True)
    found["assigned"] = reads() and reads()
    module.weight.data = module.weight.data.transpose(2, 3)  # the same memory, read otherwise
    found["turned"] = not reads() and not reads()
    other = copy.deepcopy(module)
    found["copied"] = (
        len(other._launches) == 0 < len(module._launches) and type(other._launches) is Prepared
    )
    return found


def shapes():
    """Heights and widths that launches are told when shapes alternate, and the shapes of the results."""
    module, found = conv(), []
    STUB.expect(find_kernel(module, maps(32)))
    for height in (20, 9, 20, 9):
        done = call(module, maps(32, height=height))
        found.append((list(done["out"].shape), done["launch"][7 + 4 : 7 + 6]))
    return found


def calls():
    """What goes past the prepared launch: a name, and whether it is seen or done as it should be."""
    module, x = conv(), maps(32)
    module(x)
    found = {}
    with FlopCounterMode(display=False) as counter:
        module(x)
    found["a mode"] = counter.get_total_flops() == 2 * 32 * 32 * 9 * 20 * 40
    before = STUB.count()
    with backend.using("reference"):
        out = module(x)
    torch.testing.assert_close(
        out, torch.relu(nn.functional.conv2d(x, module.weight, module.bias, padding=1))
    )
    found["another backend"] = STUB.count() == before
    module.requires_grad_(True)
    with torch.enable_grad():
        found["a gradient"] = module(x).grad_fn is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found["autocast"] = module(x).dtype == torch.bfloat16
    strict = torch.backends.cudnn.conv.fp32_precision
    module(x)
    rounded = STUB.launch()[6]
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    module(x)
    found["another precision"] = STUB.launch()[6] != rounded
    torch.backends.cudnn.conv.fp32_precision = strict
    module(x)
    found["the first precision"] = STUB.launch()[6] == rounded
    grid, fit = STUB.launch()[:3], launcher.fit_image
    launcher.fit_image = lambda *case: replace(fit(*case), height=1)
    launcher.tune({})
    module(x)
    found["another tiling"] = STUB.launch()[:3] != grid
    launcher.fit_image = fit
    launcher.tune({})
    for name in ("weight", "bias"):
        parametrized = conv()
        parametrize.register_parametrization(parametrized, name, nn.Identity())
        found[f"a parametrization of the {name}"] = (
            parametrized(x).shape == x.shape and not parametrized._launches
        )
    return found


def networks():
    """Launches of published networks: of the runner's plan, and of a second call of fused modules."""
    found = {}
    for name in ("span", "spanv2", "spanf"):
        net = build(published(name)).eval().requires_grad_(False)
        image, counts = torch.rand(1, 3, 20, 24), []
        plan = Plan(trace(fuse(net, attention="epilogue")), {}, merged_for=torch.device("cpu"))
        fused = fuse(net)
        for run in (plan, plan, fused, fused):
            before = STUB.count()
            run(image)
            counts.append(STUB.count() - before)
        modules = [module for module in fused.modules() if hasattr(module, "_launches")]
        prepared = sum(any(module._launches.values()) for module in modules)
        found[name] = {
            "plan": counts[:2],
            "steps": len(plan.steps),
            "modules": counts[3],
            "prepared": prepared,
        }
    return found


def fit_small(case, *size):
    """A tiling that compiles soon: what is counted does not depend on it."""
    usual = default(case)
    width = min(16, usual.width)
    form = "loop" if usual.form == "rows" else usual.form
    return replace(usual, form=form, height=2, width=width, num_warps=4)


with torch.no_grad():
    result = {"cases": {name: compare(*case) for name, case in CASES.items()}}
    launcher.fit_image = fit_small
    launcher.tune({})
    result |= {"weights": weights(), "shapes": shapes(), "calls": calls(), "networks": networks()}
print(json.dumps(result))
