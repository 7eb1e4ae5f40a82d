import pytest
import torch
from torch import nn

import geed
from geed.errors import GeedError
from geed.lie.generators import transform
from geed.lie.transforms import NAMES


def central(network, images, name, resample, output, h=1e-5):
    """The authors' number by central differences (one-sided where the interpolant has no derivative)."""
    f = network.eval()

    def answer(t):
        with torch.no_grad():
            logits = f(transform(name, t, images, resample))
        return logits.softmax(-1) if output == "softmax" else logits

    if resample == "bilinear":
        return (answer(h) - answer(0.0)) / h
    return (8 * (answer(h) - answer(-h)) - (answer(2 * h) - answer(-2 * h))) / (12 * h)


@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "fourier"])
def test_equals_central_differences(network, images, resample):
    names = [name for name in NAMES if resample != "fourier" or name.startswith("translation")]
    for output, reduce in (("softmax", "mean_abs"), ("logits", "mean_square"), ("softmax", "squared_norm")):
        table = geed.lie_derivative(
            network, images, names, output=output, reduce=reduce, resample=resample, per_image=True
        ).set_index("transform")
        for name in names:
            # Bilinear interpolation is only one-sided, so the step must be small; float64 bears 1e-8.
            quotient = central(network, images, name, resample, output, 1e-8 if resample == "bilinear" else 1e-6)
            if reduce == "mean_abs":
                expected = quotient.abs().mean(-1)
            else:
                expected = quotient.square().mean(-1) if reduce == "mean_square" else quotient.square().sum(-1)
            found = torch.from_numpy(table["values"][name]).double()
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-10)
            assert table["value"][name] == pytest.approx(expected.mean().item(), rel=1e-4)
            assert table["se"][name] == pytest.approx((expected.std() / len(expected) ** 0.5).item(), rel=1e-3)


def test_difference_quotients_tend_to_it(network, images):
    names = ["translation_x", "rotation", "saturation"]
    limit = geed.lie_derivative(network, images, names, output="logits").set_index("transform")["value"]
    table = geed.difference_quotient(network, images, names, [1e-6, -1e-6, 0.1], output="logits")
    assert list(table.columns) == ["transform", "t", "value", "se", "consistency", "consistency_se", "n_images"]
    for row in table[table["t"].abs() < 0.01].itertuples():
        assert row.value == pytest.approx(limit[row.transform], rel=1e-3)
        assert row.consistency == 1


def test_cyclic_shifts_by_whole_pixels(networks, images):
    network = networks("residual").eval()
    table = geed.difference_quotient(network, images, ["translation_x"], [2 * 3 / 16], resample="fourier", reduce="mean_square")
    with torch.no_grad():
        p, q = network(images).softmax(-1), network(torch.roll(images, 3, -1)).softmax(-1)
    assert table["value"][0] == pytest.approx(((p - q) / (6 / 16)).square().mean().item(), rel=1e-9)
    assert table["consistency"][0] == (p.argmax(-1) == q.argmax(-1)).double().mean().item()


class Square(nn.Module):
    def forward(self, x):
        return x * x


def test_a_network_that_is_equivariant_by_construction_scores_zero():
    # Cyclic convolutions and a square, which does not alias what holds less than half of the highest frequency.
    torch.manual_seed(0)
    around = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
    network = nn.Sequential(
        nn.Conv2d(3, 5, **around), Square(), nn.Conv2d(5, 5, **around), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    ).double()
    spectrum = torch.fft.fft2(torch.rand(4, 3, 16, 16, dtype=torch.float64))
    frequency = torch.fft.fftfreq(16).abs() * 16
    smooth = torch.fft.ifft2(spectrum * (frequency < 4) * (frequency[:, None] < 4)).real
    options = {"transforms": ["translation_x", "translation_y"], "resample": "fourier", "output": "logits"}
    assert geed.lie_derivative(network, smooth, **options)["value"].max() < 1e-12
    rough = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    network[1] = nn.ReLU()
    assert geed.lie_derivative(network, rough, **options)["value"].min() > 1e-3


@pytest.mark.parametrize("classes", [1, 2, 13])
def test_any_number_of_classes(networks, images, classes):
    network = networks("residual", classes=classes)
    table = geed.lie_derivative(network, images, ["rotation"], output="logits", reduce="squared_norm")
    mean = geed.lie_derivative(network, images, ["rotation"], output="logits", reduce="mean_square")
    assert table["value"][0] == pytest.approx(classes * mean["value"][0])
    assert (geed.lie_derivative(network, images, ["rotation"])["value"][0] == 0) == (classes == 1)


def test_batches_do_not_matter_and_columns_are_what_they_should_be(networks, images):
    network = networks("vit")
    table = geed.lie_derivative(network, images)
    assert list(table.columns) == ["transform", "value", "se", "n_images"]
    assert list(table["transform"])[:3] == ["translation_x", "translation_y", "rotation"] and set(table["n_images"]) == {3}
    again = geed.lie_derivative(network, [images[:1], images[1:]], batch_size=1)
    torch.testing.assert_close(torch.tensor(table["value"]), torch.tensor(again["value"]), rtol=1e-10, atol=0)


def test_the_network_is_left_as_it_was(networks, images):
    network = networks("torchvision_vit").train()
    network.encoder.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    geed.lie_derivative(network, images, ["rotation"])
    with pytest.raises(GeedError, match="its forward-mode derivative fails on images of shape"):
        geed.lie_derivative(network, images[..., :9], ["rotation"])
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() and torch.is_grad_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()


class Sentence(nn.Module):
    """Answers of a wrong kind."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer(images)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transforms": ["sher_x"]}, "unknown transformation 'sher_x'; did you mean 'shear_x'?"),
        ({"output": "softmx"}, "output: unknown 'softmx'; did you mean 'softmax'?"),
        ({"reduce": "mean"}, "reduce: unknown 'mean'"),
        ({"batch_size": 0}, "batch_size: expected a positive integer; found 0"),
        ({"model": "resnet18"}, "model: expected a torch.nn.Module; found a str"),
        ({"images": torch.rand(3, 16, 16)}, "images: expected shape (N, C, H, W); found (3, 16, 16)"),
        ({"images": torch.rand(0, 3, 16, 16)}, "images: found none to measure"),
        ({"images": torch.full((2, 3, 16, 16), torch.nan)}, "images: found NaN or infinity"),
        (
            {"images": torch.rand(2, 1, 9, 9), "model": Sentence(lambda x: x.mean((2, 3)))},
            "expected colour images (N, 3, H, W); found 1 channel(s)",
        ),
        ({"model": Sentence(lambda x: x)}, "model: expected logits (N, K) for N images; found shape (2, 3, 16, 16) for N = 2"),
        ({"model": Sentence(lambda x: {"logits": x})}, "model: expected logits (N, K) for N images; found a dict"),
        ({"model": Sentence(lambda x: x.flatten(1) / 0)}, "the model's output holds NaN or infinity (first at image 0)"),
    ],
)
@pytest.mark.parametrize("function", [geed.lie_derivative, geed.difference_quotient])
def test_one_sentence_says_what_is_wrong(networks, options, words, function):
    given = {"model": networks("residual"), "images": torch.rand(2, 3, 16, 16)} | options
    with pytest.raises(GeedError) as error:
        function(**given)
    assert words in str(error.value)


@pytest.mark.parametrize("steps", [[0.0], [], [float("nan")]])
def test_steps_are_checked(networks, images, steps):
    with pytest.raises(GeedError, match="steps: expected finite numbers other than 0"):
        geed.difference_quotient(networks("residual"), images, ["rotation"], steps)
