from collections import OrderedDict

import pytest
import torch
from torch import nn

from geed import compat
from geed.metrics.layers import NOT_CALLED, Adapted, adapt, convolutions, describe, leaves


def outputs(model, images):
    """Every leaf's output in one forward pass, adapted inside the hook; a leaf that is never called says so."""
    layout, found, handles = describe(model.eval()), {}, []
    for name in leaves(model):

        def hook(module, args, output, name=name):
            found[name] = adapt(output, layout, name, len(images))

        handles.append(model.get_submodule(name).register_forward_hook(hook))
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return {name: found.get(name, Adapted("unsupported", reason=NOT_CALLED)) for name in leaves(model)}


def check_all(adapted, batch=2):
    """Each leaf is measurable, with a map that is square as its input was, or says in words why not."""
    for name, layer in adapted.items():
        if layer.kind == "map":
            assert layer.tensor.shape[0] == batch and layer.tensor.shape[2] == layer.tensor.shape[3] > 1, name
        elif layer.kind == "vector":
            assert layer.tensor.dim() == 2 and len(layer.tensor) == batch, name
        else:
            assert len(layer.reason.split()) >= 5, name
    return [name for name, layer in adapted.items() if layer.kind == "unsupported"]


def one(output, model=None, name="", batch=2):
    return adapt(output, describe(model or nn.Identity()), name, batch)


def test_a_map_and_a_vector_pass_as_they_are_without_a_copy():
    image, vector = torch.rand(2, 3, 5, 5), torch.rand(2, 7)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten())
    assert one(image, model, "0") == Adapted("map", image)
    assert one(vector, model, "1").kind == "vector" and one(vector, model, "1").tensor is vector


def test_a_map_of_one_pixel_is_a_vector():
    adapted = one(torch.rand(2, 3, 1, 1), nn.Sequential(nn.AdaptiveAvgPool2d(1)), "0")
    assert adapted.kind == "vector" and adapted.tensor.shape == (2, 3)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (torch.rand(2), "neither a map"),
        (torch.rand(2, 3, 4, 5, 6), "neither a map"),
        (torch.ones(2, 3, dtype=torch.int64), "int64"),
        (torch.rand(8, 3, 4, 4), "4 rows per image"),
        (torch.rand(2, 0), "no values"),
        (torch.rand(2, 20, 4), "no square grid"),
        ("text", "str"),
        (None, "NoneType"),
        ((torch.rand(2, 3), torch.rand(2, 3)), "tuple of 2 tensors"),
        ({}, "dict of 0 tensors"),
    ],
)
def test_what_cannot_be_measured_says_why(output, words):
    adapted = one(output)
    assert adapted.kind == "unsupported" and adapted.tensor is None and words in adapted.reason


@pytest.mark.parametrize("wrap", [lambda t: (t, None), lambda t: [t], lambda t: {"features": t, "size": 3}])
def test_a_tuple_or_mapping_of_one_tensor_is_that_tensor(wrap):
    vector = torch.rand(2, 3)
    assert one(wrap(vector)).tensor is vector


def test_where_no_layer_has_channels_last_maps_are_channels_first():
    normalise, perceptron = nn.Identity(), nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 8), nn.ReLU(), nn.Linear(8, 2))
    adapted = outputs(nn.Sequential(normalise, *perceptron), torch.rand(2, 3, 8, 8))
    assert adapted["0"].tensor.shape == (2, 3, 8, 8)  # 8 is a Linear layer's width too, but of a later one


def test_activations_between_linear_layers_on_maps_have_channels_last():
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mlp = nn.Conv2d(1, 6, 3), nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 6))

        def forward(self, x):
            return self.mlp(self.conv(x).permute(0, 2, 3, 1))

    adapted = outputs(Mixer(), torch.rand(2, 1, 12, 12))
    assert {name: tuple(layer.tensor.shape[1:]) for name, layer in adapted.items()} == {
        "conv": (6, 10, 10),
        "mlp.0": (10, 10, 10),
        "mlp.1": (10, 10, 10),
        "mlp.2": (6, 10, 10),
    }


@pytest.mark.parametrize(("tokens", "prefix", "side"), [(16, 0, 4), (17, 1, 4), (18, 2, 4), (197, 1, 14)])
def test_tokens_lie_on_their_grid_in_rows_with_the_class_tokens_set_aside(tokens, prefix, side):
    sequence = torch.arange(2 * tokens * 3.0).view(2, tokens, 3)
    model = nn.Module()
    if prefix == 2:
        model.num_prefix_tokens = 2
    adapted = one(sequence, model)
    assert adapted.tensor.shape == (2, 3, side, side)
    assert adapted.tensor[1, 2, 1, 3] == sequence[1, prefix + side + 3, 2]
    assert adapted.tensor.data_ptr() == sequence[:, prefix:].data_ptr()  # a view


def test_a_declared_number_of_prefix_tokens_beats_deduction():
    model = nn.Module()
    model.num_prefix_tokens = 5
    assert one(torch.rand(2, 9, 3), model).tensor.shape == (2, 3, 2, 2)  # 5 + 2 x 2, although 9 = 3 x 3
    assert one(torch.rand(2, 4, 3), model).tensor.shape == (2, 3, 2, 2)  # before they are put in front


def test_a_declared_grid_need_not_be_square_and_refuses_what_does_not_fit_it():
    model = nn.Module()
    model.grid_size = (2, 8)
    assert one(torch.rand(2, 16, 3), model).tensor.shape == (2, 3, 2, 8)
    assert one(torch.rand(2, 4, 3), model).tensor.shape == (2, 3, 1, 4)  # a later, coarser stage
    assert "grid of 2 x 8" in one(torch.rand(2, 64, 3), model).reason


def test_one_dimensional_signals_are_no_token_sequences():
    assert "one-dimensional signal" in one(torch.rand(2, 1, 16), nn.Sequential(nn.Conv1d(1, 1, 3)), "0").reason


class Block(nn.Module):
    """ConvNeXt's: channels first, then last, then first again."""

    def __init__(self, width=6):
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.LayerNorm(width)
        self.expand, self.act, self.contract = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        self.drop = nn.Identity()

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.drop(self.contract(self.act(self.expand(y))).permute(0, 3, 1, 2))


def test_layers_with_channels_last_are_told_from_those_with_channels_first_by_type_and_width():
    adapted = outputs(Block(), torch.rand(2, 6, 9, 9))
    widths = {"depthwise": 6, "norm": 6, "expand": 24, "act": 24, "contract": 6, "drop": 6}
    assert {name: layer.tensor.shape[1] for name, layer in adapted.items()} == widths
    assert all(layer.tensor.shape[2:] == (9, 9) for layer in adapted.values())


def test_a_width_equal_to_the_side_leaves_untyped_layers_undecided():
    adapted = outputs(Block(), torch.rand(2, 6, 6, 6))
    assert [name for name, layer in adapted.items() if layer.kind == "unsupported"] == ["act", "drop"]
    assert "channels come first or last" in adapted["drop"].reason


def test_a_classifier_head_does_not_confuse_a_plain_cnn():
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 8, 3), act=nn.ReLU(), flat=nn.Flatten(), head=nn.Linear(8 * 100, 10)))
    adapted = outputs(model, torch.rand(2, 1, 12, 12))
    assert adapted["act"].tensor.shape == (2, 8, 10, 10)  # 10 is the head's width too


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.num_heads, self.qkv, self.drop, self.mix = 3, nn.Linear(6, 18), nn.Dropout(), nn.Linear(3, 3)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 3, 2)).permute(2, 0, 3, 1, 4)
        weights = self.drop(q @ k.transpose(2, 3))
        weights = self.mix(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return (weights @ v).transpose(1, 2).flatten(2)


def test_attention_internals_are_not_maps():
    adapted = outputs(Attention(), torch.rand(2, 16, 6))
    assert adapted["qkv"].tensor.shape == (2, 18, 4, 4)
    assert "internal to an attention of 3 heads" in adapted["drop"].reason
    assert "internal to an attention of 3 heads" in adapted["mix"].reason


def test_leaves_are_those_of_named_modules():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(1, 1, 1), shared, nn.Sequential(nn.Sequential(), shared))
    assert leaves(model) == ["0", "1", "2.0"]
    assert leaves(nn.ReLU()) == []


def test_a_leaf_that_is_never_called_is_reported():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Conv2d(1, 2, 3), nn.ReLU()

        def forward(self, x):
            return self.used(x)

    assert outputs(Idle(), torch.rand(2, 1, 8, 8))["idle"].reason == NOT_CALLED


def test_steerable_layers_keep_their_field_type():
    compat.import_e2cnn()
    from geed.models.build import build

    spec = {"architecture": {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [2, 2]}}
    model = build(spec | {"channels": 1, "size": 9, "classes": 3, "mean": [0.5], "std": [0.5]})
    adapted = outputs(model, torch.rand(2, 1, 9, 9))
    assert check_all(adapted) == []
    assert {"normalise", "blocks.0.0", "blocks.0.1", "blocks.0.2", "group_pool", "pool", "head"} <= set(adapted)
    first = adapted["blocks.0.0"]
    assert first.kind == "map" and first.field_type.size == first.tensor.shape[1] == 8
    assert convolutions(model) == ["blocks.0.0", "blocks.1.0"]


def test_timm_vision_transformer():
    model = compat.import_timm().create_model("vit_tiny_patch16_224", img_size=48, depth=2, num_classes=3, reg_tokens=4)
    adapted = outputs(model, torch.rand(2, 3, 48, 48))
    unsupported = check_all(adapted)
    assert {name.split(".", 2)[2] for name in unsupported} == {"attn.q_norm", "attn.k_norm", "attn.attn_drop"}
    assert adapted["blocks.0.mlp.fc1"].tensor.shape == (2, 768, 3, 3)
    assert adapted["head"].kind == "vector"


# How many leaves of each kind: a change in either direction must be looked at.
ZOO = [
    ("timm:resnet18", {}, 64, {"map": 74, "vector": 3}),
    ("timm:mobilenetv3_small_050", {}, 64, {"map": 123, "vector": 43, "unsupported": 5}),
    ("timm:vit_tiny_patch16_224", {"img_size": 64}, 64, {"map": 198, "vector": 3, "unsupported": 36}),
    ("timm:vit_tiny_patch16_224", {"dynamic_img_size": True, "depth": 1}, 96, {"map": 22, "vector": 3, "unsupported": 3}),
    (
        "timm:swin_tiny_patch4_window7_224",
        {"img_size": 56, "depths": (1, 1, 1, 1)},
        56,
        {"map": 59, "vector": 5, "unsupported": 11},
    ),
    ("timm:convnext_atto", {}, 64, {"map": 130, "vector": 7}),
    ("timm:convnextv2_atto", {"use_grn": True}, 64, None),
    ("timm:mixer_s32_224", {}, 224, {"map": 75, "vector": 2, "unsupported": 48}),
    ("timm:maxvit_rmlp_pico_rw_256", {"img_size": 64}, 64, None),
    ("torchvision:resnet18", {}, 64, None),
    ("torchvision:convnext_tiny", {}, 64, None),
    ("torchvision:swin_t", {}, 64, None),
    ("torchvision:vit_b_16", {"image_size": 32}, 32, None),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "options", "size", "counts"), ZOO)
def test_every_leaf_of_a_real_network_is_measured_or_reported(spec, options, size, counts):
    library, name = spec.split(":")
    if library == "timm":
        model = compat.import_timm().create_model(name, num_classes=10, **options)
    else:
        model = compat.import_torchvision().models.get_model(name, num_classes=10, **options)
    adapted = outputs(model, torch.rand(2, 3, size, size))
    check_all(adapted)
    found = {}
    for layer in adapted.values():
        found[layer.kind] = found.get(layer.kind, 0) + 1
    if counts:
        assert found == counts
