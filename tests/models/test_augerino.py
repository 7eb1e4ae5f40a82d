"""Augerino: motions that are what the generators say, copies that are fixed, weights that survive a file, widths that learn."""

import math

import pytest
import torch

from geed import groups
from geed.metrics.engine import measure
from geed.models import weights
from geed.models.augerino import COPIES, AffineMotions
from geed.models.build import build
from geed.models.network import parameter_count
from geed.training import objectives

MLP = {"kind": "perceptron", "hidden": 8, "layers": 2}
SPEC = {
    "architecture": {"kind": "augerino", "network": MLP},
    "channels": 1,
    "size": 15,
    "classes": 3,
    "mean": [0.3],
    "std": [0.3],
}


def images(n=6):
    return torch.rand(n, 1, 15, 15, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("generator", "amount", "moved"), [(0, -2 / 5, "roll"), (2, math.pi / 2, "turn"), (3, 0.0, "stay")])
def test_a_draw_moves_the_image_as_its_generator_says(generator, amount, moved):
    motions, x = AffineMotions(), torch.zeros(1, 1, 15, 15)
    x[..., 4:10, 5:9] = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    draw = torch.zeros(1, 6)
    draw[0, generator] = amount / motions.widths()[generator].item()
    expected = {"roll": x.roll(3, 3), "turn": x.rot90(1, (2, 3)), "stay": x}[moved]
    found = motions(x, draw)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_it_is_a_function_of_the_image_the_mean_over_fixed_copies(tmp_path):
    model, x = build(SPEC, "test").eval(), images()
    with torch.no_grad():
        model.motions.width.fill_(0.5)
        logits = model(x)
        singly = [model.moved(x, draw.expand(len(x), -1)) for draw in model.motions.fixed]
    assert len(singly) == COPIES
    torch.testing.assert_close(logits, torch.stack(singly).mean(0))
    assert all((one - logits).abs().max() > 1e-3 for one in singly)
    weights.save(model, tmp_path / "w.safetensors")
    again = weights.load(tmp_path / "w.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), logits)
    plain = build(SPEC | {"architecture": MLP}, "test")
    assert parameter_count(model) == parameter_count(plain) + 6
    assert all(torch.equal(a, b) for a, b in zip(model.network.parameters(), plain.parameters(), strict=True))


def test_it_can_be_measured_like_any_other():
    model = build(SPEC, "test").eval()
    metrics = ["logit_invariance", "latent_eed/cosine", "saliency_similarity"]
    table = measure(model, images(), group=groups.rotations(4), metrics=metrics, layers=list(model.profile))
    assert table.value.notna().all() and set(table.layer) == {"", "copies"}


def test_the_objective_rewards_widths_and_its_draws_follow_their_names():
    model, x, labels = build(SPEC, "test"), images(), torch.arange(6) % 3
    objective = objectives.make({"kind": "augerino", "weight": 0.3}, model)

    def loss(*names):
        objective.begin(*names)
        return objective(model, x, labels)[0]

    assert loss("a", 1) == loss("a", 1) != loss("a", 2)
    objective.begin("a", 1)
    value, logits = objective(model, x, labels)
    entropy = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(value, entropy - 0.3 * model.motions.widths().norm())
    value.backward()
    assert (model.motions.width.grad != 0).all()
    with torch.no_grad():
        model.motions.width[2] = 11
    value, logits = objective(model, x, labels)
    torch.testing.assert_close(value, torch.nn.functional.cross_entropy(logits, labels))
