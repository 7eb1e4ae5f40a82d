"""Networks do what their construction promises: exact symmetry, matched size, named layers, named random streams."""

import subprocess
import sys

import pytest
import torch

import geed
from geed import compat, groups
from geed.errors import GeedError
from geed.models.build import build
from geed.models.layers import BlurPool
from geed.models.network import parameter_count

SYMMETRIES = ["rotations:4", "reflections", "dihedral:4"]


def spec(size=15, channels=1, **architecture):
    return {
        "architecture": architecture,
        "channels": channels,
        "size": size,
        "classes": 4,
        "mean": channels * [0.4],
        "std": channels * [0.3],
    }


def images(n=6, size=15, channels=1, dtype=torch.float32):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


def trained(model, x, steps=3):
    """A few steps of training, so that neither the weights nor the batch statistics are those of the start."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    labels = torch.arange(len(x)) % 4
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimiser.step()
    return model.eval()


def outputs(model, x, layer):
    found = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *args: found.append(args[-1]))
    with torch.no_grad():
        model(x)
    handle.remove()
    return found[0] if isinstance(found[0], torch.Tensor) else found[0].tensor


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("stride", [1, 2])
def test_steerable_network_is_invariant_and_its_blocks_are_equivariant_after_training(symmetry, stride):
    model = trained(build(spec(kind="steerable_cnn", symmetry=symmetry, widths=[3, 4, 4], stride=stride), "t"), images(8))
    x, group = images(), groups.parse(symmetry)
    with torch.no_grad():
        logits = model(x)
    for k in range(group.order):
        with torch.no_grad():
            moved = model(group.act(k, x))
        assert (moved - logits).abs().max() < 1e-5 * logits.abs().max()
        for layer in model.conv_layers:
            # the largest channel of a regular field does not depend on how the group permutes the channels of the field
            plain, turned = (outputs(model, y, layer).unflatten(1, (-1, group.order)).amax(2) for y in (x, group.act(k, x)))
            assert (group.act(k, plain) - turned).abs().max() < 1e-5 * plain.abs().max()


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_plain_network_is_not_invariant(symmetry):
    model, x, group = trained(build(spec(kind="plain_cnn", widths=[3, 4, 4]), "t"), images(8)), images(), groups.parse(symmetry)
    with torch.no_grad():
        assert all((model(group.act(k, x)) - model(x)).abs().max() > 1e-3 for k in range(1, group.order))


def test_circular_network_is_equivariant_to_every_cyclic_shift_in_float64():
    model = build(spec(kind="plain_cnn", widths=[3, 4, 4], padding="circular", stride=1), "t").double()
    x = images(dtype=torch.float64)
    trained(model, x)
    for shift in [(0, 5), (1, 0), (7, 11)]:
        for layer in model.conv_layers:
            moved = outputs(model, x.roll(shift, (2, 3)), layer)
            torch.testing.assert_close(moved, outputs(model, x, layer).roll(shift, (2, 3)), rtol=0, atol=1e-12)
        torch.testing.assert_close(model(x.roll(shift, (2, 3))), model(x), rtol=0, atol=1e-12)


def test_zero_padding_breaks_cyclic_shifts():
    model, x = trained(build(spec(kind="plain_cnn", widths=[3, 4, 4], stride=1), "t"), images(8)), images()
    assert (model(x.roll(5, 3)) - model(x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("plain", "symmetry", "fields"),
    [
        ([12, 24, 24, 24], "rotations:4", [7, 15, 15, 15]),
        ([12, 24, 24, 24], "reflections", [10, 21, 21, 21]),
        ([16, 32, 32, 32], "rotations:4", [10, 20, 20, 20]),
        ([16, 32, 32, 32], "reflections", [14, 28, 28, 28]),
        ([16, 32, 32, 32], "dihedral:4", [7, 14, 14, 14]),
    ],
)
def test_steerable_widths_can_match_the_parameters_of_a_plain_network(plain, symmetry, fields):
    ours = parameter_count(build(spec(kind="steerable_cnn", symmetry=symmetry, widths=fields), "t"))
    assert ours == pytest.approx(parameter_count(build(spec(kind="plain_cnn", widths=plain), "t")), rel=0.05)


def test_parameter_count_of_a_network_counted_by_hand():
    # two convolutions 3x3 without bias, two pairs of normalisation constants, the head with its bias
    by_hand = 9 * 3 * 2 + 9 * 2 * 5 + 2 * (2 + 5) + 5 * 4 + 4
    assert parameter_count(build(spec(channels=3, kind="plain_cnn", widths=[2, 5]))) == by_hand


def test_perceptron_of_the_published_size():
    # 36 x 36 pixels, five hidden layers of 128 and 9 classes
    mlp = build({**spec(size=36, kind="perceptron", hidden=128, layers=5), "classes": 9})
    assert parameter_count(mlp) == 233_225
    assert mlp(images(size=36)).shape == (6, 9)


@pytest.mark.parametrize(
    ("architecture", "features", "sides"),
    [
        ({"kind": "plain_cnn", "widths": [3, 4, 5]}, 5, [15, 8, 8]),
        ({"kind": "plain_cnn", "widths": [3, 4, 5], "stride": [1, 2, 2]}, 5, [15, 8, 4]),
        ({"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [3, 4, 5]}, 5, [15, 8, 8]),
        ({"kind": "perceptron", "hidden": 6, "layers": 2}, 6, []),
    ],
)
def test_named_layers(architecture, features, sides):
    model, x = build(spec(channels=3, **architecture)).eval(), images(channels=3)
    maps = [outputs(model, x, layer) for layer in model.conv_layers]
    assert [tuple(m.shape[2:]) for m in maps] == [(side, side) for side in sides]
    assert all((m >= 0).all() and (m == 0).any() for m in maps)  # after the ReLU
    pooled = outputs(model, x, model.feature_layer)
    assert pooled.shape == (6, features)
    torch.testing.assert_close(model.head(pooled), model(x))
    torch.testing.assert_close(model.features(x), pooled)


def test_normalisation_is_the_first_layer():
    plain = {**spec(kind="plain_cnn", widths=[3]), "mean": [0.0], "std": [1.0]}
    ours, other = build(spec(kind="plain_cnn", widths=[3]), "t").eval(), build(plain, "t").eval()
    x = images()
    torch.testing.assert_close(ours(x), other((x - 0.4) / 0.3))


@pytest.mark.parametrize("kind", [{"kind": "plain_cnn"}, {"kind": "steerable_cnn", "symmetry": "reflections"}])
def test_initial_weights_depend_on_the_names_only(kind):
    first = build(spec(widths=[3, 4], **kind), "study", 0)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    second, third = (build(spec(widths=[3, 4], **kind), "study", seed) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    same = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(first.head.weight, third.head.weight)


def test_eval_mode_of_a_steerable_network_holds_no_graph_and_can_be_copied():
    import copy

    model = build(spec(kind="steerable_cnn", symmetry="rotations:4", widths=[3, 4])).eval()
    x = images().requires_grad_()
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": {"kind": "plain_cn", "widths": [4]}}, "did you mean 'plain_cnn'"),
        ({"architecture": {"kind": "plain_cnn", "width": [4]}}, "did you mean 'widths'"),
        ({"architecture": {"kind": "plain_cnn"}}, "architecture.widths: plain_cnn needs it"),
        ({"architecture": {"kind": "plain_cnn", "widths": []}}, "one width per block"),
        ({"architecture": {"kind": "plain_cnn", "widths": [4, 0]}}, "positive whole number, found 0"),
        ({"architecture": {"kind": "plain_cnn", "widths": [4, 4], "stride": [1]}}, "for each of the 2 blocks"),
        ({"architecture": {"kind": "plain_cnn", "widths": [4], "padding": "circle"}}, "did you mean 'circular'"),
        ({"architecture": {"kind": "steerable_cnn", "widths": [4], "symmetry": "rotation:4"}}, "did you mean 'rotations:4'"),
        ({"architecture": {"kind": "perceptron", "hidden": 8, "layers": 0}}, "positive whole number"),
        ({"mean": [0.1, 0.2]}, "one number for each of the 1 channels"),
        ({"classes": 0}, "classes: expected a positive whole number, found 0"),
    ],
)
def test_bad_specifications_are_refused_in_a_sentence(change, sentence):
    with pytest.raises(GeedError, match=sentence):
        build(spec(kind="plain_cnn", widths=[4]) | change)


def test_a_missing_key_is_named():
    incomplete = spec(kind="plain_cnn", widths=[4])
    del incomplete["classes"]
    with pytest.raises(GeedError, match="'classes' is missing"):
        build(incomplete)


CASES = [("rotations:4", 15), ("rotations:4", 12), ("translations:x=3", 15), ("dihedral:4", 9)]


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize(("symmetry", "size"), CASES)
def test_tied_perceptron_is_invariant_to_rounding_and_pools_the_orbit(symmetry, size, pooling):
    options = {"hidden": 7, "layers": 3}
    tied = build(spec(size, 2, kind="tied_perceptron", symmetry=symmetry, pooling=pooling, **options), "t")
    plain = build(spec(size, 2, kind="perceptron", **options), "t")
    assert parameter_count(tied) == parameter_count(plain)
    assert all(torch.equal(a, b) for a, b in zip(tied.parameters(), plain.parameters(), strict=True))
    x, group = images(9, size, 2, torch.float64), groups.parse(symmetry)
    trained(tied.double(), x)
    with torch.no_grad():
        for k in range(group.order):
            torch.testing.assert_close(tied(group.act(k, x)), tied(x), rtol=0, atol=1e-12)
        first = plain.double().blocks[1]
        first[0].load_state_dict(tied.blocks[1].state_dict())
        orbit = torch.stack([first(tied.normalise(group.act(k, x)).flatten(1)) for k in range(group.order)])
        pooled = orbit.amax(0) if pooling == "max" else orbit.mean(0)
        torch.testing.assert_close(outputs(tied, x, "blocks.1"), pooled, rtol=0, atol=1e-12)
    assert tied.profile == {"blocks.1": 1 / 3, "blocks.2": 2 / 3, "blocks.3": 1.0} == plain.profile


def test_bad_tied_perceptrons():
    options = {"hidden": 7, "layers": 3, "symmetry": "rotations:8", "pooling": "max"}
    with pytest.raises(GeedError, match=r"expected a group that permutes 15 x 15 pixels, found 'rotations:8'"):
        build(spec(kind="tied_perceptron", **options))
    with pytest.raises(GeedError, match=r"architecture.pooling: unknown pooling 'sum'"):
        build(spec(kind="tied_perceptron", **(options | {"symmetry": "rotations:4", "pooling": "sum"})))


TOKENS = [
    {"kind": "vit", "patch": 4, "width": 16, "depth": 2, "heads": 2},
    {"kind": "mixer", "patch": 4, "width": 16, "depth": 2},
]


@pytest.mark.parametrize("architecture", TOKENS, ids=lambda entry: entry["kind"])
def test_token_networks_have_the_contract_of_a_network_and_both_kinds_of_lie_derivative(architecture):
    model = trained(build(spec(size=16, **architecture), "t"), images(size=16))
    x = images(size=16)
    features = outputs(model, x, model.feature_layer)
    with torch.no_grad():
        assert torch.allclose(features, model.features(x)) and features.shape == (6, 16)
        assert torch.allclose(model(x), model.head(features))
    assert [outputs(model, x, layer).shape for layer in model.conv_layers] == 2 * [(6, 16, 16)]  # tokens by width
    whole = geed.lie_derivative(model, x, ["translation_x"], output="logits", reduce="squared_norm")
    layers = geed.layerwise_lie_derivative(model, x, ["translation_x"], output="logits")
    assert whole["value"].item() > 0 and layers["value"].sum() > 0
    again = build(spec(size=16, **architecture), "t").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in build(spec(size=16, **architecture), "t").state_dict().items())


@pytest.mark.parametrize("architecture", TOKENS, ids=lambda entry: entry["kind"])
def test_token_networks_are_those_of_timm(architecture):
    timm = compat.import_timm()
    ours = trained(build(spec(size=16, channels=3, **architecture), "t"), images(size=16, channels=3))
    options = {"img_size": 16, "patch_size": 4, "num_classes": 0, "embed_dim": 16}
    if architecture["kind"] == "vit":
        theirs = timm.models.VisionTransformer(global_pool="avg", class_token=False, depth=2, num_heads=2, **options)
    else:
        theirs = timm.models.MlpMixer(num_blocks=2, **options)
    fresh = build(spec(size=16, channels=3, **architecture), "t").state_dict()
    for name, value in theirs.state_dict().items():  # initial distributions: the same, to their sampling error
        assert value.std(correction=0).item() == pytest.approx(fresh[name].std(correction=0).item(), rel=0.35, abs=1e-5), name
    weights = {name: value for name, value in ours.state_dict().items() if not name.startswith("head.")}
    theirs.load_state_dict(weights, strict=True)
    x = images(size=16, channels=3)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(ours.normalise(x)), ours.features(x))


def test_blur_pooling_is_that_of_timm():
    maps = torch.randn(2, 5, 15, 18, generator=torch.Generator().manual_seed(0))
    expected = compat.import_timm().layers.BlurPool2d(5, filt_size=3, stride=2)(maps)
    torch.testing.assert_close(BlurPool(2)(maps), expected)


def test_networks_that_are_trained_here_import_no_timm():
    code = "import sys, geed.training.loop, geed.study.train, geed.study.measure, geed.models.build as b; "
    code += f"b.build({spec(size=16, **TOKENS[0])!r}); assert 'timm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_patches_and_heads_must_divide():
    with pytest.raises(GeedError, match=r"architecture\.patch: expected a divisor of the image's side 15, found 4"):
        build(spec(kind="mixer", patch=4, width=8, depth=1), "t")
    with pytest.raises(GeedError, match=r"architecture\.heads: expected a divisor of the width 8, found 3"):
        build(spec(kind="vit", patch=5, width=8, depth=1, heads=3), "t")


@pytest.mark.parametrize("downsampling", ["stride", "max_pool", "blur_pool"])
def test_ways_of_downsampling_have_the_same_weights_and_sizes(downsampling):
    model = build(spec(kind="plain_cnn", widths=[3, 4], stride=[2, 2], downsampling=downsampling), "t").eval()
    reference = build(spec(kind="plain_cnn", widths=[3, 4], stride=[2, 2]), "t")
    assert all(torch.equal(value, reference.state_dict()[name]) for name, value in model.state_dict().items())
    assert outputs(model, images(size=16), "blocks.1").shape == (6, 4, 4, 4)


def test_blurring_pools_the_binomial_average_of_every_second_pixel():
    model = build(spec(kind="plain_cnn", widths=[3], stride=[2], downsampling="blur_pool"), "t").eval()
    x = images(size=16)
    before, after = outputs(model, x, "blocks.0.2"), outputs(model, x, "blocks.0")
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    expected = sum(
        kernel[i] * kernel[j] * before[:, :, 2 + i - 1 : 15 + i - 1 : 2, 2 + j - 1 : 15 + j - 1 : 2]
        for i in range(3)
        for j in range(3)
    )
    assert torch.allclose(after[:, :, 1:, 1:], expected, atol=1e-6)
