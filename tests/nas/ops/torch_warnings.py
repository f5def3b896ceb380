"""Warnings that PyTorch's own code raises while it checks or transforms an operator, by its versions."""

import pytest

IGNORED = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",  # up to 2.13, of torch.jit.script among others
    "ignore:`torch.jit.script` is deprecated:FutureWarning",  # 2.14, in every forward derivative
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",  # 2.14, in opcheck
)
