import math

import pytest
import torch
from torch import Tensor, nn

import geed
from geed import compat
from geed.errors import GeedError
from geed.lie import tangents
from geed.lie.generators import derivative, derivatives, transform
from geed.lie.layerwise import Terms
from geed.lie.stops import ROOT, Stops, action_of
from geed.metrics.session import forward_mode

TRANSFORMS = ["translation_x", "rotation", "hyperbolic_rotation"]


def terms_of(network: nn.Module, images: Tensor, names=TRANSFORMS, resample="bicubic") -> dict[str, Tensor]:
    """layer -> (T, N, K), by columns; rows must say the same, and both add up to the whole network's derivative."""
    network.eval()
    stops = Stops(network)
    with forward_mode(), stops.hooked():
        terms = Terms.of(stops, images, names, resample)
        lanes, classes = len(terms.layers) * len(names), terms.logits.shape[-1]
        columns = terms._columns(range(lanes))
        eye = torch.eye(classes, dtype=images.dtype)[:, None].expand(-1, len(images), -1)
        rows = terms._rows(eye, min(2, len(images))).permute(2, 1, 0)
        either = terms.exact(7)
    torch.testing.assert_close(columns, rows)
    torch.testing.assert_close(either, columns)
    with forward_mode():
        _, whole = tangents.push(network, images, derivatives(names, images, resample))
    torch.testing.assert_close(columns.unflatten(0, (-1, len(names))).sum(dim=0), whole)
    return dict(zip(terms.layers, columns.unflatten(0, (-1, len(names))), strict=True))


@pytest.mark.parametrize("resample", ["bicubic", "bilinear", "fourier"])
def test_the_terms_of_all_layers_add_up(network, images, resample):
    terms_of(network, images, TRANSFORMS if resample != "fourier" else ["translation_x", "translation_y"], resample)


def moved(name: str, t: float, value: Tensor, like_tokens: bool) -> Tensor:
    """r_t of a layer's value, independently of how the library finds maps."""
    if value.ndim == 2:
        return value
    if not like_tokens:
        return transform(name, t, value)
    side = math.isqrt(value.shape[1] - 1)
    grid = transform(name, t, value[:, 1:].transpose(1, 2).unflatten(2, (side, side)))
    return torch.cat([value[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


@torch.no_grad()
def by_definition(network: nn.Module, images: Tensor, layer: str, call: int, name: str, tokens: bool, h: float = 1e-6) -> Tensor:
    """L f_i by central differences of r_-t f_i(r_t a_i) at the layer's own input, sent on by central differences."""
    module, inputs, calls = network.get_submodule(layer), [], []
    handle = module.register_forward_pre_hook(lambda module, given: inputs.append(given[0].clone()))
    network(images)
    handle.remove()
    given = inputs[call - 1]
    there, back = (moved(name, -t, module(moved(name, t, given, tokens).clone()), tokens) for t in (h, -h))
    violation = (there - back) / (2 * h)

    def answer(step: float) -> Tensor:
        def add(module, inputs, result):
            calls.append(0)
            return result + step * violation if len(calls) == call else result

        calls.clear()
        handle = module.register_forward_hook(add)
        logits = network(images)
        handle.remove()
        return logits

    return (answer(h) - answer(-h)) / (2 * h)


@pytest.mark.parametrize(
    ("kind", "leaves"),
    [
        ("residual", ["stem", "norm", "act", "pool", "conv1", "act#2", "conv2", "act#3"]),
        ("vit", ["blocks.0.norm1", "blocks.0.attn.qkv", "blocks.0.mlp.act", "blocks.1.norm1", "norm"]),
    ],
)
@pytest.mark.parametrize("name", ["translation_x", "rotation"])
def test_each_is_the_derivative_by_the_definition(networks, images, kind, leaves, name):
    network = networks(kind).eval()
    if kind == "residual":  # after a ReLU, pooling windows full of zeros have no derivative
        network.act = nn.LeakyReLU(0.1, inplace=True)
    terms = terms_of(network, images, [name])
    largest = max(term.abs().max().item() for term in terms.values())
    for leaf in leaves:
        layer, _, call = leaf.partition("#")
        expected = by_definition(network, images, layer, int(call or 1), name, kind == "vit")
        found = terms[leaf][0] if leaf in terms else torch.zeros_like(expected)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * largest)


def test_against_whole_jacobians():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.GELU(), nn.AvgPool2d(2), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 5)
    ).double()
    images = torch.rand(1, 2, 8, 8, dtype=torch.float64)
    terms, value = terms_of(network, images, ["rotation"]), images
    for i, layer in enumerate(network):
        jacobian = torch.autograd.functional.jacobian(layer, value)
        result = layer(value).detach()
        given = derivative("rotation", value) if value.ndim == 4 else torch.zeros_like(value)
        acted = derivative("rotation", result) if result.ndim == 4 else torch.zeros_like(result)
        violation = (jacobian.flatten(result.ndim).flatten(0, result.ndim - 1) @ given.flatten()).view_as(result) - acted
        rest = torch.autograd.functional.jacobian(network[i + 1 :], result) if i + 1 < len(network) else None
        expected = violation if rest is None else (rest.flatten(2)[0] @ violation.flatten())[None]
        torch.testing.assert_close(terms.get(str(i), torch.zeros(1, 1, 5, dtype=torch.float64))[0], expected)
        value = result


def test_the_table_is_the_squared_norm_of_the_terms(networks, images):
    network = networks("residual")
    terms = terms_of(network, images, TRANSFORMS)
    found = geed.layerwise_lie_derivative(network, images, TRANSFORMS, output="logits", per_image=True)
    columns = ["layer", "module", "transform", "value", "se", "n_images", "values", "note"]
    assert list(found.columns) == columns and list(found["transform"].unique()) == TRANSFORMS
    table = found.set_index(["transform", "layer"])
    for layer, term in terms.items():
        for name, values in zip(TRANSFORMS, term.square().sum(dim=-1), strict=True):
            row = table.loc[name, layer]
            torch.testing.assert_close(torch.from_numpy(row["values"]).double(), values, rtol=1e-6, atol=1e-12)
            assert row["value"] == pytest.approx(values.mean().item())
            assert row["se"] == pytest.approx(values.std().item() / 3**0.5)
    layers = list(found[found["transform"] == "rotation"]["layer"])
    assert layers == ["stem", "norm", "act", "pool", "conv1", "act#2", "conv2", "act#3", "head", ROOT]
    assert table.loc["rotation", "norm"]["value"] == 0  # pointwise and linear: exactly equivariant
    assert table.loc["rotation", "act"]["module"] == "ReLU"


def test_batches_and_ways_do_not_matter(networks, images):
    network = networks("residual", classes=30)  # columns; with four classes rows are fewer
    for model in (network, networks("vit")):
        table = geed.layerwise_lie_derivative(model, images)
        again = geed.layerwise_lie_derivative(model, [images[:2], images[2:]], batch_size=1)
        assert list(table["layer"]) == list(again["layer"])
        torch.testing.assert_close(torch.tensor(table["value"]), torch.tensor(again["value"]), equal_nan=True)
        torch.testing.assert_close(torch.tensor(table["se"]), torch.tensor(again["se"]), equal_nan=True)


@pytest.mark.parametrize("output", ["softmax", "logits"])
def test_probes_estimate_the_squares(networks, images, output):
    network = networks("residual")
    exact = geed.layerwise_lie_derivative(network, images, ["rotation"], output=output).set_index("layer")
    probed = geed.layerwise_lie_derivative(network, images, ["rotation"], output=output, probes=4000).set_index("layer")
    few = geed.layerwise_lie_derivative(network, images, ["rotation"], output=output, probes=2, reduce="mean_square")
    one_by_one = geed.layerwise_lie_derivative(
        network, images.split(1), ["rotation"], output=output, probes=2, reduce="mean_square"
    )
    assert list(probed.index) == list(exact.index)
    for layer in exact.index:
        assert probed["value"][layer] == pytest.approx(exact["value"][layer], rel=5 * (2 / 4000) ** 0.5, abs=1e-15)
    torch.testing.assert_close(torch.tensor(few["value"]), torch.tensor(one_by_one["value"]))
    assert not few["value"].equals(exact["value"] / 4)


def test_an_equivariant_network_has_no_violation_in_any_layer():
    torch.manual_seed(0)

    class Square(nn.Module):
        def forward(self, x):
            return x * x

    around = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
    network = nn.Sequential(
        nn.Conv2d(3, 5, **around), Square(), nn.Conv2d(5, 5, **around), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    ).double()
    spectrum = torch.fft.fft2(torch.rand(4, 3, 16, 16, dtype=torch.float64))
    frequency = torch.fft.fftfreq(16).abs() * 16
    smooth = torch.fft.ifft2(spectrum * (frequency < 4) * (frequency[:, None] < 4)).real
    table = geed.layerwise_lie_derivative(network, smooth, "translation_x", resample="fourier", output="logits")
    assert list(table["layer"]) == [*"012345"] and table["value"].max() < 1e-24
    network[1] = nn.ReLU()
    table = geed.layerwise_lie_derivative(network, smooth, "translation_x", resample="fourier", output="logits")
    assert table["value"].idxmax() == 1 and table["value"].drop(1).max() < 1e-20 < table["value"][1]


class Careless(nn.Module):
    """Activations in place of which the results are dropped, also on what a shortcut holds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.act = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        self.act(x)
        y = self.second(x)
        self.act(y)
        y = y * x.sigmoid()
        y -= x
        self.act(y)
        return self.head(torch.cat([y, x]).unflatten(0, (2, -1)).mean(dim=(0, -2, -1)))


def test_in_place_activations_whose_results_are_dropped(images):
    torch.manual_seed(0)
    terms = terms_of(Careless().double(), images)
    assert {"first", "act", "second", "act#2", "act#3", ROOT} <= set(terms)


class Split(nn.Module):
    """Several tensors in and out, keywords, a tuple, a constant, a leaf that is never called."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x, *, scale, nothing=None):
            return {"a": (self.conv(x) * scale, x.abs()), "n": 3}

    def __init__(self) -> None:
        super().__init__()
        self.two, self.act, self.idle = self.Two(), nn.GELU(), nn.Conv2d(1, 1, 1)
        self.ramp = nn.Parameter(torch.linspace(0, 1, 16).expand(1, 3, 16, 16).contiguous())
        self.head = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        a, b = self.two(images, scale=self.act(self.ramp))["a"]
        return self.head((self.act(a) * b).mean(dim=(-2, -1)))


def test_structures_and_what_does_not_depend_on_the_images(images):
    torch.manual_seed(0)
    network = Split().double()
    together, one = terms_of(network, images), terms_of(network, images[:1])
    assert set(together) == set(one) == {"two.conv", "two", "act#2", ROOT}
    table = geed.layerwise_lie_derivative(network, images, ["rotation"]).set_index("layer")
    assert math.isnan(table["value"]["idle"]) and "never calls this module" in table["note"]["idle"]
    assert table["n_images"]["idle"] == 0 and table["n_images"]["two"] == 3


def test_leaves_without_a_map_are_named_and_counted_elsewhere(networks, images):
    table = geed.layerwise_lie_derivative(networks("mixer"), images, ["translation_x"]).set_index("layer")
    assert "does not fit the model's grid" in table["note"]["blocks.0.mlp_tokens.fc1"]
    assert math.isnan(table["value"]["blocks.0.mlp_tokens.fc1"]) and table["value"]["blocks.0"] > 0
    table = geed.layerwise_lie_derivative(networks("vit"), images, ["translation_x"]).set_index("layer")
    assert "internal to an attention" in table["note"]["blocks.0.attn.q_norm"] and table["value"]["blocks.0.attn"] > 0
    assert table["value"]["blocks.0.mlp.fc1"] == 0  # a linear map of each token


def test_class_tokens_are_set_aside(networks):
    stops = Stops(networks("vit"))
    tokens = torch.rand(2, 17, 6, dtype=torch.float64)
    acted = action_of(tokens, stops.layout, "blocks.0.norm1", 2, lambda value: derivatives(TRANSFORMS, value))
    grid = derivatives(TRANSFORMS, tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))
    assert torch.equal(acted[:, :, 0], torch.zeros(3, 2, 6, dtype=torch.float64))
    torch.testing.assert_close(acted[:, :, 1:], grid.flatten(3).transpose(2, 3))


@pytest.mark.parametrize("classes", [1, 2, 50])
def test_any_number_of_classes(networks, images, classes):
    network = networks("residual", classes=classes)
    terms = terms_of(network, images, ["rotation"])
    table = geed.layerwise_lie_derivative(network, images, ["rotation"], output="logits", reduce="mean_abs").set_index("layer")
    assert table["value"]["stem"] == pytest.approx(terms["stem"].abs().mean().item())
    assert (geed.layerwise_lie_derivative(network, images, ["rotation"])["value"].max() == 0) == (classes == 1)


class Breaking(nn.Module):
    def forward(self, x):
        raise ValueError("it breaks")


def test_the_network_is_left_as_it_was(networks, images):
    for network in (networks("vit").train(), nn.Sequential(nn.Conv2d(3, 1, 3), Breaking()).double().train()):
        gradients = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
        before = {name: value.clone() for name, value in network.state_dict().items()}
        if isinstance(network[-1] if isinstance(network, nn.Sequential) else None, Breaking):
            with pytest.raises(GeedError, match=r"derivative fails on images of shape \(3, 3, 16, 16\): it breaks"):
                geed.layerwise_lie_derivative(network, images)
        else:
            geed.layerwise_lie_derivative(network, images, probes=1)
        assert all(module.training for module in network.modules())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert {name: p.requires_grad for name, p in network.named_parameters()} == gradients
        assert all(parameter.grad is None for parameter in network.parameters()) and torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transforms": ["saturation"]}, "saturation: acts on colours, which layers do not have; layerwise takes translation_x"),
        ({"transforms": ["rotate"]}, "unknown transformation 'rotate'; did you mean 'rotation'?"),
        ({"probes": 0}, "probes: expected None or a positive integer; found 0"),
        ({"probes": 2, "reduce": "mean_abs"}, "probes estimate squares: expected reduce='squared_norm' or 'mean_square'"),
        ({"images": torch.rand(0, 3, 16, 16)}, "images: found none to measure"),
        ({"images": torch.rand(3, 16, 16)}, "images: expected shape (N, C, H, W); found (3, 16, 16)"),
        ({"model": nn.Conv2d(3, 1, 3)}, "model: expected logits (N, K) for N images; found shape (2, 1, 14, 14) for N = 2"),
    ],
)
def test_one_sentence_says_what_is_wrong(networks, options, words):
    given = {"model": networks("residual"), "images": torch.rand(2, 3, 16, 16)} | options
    with pytest.raises(GeedError) as error:
        geed.layerwise_lie_derivative(**given)
    assert words in str(error.value)


def test_steerable_layers_are_named_and_counted_elsewhere():
    compat.import_e2cnn()
    from e2cnn import gspaces
    from e2cnn import nn as steerable

    space = gspaces.Rot2dOnR2(4)
    given = steerable.FieldType(space, [space.trivial_repr] * 3)
    fields = steerable.FieldType(space, [space.regular_repr] * 2)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = steerable.R2Conv(given, fields, 3, padding=1), steerable.ReLU(fields)
            self.head = nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.act(self.conv(steerable.GeometricTensor(images, given))).tensor.mean(dim=(-2, -1)))

    torch.manual_seed(0)
    table = geed.layerwise_lie_derivative(Network(), torch.rand(2, 3, 9, 9), "rotation").set_index("layer")
    assert table["note"]["conv"] == table["note"]["act"] == "it returns a GeometricTensor, on which no action is known"
    assert table["value"][ROOT] > 0


class Embedding(nn.Module):
    """A convolution with batch normalisation, then tokens: the gradient that arrives is transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.GELU()
        self.mix, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.act(self.mix(self.norm(self.conv(images)).flatten(2).transpose(1, 2))).mean(dim=1))


def test_rows_of_one_image_of_which_the_gradient_is_transposed(images):
    torch.manual_seed(0)
    assert {"conv", "act"} <= set(terms_of(Embedding().double(), images[:1]))
