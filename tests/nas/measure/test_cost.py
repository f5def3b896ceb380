import dataclasses
import json
from pathlib import Path

import pytest
import torch

from nas.measure.cost import SUMMED, count, layer_costs, measure_cost, summed_cost, training_params
from search_spaces import BlockSpec, build, published
from search_spaces.published import names
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
    "pds": ("team01_PDS", 141_748, 9_253_683_200, 39_059_456, 18),
    "pkdsr": ("team16_PKDSR", 143_928, 9_396_289_536, 39_321_600, 18),
    "dscf": ("y2025_team23_DSCF", 130_828, 8_535_015_424, 38_928_384, 22),
    "dscf_fused": ("team15_DSCF_Fused", 125_992, 8_219_787_264, 38_928_384, 22),
    "tssr": ("y2025_team58_TSSR", 163_792, 10_693_378_048, 40_894_464, 19),
    "disp": ("team18_DISP", 163_792, 10_693_378_048, 40_894_464, 19),
    "errn2": ("team20_ERRN2", 245_968, 16_062_087_168, 57_671_680, 27),
    "rfdn_span": ("team09_RFDN_SPAN", 346_152, 22_600_876_032, 84_541_440, 36),
    "haesr": ("team06_HAESR", 352_869, 26_613_278_208, 503_778_144, 165),
    "dwmamba": ("team12_DWMamba", 673_640, 19_343_746_624, 119_538_864, 143),
    "mambagate": ("team05_MambaGate", 573_168, 36_795_580_416, 144_703_488, 40),
}
# Parameters, FLOPs, activations, convolutions: ours less the reference's.
DIFFERENT = {
    "vscinet": (
        0,
        298_844_160,
        0,
        0,
    ),  # fvcore knows no convolution whose padding is a word: 80 of them
    "haesr": (0, -13_888, 0, 0),  # fvcore reads the count of an einsum from a text of four digits
    "dwmamba": (0, 1_536, 0, 0),  # likewise
    # The reference holds all three forms of each convolution; hidden from its tracer are the mixers' conv1d
    # (6 of 96 maps of 4 taps), x_proj and out_proj, and dt_proj.
    "mambagate": (-532_860, 150_994_944 + 3_133_145_088 + 113_246_208, 37_748_736, 6),
}
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
    fields = ("num_parameters", "fvcore_flops", "activations_ours", "num_conv_ours")
    more = DIFFERENT.get(name, (0, 0, 0, 0))
    assert [entry[field] + other for field, other in zip(fields, more, strict=True)] == expected


def test_what_fvcore_leaves_out_of_vscinet_are_its_80_depthwise_convolutions_of_four_shapes():
    missing = [
        layer for layer in layer_costs(published("vscinet")) if ".depthwise.branches." in layer.name
    ]
    assert len(missing) == 80
    assert {layer.kind for layer in missing} == {"Conv2d"}
    assert sum(layer.flops for layer in missing) == DIFFERENT["vscinet"][1]


def test_every_published_network_is_counted():
    assert set(PUBLISHED) == set(names())


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
        assert (
            cost.activations == activations.by_operator()["conv"]
        )  # it counts matrix products too
    assert cost.params == fvcore.nn.parameter_count(net)[""]


@pytest.mark.parametrize("seed", range(4))
def test_costs_do_not_depend_on_the_device(seed):
    spec = random_spec(seed)
    assert count(build(spec).eval(), torch.rand(1, 3, 24, 20)) == measure_cost(spec, size=(24, 20))


@pytest.mark.parametrize("name", ["mambagate", "dwmamba"])
def test_a_scan_costs_the_same_where_it_is_computed(name):
    """On the meta device it walks one token of each chunk."""
    spec = published(name)
    assert count(build(spec).eval(), torch.rand(1, 3, 40, 33)) == measure_cost(spec, size=(40, 33))


def test_the_cost_of_a_group_is_that_of_its_blocks_and_of_what_is_around_them():
    spab = BlockSpec.of(
        "spab", channels=12, activation="silu", attention="parameter_free", bias=True
    )
    wide = BlockSpec.of("conv", channels=20, kernel=3, bias=False)
    hab, shab = (BlockSpec.of(kind, channels=16, kernel=7) for kind in ("hab", "shab"))

    def make_group(*blocks, kernel, attention):
        group = BlockSpec.of("group", kernel=kernel, bias=True, attention=attention)
        return dataclasses.replace(group, blocks=blocks)

    # Groups within groups, blocks that change the width, maps that are made in another group.
    inner = make_group(wide, spab, kernel=1, attention="esa")
    groups = (
        make_group(inner, spab, kernel=3, attention="none"),
        BlockSpec.of("conv", channels=16, kernel=1, bias=True),
        make_group(hab, shab, kernel=1, attention="esa"),
        make_group(shab, kernel=1, attention="none"),
    )
    stem = BlockSpec.of("conv", channels=12, kernel=3, bias=True)
    spec = dataclasses.replace(tiny(), stem=stem, blocks=groups, taps=("block4",))
    cost = measure_cost(spec)
    assert summed_cost(spec) == {field: getattr(cost, field) for field in SUMMED}


def test_memory_is_the_peak_of_live_tensors_when_counted_by_hand():
    pixels = 64 * 64
    # The upsampler's convolution and the shuffled image live beside the image, the features, the fused ones.
    floats = pixels * (3 + 4 + 4 + 12 + 12) + 3  # and the mean
    weights = (3 * 4 * 9 + 4) + 4 * 4 + (4 * 12 * 9 + 12)
    assert measure_cost(tiny(), size=(64, 64)).memory_mib == 4 * (floats + weights) / MIB


def test_memory_counts_weights_once_where_the_forward_reshapes_them():
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(12))

        def forward(self, image):
            return torch.nn.functional.conv2d(image, self.weight.view(4, 3, 1, 1))

    floats = 12 + (3 + 4) * 8 * 8
    assert count(Flat(), torch.ones(1, 3, 8, 8)).memory_mib == 4 * floats / MIB


def test_memory_counts_overwritten_activations_once():
    def memory_mib(activation):
        block = BlockSpec.of(
            "conv_stack", channels=64, activation=activation, activate_last=True, bias=False
        )
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


@pytest.mark.parametrize("name", names())
def test_layers_sum_to_the_network(name):
    layers, cost = (
        layer_costs(published(name), size=(32, 48)),
        measure_cost(published(name), size=(32, 48)),
    )
    for field in ("params", "flops", "activations"):
        assert sum(getattr(layer, field) for layer in layers) == getattr(cost, field)
    shapes = {layer.name: layer.shape for layer in layers}
    padded = 64 if name == "dwmamba" else 48
    assert shapes["upsampler.conv"] == (1, 48, 32, padded)


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
