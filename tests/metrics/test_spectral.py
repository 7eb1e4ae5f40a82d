"""The largest singular value of the Jacobian, against whole Jacobians and in closed form."""

import pytest
import torch
from torch import nn

from geed import groups, measure
from geed.errors import GeedError
from geed.metrics.spectral import jacobian_norm


def reference(model, images):
    """A double loop over images and logits by autograd, then a full SVD, float64."""
    norms = []
    for image in images:
        x = image[None].clone().requires_grad_()
        rows = [torch.autograd.grad(model(x)[0, k], x)[0].flatten() for k in range(model(x).shape[1])]
        norms.append(torch.linalg.svdvals(torch.stack(rows))[0])
    return torch.stack(norms)


def images(n=5, channels=2, side=6):
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 3, 10])
def test_matches_a_full_svd(networks, block):
    model = networks.small(classes=7).double().eval()
    found = jacobian_norm(model, images(), block=block, tolerance=1e-6, iterations=10_000)
    assert found.dtype == torch.float64
    assert found == pytest.approx(reference(model, images()), rel=1e-6)


def test_more_classes_than_directions_are_iterated_to_the_stated_tolerance(networks):
    model = networks.small(classes=40).double().eval()
    assert jacobian_norm(model, images()) == pytest.approx(reference(model, images()), rel=5e-4)


@pytest.mark.parametrize("classes", [3, 30])
def test_a_linear_network_has_the_norm_of_its_weights_and_scales_with_them(classes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 6, classes)).double()
    with torch.no_grad():  # singular values known by construction
        left = torch.linalg.qr(torch.randn(classes, classes, dtype=torch.float64))[0]
        right = torch.linalg.qr(torch.randn(72, classes, dtype=torch.float64))[0]
        model[1].weight.copy_(left @ torch.diag(torch.linspace(5, 1, classes, dtype=torch.float64)) @ right.mT)
    assert jacobian_norm(model, images()) == pytest.approx(torch.full((5,), 5.0, dtype=torch.float64), rel=5e-4)
    model[1].weight.data *= 0.25
    assert jacobian_norm(model, images()) == pytest.approx(torch.full((5,), 1.25, dtype=torch.float64), rel=5e-4)


def test_equal_singular_values_converge_and_a_constant_network_has_zero(networks):
    assert jacobian_norm(networks.Pixels(), images()) == pytest.approx(torch.ones(5, dtype=torch.float64))
    assert (jacobian_norm(networks.Constant(3), images().float()) == 0).all()
    assert (jacobian_norm(networks.Constant(30), images().float()) == 0).all()


def test_a_row_of_the_table_of_the_image_as_it_is(networks):
    model = networks.small()
    x = images().float()
    table = measure(model, x, group=groups.rotations(4), metrics=["jacobian_norm", "accuracy"], labels=torch.zeros(5).long())
    row = table.set_index("metric").loc["jacobian_norm"]
    assert (row["layer"], row["n_images"], row["n_elements"]) == ("", 5, 1)
    assert row["value"] == pytest.approx(float(reference(model.eval().double(), x.double()).mean()), rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_does_not_converge_or_is_not_finite_is_an_error(networks):
    with pytest.raises(GeedError, match="no convergence to a residual of 1e-09 in 2 iterations"):
        jacobian_norm(networks.small(classes=40).double().eval(), images(), block=1, tolerance=1e-9, iterations=2)
    model = networks.small().double().eval()
    model[7].weight.data.fill_(float("inf"))
    with pytest.raises(GeedError, match="NaN or infinity"):
        jacobian_norm(model, images())
