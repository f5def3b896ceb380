"""The table of attention names holds with the classes it names, and lists them without torch."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces import attentions
from search_spaces.layers import attention as built
from search_spaces.spaces.span import WORDS

FOLDER = Path(built.__file__).parent


def test_names_and_classes_are_the_same_in_every_table():
    assert tuple(built.ATTENTIONS) == attentions.ATTENTION_NAMES == WORDS["attention"]
    assert len(set(built.ATTENTIONS.values())) == len(built.ATTENTIONS)
    assert set(built.VALUEWISE) < set(built.ATTENTIONS)


@pytest.mark.parametrize("name", attentions.ATTENTION_NAMES)
def test_a_line_names_a_class_of_its_file_that_attends(name):
    made = built.ATTENTIONS[name]
    assert inspect.getfile(made) == str(FOLDER / f"{attentions.ATTENTIONS[name].file}.py")
    x, f = torch.rand(2, 2, 12, 17, 19)
    assert made(12)(x, f).shape == x.shape


def test_every_file_with_attentions_is_named_by_a_line():
    named = {line.file for line in attentions.ATTENTIONS.values()}
    assert {path.stem for path in FOLDER.glob("*.py")} - named == {"__init__", "choice", "load"}


@pytest.mark.parametrize("name", built.VALUEWISE)
def test_a_valuewise_gate_of_a_pixel_is_made_of_that_pixel_alone(name):
    attend = built.VALUEWISE[name](8)
    x, f = torch.rand(2, 1, 8, 9, 9)
    other = f.clone()
    other[..., 4, 4] += 1
    differs = (attend(x, f) != attend(x, other)).any(1)[0]
    assert differs.nonzero().tolist() == [[4, 4]]


def test_gates_are_started_by_the_kind_that_their_line_says():
    kinds = {line.gate for line in attentions.ATTENTIONS.values()}
    assert kinds == {"parameter_free", "learned", "other"}
    for gate in built.PARAMETER_FREE_GATES:
        assert not list(gate(8).parameters())
    for gate in built.LEARNED_GATES:
        assert any(isinstance(part, nn.Conv2d) for part in gate(8).modules())


def test_names_are_listed_without_torch():
    code = "import sys; from search_spaces.attentions import ATTENTION_NAMES; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
