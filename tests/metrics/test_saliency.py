import pytest
import torch
from torch import nn
from torch.nn import functional

from geed import groups
from geed.errors import GeedError
from geed.metrics.saliency import integrated_gradients, saliency_maps, saliency_similarity, similarity


def linear(classes=3, side=6, channels=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, classes)).double()


def smooth(classes=3, side=6):
    torch.manual_seed(1)
    layers = [nn.Flatten(), nn.Linear(side * side, 16), nn.Softplus(), nn.Linear(16, classes)]
    return nn.Sequential(*layers).double()


class Invariant(nn.Module):
    """Invariant to quarter turns by construction: the sum of a network's logits over the orbit."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return sum(self.inner(torch.rot90(x, k, dims=(-2, -1))) for k in range(4))


class Constant(nn.Module):
    def forward(self, x):
        return x.sum(dim=(1, 2, 3))[:, None] * 0.0 + torch.arange(3.0, dtype=x.dtype)


def images(n=4, side=6, channels=1):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


TARGETS = torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("baseline", [0.0, 0.5, torch.linspace(0, 1, 72, dtype=torch.float64).view(1, 2, 6, 6)])
def test_exact_on_a_linear_network_for_any_number_of_steps(steps, baseline):
    model, x = linear(channels=2), images(channels=2)
    expected = (x - baseline) * model[1].weight[TARGETS].view(4, 2, 6, 6)
    torch.testing.assert_close(
        integrated_gradients(model, x, TARGETS, steps, baseline), expected.detach(), rtol=1e-12, atol=1e-14
    )


def test_completeness_attributions_sum_to_the_change_of_the_logit():
    model, x = smooth(), images()
    change = (model(x) - model(torch.zeros_like(x))).gather(1, TARGETS[:, None])[:, 0].detach()
    errors = [
        (integrated_gradients(model, x, TARGETS, steps).sum(dim=(1, 2, 3)) - change).abs().max().item() for steps in (4, 16, 64)
    ]
    assert errors[2] < 1e-6 * change.abs().max()
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)  # midpoint rule: second order


def test_maps_keep_nine_tenths_of_the_maximum_and_are_smoothed():
    model = nn.Sequential(nn.Flatten(), nn.Linear(49, 1, bias=False)).double()
    weight = torch.zeros(7, 7, dtype=torch.float64)
    weight[3, 3], weight[0, 6], weight[6, 3] = -1.0, 0.91, 0.89
    with torch.no_grad():
        model[1].weight.copy_(weight.view(1, 49))
    found = saliency_maps(model, torch.ones(1, 1, 7, 7, dtype=torch.float64), torch.tensor([0]))[0]
    kept = torch.where(weight.abs() >= 0.9, weight.abs(), 0.0)
    g = torch.exp(torch.tensor([-0.5, 0.0, -0.5], dtype=torch.float64))
    kernel = g[:, None] * g / g.sum() ** 2
    padded, expected = functional.pad(kept[None], (1, 1, 1, 1), mode="circular")[0], torch.zeros(7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            expected[i, j] = (padded[i : i + 3, j : j + 3] * kernel).sum()
    torch.testing.assert_close(found, expected)
    assert found[6, 3] == 0


def test_channels_add_their_absolute_values():
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 1, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 1, 1, 1, -1, -1, -1, -1]]))
    assert saliency_maps(model, torch.ones(1, 2, 2, 2, dtype=torch.float64), torch.tensor([0])).min() > 0


def test_cosine_of_maps_with_empty_ones_guarded():
    a = torch.zeros(4, 2, 2)
    a[1:, 0, 0] = 1
    b = torch.zeros(4, 2, 2)
    b[2, 0, 0], b[3] = 3, 1
    assert similarity(a, b).tolist() == pytest.approx([1, 0, 1, 0.5])
    assert similarity(a, b).dtype == torch.float64


def test_one_on_a_network_that_is_invariant_by_construction_and_less_on_its_inner_network():
    group, inner = groups.rotations(4), smooth()
    assert saliency_similarity(Invariant(inner), images(), group).tolist() == pytest.approx([1.0] * 4, abs=1e-9)
    assert saliency_similarity(inner, images(), group).max() < 0.9


def test_against_a_double_loop_over_images_and_elements():
    group, model, x = groups.dihedral(4), smooth(), images()
    expected = []
    for image in x:
        target = model(image[None]).argmax(dim=1)
        own, cosines = saliency_maps(model, image[None], target), []
        for k in range(1, group.order):
            back = group.act(group.inverse(k), saliency_maps(model, group.act(k, image[None]), target))
            cosines.append(functional.cosine_similarity(own.flatten(), back.flatten(), dim=0).item())
        expected.append(sum(cosines) / len(cosines))
    assert saliency_similarity(model, x, group).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_class_asked_for_is_the_class_explained():
    group, model, x = groups.rotations(4), smooth(), images()
    predicted = model(x).argmax(dim=1)
    assert torch.equal(saliency_similarity(model, x, group, predicted), saliency_similarity(model, x, group))
    assert not torch.equal(saliency_similarity(model, x, group, (predicted + 1) % 3), saliency_similarity(model, x, group))


def test_a_constant_network_and_the_trivial_group_give_one():
    assert saliency_similarity(Constant(), images(), groups.rotations(4)).tolist() == [1.0] * 4
    assert saliency_similarity(smooth(), images(), groups.trivial()).tolist() == [1.0] * 4


def test_samples_of_infinite_groups_need_no_inverse():
    isotropic = nn.Sequential(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1, 2)).double()
    values = saliency_similarity(isotropic, torch.ones(2, 1, 7, 7, dtype=torch.float64), groups.sampled_rotations(3))
    assert values.min() > 0.9 and values.max() < 1 - 1e-6  # the resampler's floor


def test_under_inference_mode_and_with_nothing_left_in_the_parameters():
    model = smooth()
    with torch.inference_mode():
        assert torch.isfinite(saliency_similarity(model, images(), groups.reflections())).all()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_bad_input_is_a_sentence():
    with pytest.raises(GeedError, match="at least one step, found 0"):
        integrated_gradients(linear(), images(), TARGETS, steps=0)
    with pytest.raises(GeedError, match="class indices from 0 to 2, found 5"):
        integrated_gradients(linear(), images(), torch.tensor([0, 1, 5, 1]))
    with pytest.raises(GeedError, match="NaN or infinity"):
        integrated_gradients(linear(), images() * float("inf"), TARGETS)
