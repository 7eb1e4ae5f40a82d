"""The action on declared field types, against the equivariance that e2cnn's layers really have."""

import math

import pytest
import torch

from geed import compat, groups
from geed.errors import GeedError
from geed.groups.fields import fibres

compat.import_e2cnn()
from e2cnn import gspaces, nn  # noqa: E402
from e2cnn.nn.modules.r2_conv import basisexpansion_singleblock  # noqa: E402


def layer(gspace):
    """A trivial field in; regular and irreducible fields out."""
    # e2cnn caches filters under names that leave out the axis of reflection.
    basisexpansion_singleblock._stored_filters.clear()
    torch.manual_seed(0)
    irreps = [r for r in gspace.representations.values() if not r.is_trivial()][:3]
    inputs = nn.FieldType(gspace, [gspace.trivial_repr])
    hidden = nn.FieldType(gspace, [gspace.regular_repr] * 2)
    outputs = nn.FieldType(gspace, [gspace.regular_repr, *irreps])
    network = nn.SequentialModule(
        nn.R2Conv(inputs, hidden, 5, padding=2), nn.ReLU(hidden), nn.R2Conv(hidden, outputs, 5, padding=2)
    )
    return network.eval(), inputs


def errors(gspace, group):
    """Largest deviation from equivariance under the declared action, and under the action on pixels alone."""
    network, inputs = layer(gspace)
    x = torch.randn(2, 1, 9, 9)
    with torch.no_grad():
        y = network(nn.GeometricTensor(x, inputs))
        moved = [network(nn.GeometricTensor(group.act(k, x), inputs)).tensor for k in range(group.order)]
    actions = fibres(group, y.type)
    pixels = [group.act(k, y.tensor) for k in range(group.order)]
    declared = [fibre.act(p) for fibre, p in zip(actions, pixels, strict=True)]
    return tuple(max(float((a - b).abs().max()) for a, b in zip(moved, other, strict=True)) for other in (declared, pixels))


@pytest.mark.parametrize(
    ("gspace", "spec"),
    [
        (gspaces.Rot2dOnR2(4), "rotations:4"),
        (gspaces.Rot2dOnR2(4), "rotations:2"),
        (gspaces.Rot2dOnR2(8), "rotations:4"),
        (gspaces.Flip2dOnR2(), "reflections"),
        (gspaces.FlipRot2dOnR2(4), "dihedral:4"),
        (gspaces.FlipRot2dOnR2(4), "reflections*rotations:2"),
        (gspaces.FlipRot2dOnR2(4, axis=0.0), "dihedral:4"),
        (gspaces.FlipRot2dOnR2(4, axis=math.pi / 4), "dihedral:4"),
        (gspaces.Rot2dOnR2(-1, maximum_frequency=2), "rotations:4"),
    ],
)
def test_declared_action_is_the_layers_true_one(gspace, spec):
    if gspace.fibergroup.order() < 1:  # SO(2) has no regular representation
        inputs = nn.FieldType(gspace, [gspace.trivial_repr])
        outputs = nn.FieldType(gspace, [gspace.irrep(0), gspace.irrep(1), gspace.irrep(2)])
        network, group, x = nn.R2Conv(inputs, outputs, 5, padding=2).eval(), groups.parse(spec), torch.randn(2, 1, 9, 9)
        with torch.no_grad():
            y = network(nn.GeometricTensor(x, inputs))
            for k, fibre in enumerate(fibres(group, y.type)):
                moved = network(nn.GeometricTensor(group.act(k, x), inputs)).tensor
                assert (moved - fibre.act(group.act(k, y.tensor))).abs().max() < 1e-5
        return
    declared, pixels = errors(gspace, groups.parse(spec))
    assert declared < 1e-4
    assert pixels > 0.1


def test_regular_fields_permute_channels_and_translations_do_not():
    gspace = gspaces.Rot2dOnR2(4)
    field_type = nn.FieldType(gspace, [gspace.regular_repr] * 3)
    turned = fibres(groups.rotations(4), field_type)
    assert [fibre.is_identity for fibre in turned] == [True, False, False, False]
    assert all(fibre.matrix is None for fibre in turned)
    assert turned[1].index.tolist() == [3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10]
    assert all(fibre.is_identity for fibre in fibres(groups.translations(x=3), field_type))
    assert all(fibre.is_identity for fibre in fibres(groups.sampled_translations(3), field_type))


@pytest.mark.parametrize("spec", ["rotations:4", "dihedral:4"])
def test_fibres_are_a_homomorphism(spec):
    gspace, group = gspaces.FlipRot2dOnR2(4), groups.parse(spec)
    actions = fibres(group, nn.FieldType(gspace, [gspace.regular_repr, gspace.irrep(1, 1), gspace.irrep(1, 0)]))
    y = torch.randn(2, actions[0].act(torch.zeros(1, 11, 1, 1)).shape[1], 3, 3, dtype=torch.float64)
    for i in range(group.order):
        for j in range(group.order):
            assert (actions[i].act(actions[j].act(y)) - actions[group.compose(i, j)].act(y)).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("gspace", "spec"),
    [
        (gspaces.Rot2dOnR2(4), "rotations:8"),
        (gspaces.Rot2dOnR2(4), "reflections"),
        (gspaces.Flip2dOnR2(), "rotations:2"),
        (gspaces.Flip2dOnR2(axis=0.0), "reflections"),
        (gspaces.TrivialOnR2(), "rotations:4"),
        (gspaces.Rot2dOnR2(8), "sampled_rotations:n=2"),
    ],
)
def test_layers_without_the_symmetry_are_refused(gspace, spec):
    with pytest.raises(GeedError, match=f"do not contain the group {spec}"):
        fibres(groups.parse(spec), nn.FieldType(gspace, [gspace.trivial_repr]))
