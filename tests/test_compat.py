"""The mends for third-party packages."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from geed import compat


def test_torchvision_imports_and_its_models_run():
    torchvision = compat.import_torchvision()
    assert compat.import_torchvision() is torchvision
    with torch.no_grad():
        assert torchvision.models.resnet18(num_classes=2).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_dihedral_steerable_layers_work():
    compat.import_e2cnn()
    from e2cnn import gspaces, nn

    gspace = gspaces.FlipRot2dOnR2(4)
    fields = nn.FieldType(gspace, [gspace.regular_repr])
    layer = nn.R2Conv(nn.FieldType(gspace, [gspace.trivial_repr]), fields, 3)
    assert layer(nn.GeometricTensor(torch.zeros(1, 1, 5, 5), layer.in_type)).shape == (1, 8, 3, 3)


def test_numpy_mend_copies_only_where_it_must():
    mended = compat._NumpyOne(np)
    array = np.arange(3.0)
    assert mended.array(array, copy=False) is array
    assert mended.array(2.0, copy=False).shape == ()
    assert mended.array(array) is not array
    assert mended.pi == np.pi


def test_numpy_itself_is_left_alone():
    compat.import_e2cnn()
    with pytest.raises(ValueError, match="copy"):
        np.array(1, copy=False)


TRAINS = """
import sys
import torch
from geed import compat
kind = {kind}
weight = torch.ones(3, requires_grad=True)
optimiser = kind([weight], lr=0.5)
def loss():
    optimiser.zero_grad()
    value = (weight**2 @ torch.arange(3.0)).cos()
    value.backward()
    return value
for _ in range(3):
    optimiser.step(loss)
kind([weight]).load_state_dict(optimiser.state_dict())
print("torch._dynamo" in sys.modules, *weight.tolist())
"""


@pytest.mark.parametrize("name", ["AdamW", "Adam", "LBFGS"])
def test_optimisers_do_the_same_without_the_compiler(name):
    """Where torch's own no longer imports the compiler, the mend has nothing left to do and can go."""
    torchs, ours = (
        subprocess.run(
            [sys.executable, "-c", TRAINS.format(kind=kind)], capture_output=True, text=True, check=True
        ).stdout.split()
        for kind in (f"torch.optim.{name}", f"compat.optimiser({name!r})")
    )
    assert (torchs[0], ours[0]) == ("True", "False")
    assert torchs[1:] == ours[1:] != ["1.0"] * 3
