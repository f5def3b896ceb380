# ruff: noqa: E501 - one case a line
import sys

import numpy as np
import pytest
import torch

from nas.export.trial import PHOTOGRAPH, make_trial
from nas.export.verification import CheckError, Tolerance, verify
from search_spaces import build, published

EXACT = Tolerance(largest_error=0.0, clamped=False)
# A reader that repeats each pixel a little darker, as `Repeated` does; what follows may spoil it.
READER = """
import os, signal, sys
import numpy as np
images = dict(np.load(sys.argv[-2]))
outputs = {name: image.repeat(4, 2).repeat(4, 3) * np.float32(0.99) for name, image in images.items()}
"""
WRITE = "np.savez(sys.argv[-1], **outputs)"


class Repeated(torch.nn.Module):
    """Each pixel repeated, times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x.repeat_interleave(4, 2).repeat_interleave(4, 3) * self.factor


@pytest.fixture(scope="module")
def trial():
    return make_trial(Repeated(0.99), 4)


def reader(spoil=""):
    return [sys.executable, "-c", "\n".join([READER, spoil, WRITE])]


def test_a_file_that_gives_what_pytorch_gives_passes(trial):
    outcome = verify(trial, "x", reader("outputs['latency_ms'] = np.float64(1.5)"), EXACT)
    assert (outcome.largest_error, outcome.lowest_db) == (0, float("inf"))
    assert outcome.psnr_db == outcome.torch_psnr_db > 20
    assert outcome.latency_ms == 1.5
    assert outcome.sizes[:3] == ("37x53", "64x40", "3x5")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("outputs['bars'][0, 0, 3, 3] += 0.25", "on the image 'bars' the output differs from PyTorch's by 0.25"),
        ("outputs['3x5'] = outputs['3x5'][..., :-4]", "the output is float32 (1, 3, 12, 16), not float32 (1, 3, 12, 20)"),
        ("outputs['flat'] = outputs['flat'].astype(np.float64)", "the output is float64"),
        ("outputs['flat'][0, 0, 0, 0] = np.nan", "the output is not finite"),
        ("del outputs['37x53']", "the reader gave 22 outputs for 23 images"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the reader was killed by SIGSEGV"),
        ("sys.exit('no such operator')", "the reader failed: no such operator"),
        ("sys.exit(3)", "the reader failed with exit status 3"),
        ("sys.exit(0)", "the reader wrote no outputs"),
        ("open(sys.argv[-1], 'w').write('x'); sys.exit(0)", "the reader wrote no outputs"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_is_refused(spoil, message, trial):
    with pytest.raises(CheckError) as caught:
        verify(trial, "x", reader(spoil), EXACT)
    assert message in str(caught.value)
    assert str(caught.value).startswith("formats: the check of x failed, ")


def test_small_errors_that_move_a_psnr_are_refused(trial):
    spoil = f"outputs['{PHOTOGRAPH}'] += np.float32(9e-4)"
    with pytest.raises(CheckError, match="they may differ by 0"):
        verify(trial, "x", reader(spoil), Tolerance(largest_error=1e-3, clamped=False))
    # One level of 255, for formats that write pictures, is held to its own tolerance alone.
    coarse = Tolerance(largest_error=1 / 255, clamped=False)
    assert verify(trial, "x", reader(spoil), coarse).largest_error == pytest.approx(9e-4, rel=1e-3)


def test_any_output_has_to_be_within_40_db(trial):
    loose = Tolerance(largest_error=1.0, clamped=False)
    with pytest.raises(CheckError, match="on the image 'noise' the output is 34"):
        verify(trial, "x", reader("outputs['noise'] += np.float32(0.02)"), loose)


def test_a_clamped_output_is_compared_with_the_clamped_one():
    spoil = "outputs = {name: (image * 2).clip(0, 1) for name, image in outputs.items()}"
    doubled = make_trial(Repeated(1.98), 4)
    assert verify(doubled, "x", reader(spoil), Tolerance(largest_error=1e-6, clamped=True))
    with pytest.raises(CheckError, match="differs from PyTorch's"):
        verify(doubled, "x", reader(spoil), EXACT)


def test_white_is_the_peak_of_a_clamped_output():
    """What lies far beyond white before it is cut makes no error of the cut image small."""
    bright = make_trial(Repeated(1000.0), 4)
    spoil = """
outputs = {name: (image / np.float32(0.99) * 1000).clip(0, 1) for name, image in outputs.items()}
outputs['noise'] -= np.float32(0.02)
"""
    with pytest.raises(CheckError, match="on the image 'noise' the output is 34"):
        verify(bright, "x", reader(spoil), Tolerance(largest_error=1.0, clamped=True))


def test_a_reader_finds_our_package_and_nothing_of_the_users_folder(trial, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    spoil = "import nas.export.trial; assert not any(p in ('', os.getcwd()) for p in sys.path)"
    assert verify(trial, "x", reader(spoil), EXACT)


def test_weights_whose_output_is_not_finite_are_refused():
    net = build(published("span"))
    next(net.parameters()).data.fill_(1e38)
    with pytest.raises(
        ValueError, match="the network's output for the image '37x53' is not finite"
    ):
        make_trial(net, 4)


def test_inputs_are_levels_of_8_bits(trial):
    for image in trial.inputs.values():
        assert image.dtype == np.float32
        np.testing.assert_array_equal(np.float32(np.round(image * 255)) / np.float32(255), image)


class Coarse(Repeated):
    """Repeated, by a sum that loses digits in float32: some 5e-4 of them."""

    def forward(self, x):
        return (super().forward(x) + 1e4) - 1e4


def test_an_error_of_pytorchs_own_rounding_passes_and_one_above_does_not():
    coarse = make_trial(Coarse(0.99), 4)
    narrow = Tolerance(largest_error=1e-5, clamped=False)
    assert 1e-5 < verify(coarse, "x", reader(), narrow).largest_error < 1e-3
    with pytest.raises(CheckError, match="differs from PyTorch's by 0"):
        verify(coarse, "x", reader("outputs['bars'] += np.float32(0.008)"), narrow)
    # A format that promises every bit has none to lose.
    with pytest.raises(CheckError, match="differs from PyTorch's"):
        verify(coarse, "x", reader(), EXACT)


def test_far_beyond_white_the_largest_value_is_full_scale():
    bright = make_trial(Repeated(990.0), 4)
    spoil = "outputs = {name: image * np.float32(1000.0) for name, image in outputs.items()}"
    near = Tolerance(largest_error=1e-4, clamped=False)
    more = f"{spoil}; outputs['flat'] += np.float32(0.05)"
    assert verify(bright, "x", reader(more), near).largest_error == pytest.approx(
        0.05 / 990, rel=0.01
    )
