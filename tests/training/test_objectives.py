"""Losses against double loops in float64, written from the papers' equations."""

import math

import pytest
import torch
import torch.nn.functional as F

from geed import seeds
from geed.errors import GeedError
from geed.models.build import build
from geed.training import objectives
from geed.training.objectives import nt_xent, vicreg

SPEC = {
    "architecture": {"kind": "plain_cnn", "widths": [3, 4]},
    "channels": 1,
    "size": 9,
    "classes": 3,
    "mean": [0.0],
    "std": [1.0],
}


def pair(n=5, d=3):
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(n, d, dtype=torch.float64, generator=generator)
    return first, first + 0.3 * torch.randn(n, d, dtype=torch.float64, generator=generator)


def nt_xent_by_loops(first, second, temperature):
    z = [row.tolist() for row in (*first, *second)]

    def similarity(u, v):
        return sum(a * b for a, b in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)

    total, n = 0.0, len(first)
    for i in range(2 * n):
        scores = {k: math.exp(similarity(z[i], z[k]) / temperature) for k in range(2 * n) if k != i}
        total -= math.log(scores[(i + n) % (2 * n)] / sum(scores.values()))
    return total / (2 * n)


def vicreg_by_loops(first, second, invariance, variance, covariance):
    (n, d), total = first.shape, 0.0
    a, b = first.tolist(), second.tolist()
    total += invariance * sum((a[i][j] - b[i][j]) ** 2 for i in range(n) for j in range(d)) / (n * d)
    for z in (a, b):
        mean = [sum(z[i][j] for i in range(n)) / n for j in range(d)]

        def c(j, k, z=z, mean=mean):
            return sum((z[i][j] - mean[j]) * (z[i][k] - mean[k]) for i in range(n)) / (n - 1)

        total += variance * sum(max(0.0, 1 - math.sqrt(c(j, j) + 1e-4)) for j in range(d)) / d
        total += covariance * sum(c(j, k) ** 2 for j in range(d) for k in range(d) if j != k) / d
    return total


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_a_double_loop(temperature):
    first, second = pair()
    assert nt_xent(first, second, temperature).item() == pytest.approx(nt_xent_by_loops(first, second, temperature), rel=1e-12)


def test_nt_xent_in_closed_form():
    # orthogonal pairs: the partner has similarity 1, the other 2N - 2 have 0
    z = torch.eye(4, dtype=torch.float64)
    assert nt_xent(z, 3 * z, 0.5).item() == pytest.approx(math.log(1 + 6 * math.exp(-2)), rel=1e-12)


def test_vicreg_equals_loops_term_by_term():
    first, second = pair()
    for weights in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (25, 25, 1)]:
        assert vicreg(first, second, *weights).item() == pytest.approx(vicreg_by_loops(first, second, *weights), rel=1e-12)


def test_vicreg_is_zero_for_equal_views_with_large_uncorrelated_dimensions():
    z = 2 * torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert vicreg(z, z).item() == pytest.approx(0, abs=1e-12)
    assert vicreg(z, -z).item() > 1


@pytest.mark.parametrize("kind", ["contrastive", "vicreg", "rotation_prediction"])
def test_self_supervised_objectives_ignore_labels_and_train_all_but_the_head(kind):
    model = build(SPEC, "test")
    objective = objectives.make(kind, model, "test")
    views = torch.rand(8 * objective.views, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    objective.begin("test", 1)
    loss, logits = objective(model, views, torch.zeros(8, dtype=torch.int64))
    loss.backward()
    assert logits is None
    assert not objective.supervised
    assert all((parameter.grad is None) == name.startswith("head.") for name, parameter in model.named_parameters())
    assert all(parameter.grad is not None for parameter in objective.parameters())
    objective.begin("test", 1)
    again, _ = objective(model, views, torch.ones(8, dtype=torch.int64))
    assert torch.equal(loss, again)


def test_rotation_prediction_is_cross_entropy_of_the_quarter_turn_of_each_image():
    model = build(SPEC, "test").eval()
    objective = objectives.make("rotation_prediction", model, "test")
    images = torch.rand(6, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    objective.begin("test", 1)
    loss, _ = objective(model, images, torch.zeros(6, dtype=torch.int64))
    turns = torch.randint(4, (6,), generator=seeds.generator("test", 1, "turns")).tolist()
    assert len(set(turns)) > 1
    turned = torch.stack([image.rot90(turn, (1, 2)) for image, turn in zip(images, turns, strict=True)])
    answers = objective.classifier(model.features(turned)).log_softmax(1)
    by_hand = -sum(answers[row, turn] for row, turn in enumerate(turns)) / 6
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_supervised_is_cross_entropy():
    model = build(SPEC, "test").eval()
    x, labels = torch.rand(8, 1, 9, 9), torch.arange(8) % 3
    loss, logits = objectives.make("supervised", model)(model, x, labels)
    torch.testing.assert_close(loss, -F.log_softmax(model(x), 1)[torch.arange(8), labels].mean())
    torch.testing.assert_close(logits, model(x))


def test_options_reach_the_objective_and_its_layers_follow_their_names():
    model = build(SPEC, "test")
    first = objectives.make({"kind": "contrastive", "temperature": 0.7}, model, "test", 0)
    assert first.temperature == 0.7
    torch.manual_seed(9)
    same, other = (objectives.make("contrastive", model, "test", seed) for seed in (0, 1))
    weights = [next(objective.parameters()) for objective in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_unknown_objectives_and_options_are_refused():
    model = build(SPEC, "test")
    with pytest.raises(GeedError, match=r"did you mean 'contrastive'"):
        objectives.make("contrast", model)
    with pytest.raises(GeedError, match=r"objective.temprature: unknown option of contrastive; did you mean 'temperature'"):
        objectives.make({"kind": "contrastive", "temprature": 0.1}, model)
    with pytest.raises(GeedError, match=r"objective.temperature: unknown option of supervised"):
        objectives.make({"kind": "supervised", "temperature": 0.1}, model)


def logits_of_a_pair():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(4, 3, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2)]


def li_by_loops(first, second):
    return sum(0.5 * (a - b) ** 2 for u, v in zip(first, second, strict=True) for a, b in zip(u, v, strict=True)) / len(first)


def di_by_loops(first, second):
    total = 0.0
    for u, v in zip(first, second, strict=True):
        p, q = ([math.exp(a) / sum(map(math.exp, w)) for a in w] for w in (u, v))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(first)


def normalised_by_loops(first, second):
    norms = [math.hypot(*u) * math.hypot(*v) for u, v in zip(*(logits.tolist() for logits in logits_of_a_pair()), strict=True)]
    distances = [li_by_loops([u], [v]) for u, v in zip(first, second, strict=True)]
    return sum(distance / norm for distance, norm in zip(distances, norms, strict=True)) / len(first)


@pytest.mark.parametrize(
    ("distance", "by_loops"), [("logit", li_by_loops), ("kl", di_by_loops), ("normalized_l2", normalised_by_loops)]
)
def test_regularisers_and_their_gradients_equal_a_double_loop(distance, by_loops):
    pair_ = logits_of_a_pair()
    value = objectives.DISTANCES[distance](*pair_)
    lists = [logits.tolist() for logits in pair_]
    assert value.item() == pytest.approx(by_loops(*lists), rel=1e-12)
    value.backward()
    step = 1e-6
    for which in (0, 1):
        for i in range(4):
            for j in range(3):
                moved = []
                for sign in (1, -1):
                    changed = [[list(row) for row in rows] for rows in lists]
                    changed[which][i][j] += sign * step
                    moved.append(by_loops(*changed))
                assert pair_[which].grad[i, j].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("distance", ["logit", "kl", "normalized_l2"])
def test_regularised_loss_is_cross_entropy_of_x_and_the_weighted_distance(distance):
    model = build(SPEC, "test").eval()
    objective = objectives.make({"kind": "invariance", "group": "rotations:4", "distance": distance, "weight": 2.5}, model)
    x, labels = torch.rand(8, 1, 9, 9), torch.arange(8) % 3
    loss, logits = objective(model, torch.cat([x, x.rot90(1, (2, 3))]), labels)
    price = objectives.DISTANCES[distance](model(x), model(x.rot90(1, (2, 3))))
    torch.testing.assert_close(loss, F.cross_entropy(model(x), labels) + 2.5 * price)
    torch.testing.assert_close(logits, model(x))
    assert price > 0
    assert objective.partner.spec == "rotations:4" and objective.supervised


def test_a_regulariser_needs_its_options():
    model = build(SPEC, "test")
    with pytest.raises(GeedError, match=r"objective\.weight: invariance needs it"):
        objectives.make({"kind": "invariance", "group": "rotations:4", "distance": "kl"}, model)
    with pytest.raises(GeedError, match="unknown distance 'k'"):
        objectives.make({"kind": "invariance", "group": "rotations:4", "distance": "k", "weight": 1}, model)


def test_remul_is_the_weighted_sum_of_both_losses():
    model, labels = build(SPEC, "test").eval(), torch.arange(8) % 3
    objective = objectives.make({"kind": "remul", "group": "rotations:4", "weight": 0.7, "adaptive": False}, model)
    x = torch.rand(8, 1, 9, 9)
    for _ in range(2):
        loss, logits = objective(model, torch.cat([x, x.flip(3)]), labels)
        price = (model(x) - model(x.flip(3))).square().sum(1).mean()
        torch.testing.assert_close(loss, F.cross_entropy(logits, labels) + 0.7 * price)


def test_adaptive_remul_takes_a_step_of_gradnorm():
    model, labels = build(SPEC, "test").eval(), torch.arange(8) % 3
    objective = objectives.make({"kind": "remul", "group": "rotations:4", "weight": 0.7, "adaptive": True}, model)
    x = torch.rand(8, 1, 9, 9)
    w = torch.tensor([1.0, 0.7], requires_grad=True)
    first = None
    for _ in range(3):
        logits, moved = model(x), model(x.flip(3))
        losses = [F.cross_entropy(logits, labels), (logits - moved).square().sum(1).mean()]
        # Algorithm 1 of Chen et al. 2018, by autograd
        first = first or [value.item() for value in losses]
        head = model.head.weight
        g = torch.stack(
            [torch.autograd.grad(wi * li, head, create_graph=True)[0].norm() for wi, li in zip(w, losses, strict=True)]
        )
        rates = torch.tensor([value.item() / start for value, start in zip(losses, first, strict=True)])
        target = g.mean().detach() * (rates / rates.mean()) ** objective.ASYMMETRY
        (step,) = torch.autograd.grad((g - target).abs().sum(), w)
        expected = (w - objective.RATE * step).detach()
        loss, _ = objective(model, torch.cat([x, x.flip(3)]), labels)
        torch.testing.assert_close(loss, w[0] * losses[0] + w[1] * losses[1])
        w = (expected * 1.7 / expected.sum()).requires_grad_()
        torch.testing.assert_close(objective.weights, w.detach())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.9)
    assert not torch.equal(objective.weights, torch.tensor([1.0, 0.7]))
