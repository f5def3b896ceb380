import pytest
import torch
from torch.nn import functional as F

from search_spaces.blocks.dwmamba.routed_scan import RoutedScan
from tests.search_spaces.blocks.dwmamba.wavelets import trained
from tests.search_spaces.layers.scans import token_loop

SIZE = (4, 5)


def make(noise=False, num_classes=3):
    torch.manual_seed(0)
    net = RoutedScan(6, guide=4, inner=10, d_state=3, num_classes=num_classes, rank=5, noise=noise)
    return trained(net).double().eval()


def operands(batch=1):
    height, width = SIZE
    tokens = torch.randn(batch, height * width, 6, dtype=torch.float64)
    return tokens, torch.randn(batch, 4, height, width, dtype=torch.float64)


def classes_of(net, tokens, guide):
    seen = net.guide_pointwise(F.silu(net.guide_depthwise(guide))).flatten(2).transpose(1, 2)
    return net.route(torch.cat([tokens, seen * net.guide_gate], -1)).argmax(-1)[0].tolist()


def by_definition(net, tokens, guide):
    """One image, token after token in the order of their classes."""
    classes = classes_of(net, tokens, guide)
    order = sorted(range(len(classes)), key=lambda i: classes[i])  # stable
    prompts = [(net.class_prompts[c][:, None] * net.state_prompts).sum(0) for c in classes]
    z = net.in_proj(tokens.transpose(1, 2).reshape(1, 6, *SIZE))
    z = z * torch.sigmoid(net.position(z) + net.position_guide(guide) * net.position_gate)
    z = z.flatten(2).transpose(1, 2)[:, order]
    made = z @ net.x_proj[0].T
    delta = F.softplus(made[..., :1] @ net.dt_weight[0].T + net.dt_bias[0])
    C = made[..., 4:] + torch.stack([prompts[i] for i in order])
    y = net.out_proj(net.out_norm(token_loop(z, delta, -net.A_log.exp(), made[..., 1:4], C, net.D)))
    out = torch.empty_like(y)
    out[:, order] = y
    return out


def test_tokens_are_read_class_by_class_and_in_reading_order_within():
    net, (tokens, guide) = make(), operands()
    assert len(set(classes_of(net, tokens, guide))) > 1
    with torch.no_grad():
        torch.testing.assert_close(net(tokens, guide), by_definition(net, tokens, guide))


def test_images_are_sorted_each_by_itself():
    net, (tokens, guide) = make(), operands(batch=3)
    with torch.no_grad():
        alone = torch.cat([net(t[None], g[None]) for t, g in zip(tokens, guide, strict=True)])
        torch.testing.assert_close(net(tokens, guide), alone)


def test_gradient_of_the_choice_is_that_of_the_soft_one():
    net, (tokens, guide) = make(), operands()
    chosen = net._choose_classes(tokens, guide)
    assert torch.equal(chosen, F.one_hot(chosen.argmax(-1), 3).to(chosen))
    weights = torch.randn_like(chosen)
    found = torch.autograd.grad((chosen * weights).sum(), net.route[0].weight, retain_graph=True)[0]
    seen = net.guide_pointwise(F.silu(net.guide_depthwise(guide))).flatten(2).transpose(1, 2)
    soft = net.route(torch.cat([tokens, seen * net.guide_gate], -1)).softmax(-1)
    torch.testing.assert_close(
        found, torch.autograd.grad((soft * weights).sum(), net.route[0].weight)[0]
    )


@pytest.mark.parametrize("training", [False, True])
def test_drawn_classes_are_as_frequent_as_they_are_probable(training):
    net, (tokens, guide) = make(noise=not training).train(training), operands()
    seen = net.guide_pointwise(F.silu(net.guide_depthwise(guide))).flatten(2).transpose(1, 2)
    with torch.no_grad():
        wanted = net.route(torch.cat([tokens, seen * net.guide_gate], -1)).softmax(-1)
        found = torch.stack([net._choose_classes(tokens, guide) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.04)


def test_one_class_is_a_plain_scan():
    net, (tokens, guide) = make(num_classes=1), operands()
    assert set(classes_of(net, tokens, guide)) == {0}
    with torch.no_grad():
        torch.testing.assert_close(net(tokens, guide), by_definition(net, tokens, guide))
