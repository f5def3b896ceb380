import dataclasses
import json
from pathlib import Path

import pytest
import torch

from nas.measure.cost import SUMMED, count, layer_costs, measure_cost, summed_cost, training_params
from search_spaces import BlockSpec, build, published
from tests.nas.measure.networks import random_spec, tiny

COUNTS = Path(__file__).parents[4] / "shared" / "reference" / "counts.json"
PUBLISHED = {
    "span": ("team00_SPAN", 150_688, 9_833_807_872, 41_680_896, 22),
    "spanf": ("y2025_team24_SPANF", 148_288, 9_681_502_208, 39_845_888, 18),
    "spanv2": ("team22_SPANV2", 139_104, 9_107_931_136, 51_380_224, 22),
    "amcanet": ("team17_AMCANet", 86_384, 5_243_313_888, 192_174_416, 136),
    "hfenet": ("team10_HFENet", 143_628, 8_905_165_020, 259_916_154, 157),
    "safmn_deep15": ("team21_SAFMN_Deep15", 149_248, 9_620_355_072, 176_109_568, 107),
    "zenosr": ("team04_ZenoSR", 37_786, 2_681_118_720, 153_821_184, 102),
    "dan": ("y2025_team20_DAN", 44_354, 3_126_640_640, 194_084_864, 144),
    "vscinet": ("team11_VSCINet", 51_465, 3_597_096_960, 184_127_488, 169),
}
LAYERED = ("span", "spanf", "spanv2")  # without products outside of layers
NOT_COUNTED = {"vscinet": 298_844_160}  # fvcore knows no convolution whose padding is a word
MIB = 2**20


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_the_published_counts(name):
    cost = measure_cost(published(name))
    assert (cost.params, cost.flops, cost.activations, cost.num_conv) == PUBLISHED[name][1:]
    assert summed_cost(published(name)) == {field: getattr(cost, field) for field in SUMMED}


@pytest.mark.skipif(not COUNTS.exists(), reason="../shared/reference/counts.json is not here")
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_figures_above_are_those_of_the_reference(name):
    key, *expected = PUBLISHED[name]
    entry = json.loads(COUNTS.read_text())[key]
    names = ("num_parameters", "fvcore_flops", "activations_ours", "num_conv_ours")
    expected[1] -= NOT_COUNTED.get(name, 0)
    assert [entry[field] for field in names] == expected


def test_what_fvcore_leaves_out_of_vscinet_are_its_80_depthwise_convolutions_of_four_shapes():
    missing = [layer for layer in layer_costs(published("vscinet")) if ".depthwise.branches." in layer.name]
    assert len(missing) == 80
    assert {layer.kind for layer in missing} == {"Conv2d"}
    assert sum(layer.flops for layer in missing) == NOT_COUNTED["vscinet"]


def test_training_form_of_span_holds_its_branches():
    assert training_params(published("span")) == 634_048


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_counts_equal_those_of_fvcore(seed):
    import fvcore.nn  # scripts a function on import, which warns

    spec, size = random_spec(seed), (24, 20)
    net, image = build(spec).eval(), torch.rand(1, 3, *size)
    with torch.no_grad():
        flops = fvcore.nn.FlopCountAnalysis(net, image).unsupported_ops_warnings(False)
        activations = fvcore.nn.ActivationCountAnalysis(net, image).unsupported_ops_warnings(False)
        cost = measure_cost(spec, size=size)
        assert cost.flops == flops.total()
        assert cost.activations == activations.by_operator()["conv"]  # it counts matrix products too
    assert cost.params == fvcore.nn.parameter_count(net)[""]


@pytest.mark.parametrize("seed", range(4))
def test_costs_do_not_depend_on_the_device(seed):
    spec = random_spec(seed)
    assert count(build(spec).eval(), torch.rand(1, 3, 24, 20)) == measure_cost(spec, size=(24, 20))


def test_memory_is_the_peak_of_live_tensors_when_counted_by_hand():
    pixels = 64 * 64
    # The upsampler's convolution and the shuffled image live beside the image, the features, the fused ones.
    floats = pixels * (3 + 4 + 4 + 12 + 12) + 3  # and the mean
    weights = (3 * 4 * 9 + 4) + 4 * 4 + (4 * 12 * 9 + 12)
    assert measure_cost(tiny(), size=(64, 64)).memory_mib == 4 * (floats + weights) / MIB


def test_memory_counts_overwritten_activations_once():
    def memory_mib(activation):
        block = BlockSpec.of("conv_stack", channels=64, activation=activation, activate_last=True, bias=False)
        return measure_cost(dataclasses.replace(tiny(), blocks=(block,)), size=(64, 64)).memory_mib

    map_mib = 64 * 64 * 64 * 4 / MIB  # of one feature map; `inner` and two more live at once
    assert 3 * map_mib < memory_mib("relu") < 3.5 * map_mib
    assert memory_mib("gelu") >= memory_mib("relu")  # the one that has no in-place form


@pytest.mark.parametrize("scale", [2, 3])
def test_other_scales_change_only_what_the_upsampler_gives(scale):
    spec = dataclasses.replace(published("span"), scale=scale)
    less = 3 * (16 - scale**2)  # output channels of its 3x3 convolution over 28 channels
    cost, usual = measure_cost(spec), measure_cost(published("span"))
    assert usual.params - cost.params == less * (28 * 9 + 1)
    assert usual.flops - cost.flops == less * 28 * 9 * 256 * 256


@pytest.mark.parametrize("name", LAYERED)
def test_layers_sum_to_the_network(name):
    layers, cost = layer_costs(published(name), size=(32, 48)), measure_cost(published(name), size=(32, 48))
    for field in ("params", "flops", "activations"):
        assert sum(getattr(layer, field) for layer in layers) == getattr(cost, field)
    assert layers[-1].shape == (1, 48, 32, 48)
    assert layers[-1].name == "upsampler.conv"


def test_counting_leaves_nothing_behind():
    state, hooks = torch.get_rng_state(), len(torch.nn.modules.module._global_forward_hooks)
    measure_cost(tiny())
    assert torch.equal(torch.get_rng_state(), state)
    assert len(torch.nn.modules.module._global_forward_hooks) == hooks
    assert torch.is_grad_enabled()
    assert torch.empty(1).device.type == "cpu"


def test_a_spec_that_cannot_be_built_is_refused():
    spec = dataclasses.replace(tiny(), blocks=(BlockSpec.of("resnet", channels=4),))
    with pytest.raises(ValueError, match="block kind 'resnet' is not known"):
        measure_cost(spec)
