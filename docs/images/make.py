"""The pictures of docs/metrics.md, from real measurements of small untrained networks: `python docs/images/make.py`."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from geed import groups, measure, seeds
from geed.data.loading import load
from geed.figures import style
from geed.groups.fields import fibres
from geed.metrics.saliency import saliency_maps, similarity
from geed.models.build import build

HERE = Path(__file__).parent


def network(kind: str, channels: int = 1, size: int = 15) -> nn.Module:
    """A small untrained network of four blocks, plain or steerable under quarter turns."""
    architecture: dict[str, Any] = {"kind": "plain_cnn", "widths": [8, 16, 16, 16]}
    if kind == "steerable":
        architecture = {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [2, 4, 4, 4]}
    spec = {"architecture": architecture, "channels": channels, "size": size, "classes": 10}
    return build(spec | {"mean": [0.0] * channels, "std": [0.3] * channels}, "docs", kind).eval()


def output_of(model: nn.Module, layer: str, images: Tensor) -> Any:
    """What a layer returns."""
    found = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.no_grad():
        model(images)
    handle.remove()
    return found[0]


def save(figure: Any, name: str) -> None:
    """Write a picture at 200 dots an inch: small files, read on a screen."""
    figure.savefig(HERE / f"{name}.png", dpi=200, metadata={"Software": None})


def channelwise() -> None:
    """What channel_eed and field_eed compare: g f(x), or with the layer's own action, and f(gx)."""
    group, image = groups.rotations(4), load("digits", "test", size=15).images[4:5]
    rows = []
    for label, kind, own in (
        ("ordinary layer,\nchannel_eed", "plain", False),
        ("steerable layer,\nchannel_eed", "steerable", False),
        ("steerable layer,\nfield_eed", "steerable", True),
    ):
        model = network(kind)
        before, after = (output_of(model, "blocks.0", group.act(k, image)) for k in (0, 1))
        field_type = getattr(before, "type", None)
        before, after = getattr(before, "tensor", before), getattr(after, "tensor", after)
        carried = group.act(1, before)
        if own:
            carried = fibres(group, field_type)[1].act(carried)
        # the channel with most in it, so that there is something to see
        channel = int(before.flatten(2).norm(dim=2).argmax())
        names = ("x", "f(x)", "ρ(g) g f(x)" if own else "g f(x)", "f(gx)")
        rows.append((label, names, [image[0, 0], before[0, channel], carried[0, channel], after[0, channel]]))
    figure = style.new(style.COLUMN * 1.25, 3.3)
    axes = figure.subplots(3, 4)
    for line, (label, names, maps) in zip(axes, rows, strict=True):
        for axis, picture, title in zip(line, maps, names, strict=True):
            _picture(axis, picture, title)
        line[3].set_title(f"f(gx)   cos {float(similarity(maps[2][None], maps[3][None])):.2f}", fontsize=style.SMALL, loc="left")
        line[0].set_ylabel(label)
    save(figure, "channelwise")


def floor() -> None:
    """How far exactly equivariant networks seem to deviate, by image size and by the angle of the group."""
    figure = style.new(style.PAGE, 2.1)
    left, right = figure.subplots(1, 2)
    sides = list(range(12, 32))
    for label, layers, colour in (("no stride", [1, 1], style.GREEN), ("stride 2", [2, 1], style.VERMILLION)):
        model = nn.Sequential(*(Symmetric(stride) for stride in layers))
        values = [_deviation(model, side, 4) for side in sides]
        left.plot(sides, values, color=colour, marker="o", markersize=2.5, label=label)
    left.set_xticks(range(12, 32, 3))
    left.set_xlabel("side of the image in pixels")
    left.set_ylabel("1 + channel_eed")
    style.panel_label(left, "rotations:4, equivariant networks")
    left.legend()
    orders = [4, 5, 6, 8, 12, 16]
    for side, colour in ((17, style.ORANGE), (33, style.SKY), (65, style.BLUE)):
        values = [_deviation(nn.Sequential(Symmetric(1), Symmetric(1)), side, n) for n in orders]
        right.plot(orders, values, color=colour, marker="o", markersize=2.5, label=f"{side} pixels")
    right.set_xlabel("order n of rotations:n")
    style.panel_label(right, "the same without stride: multiples of 90° are exact")
    right.legend()
    save(figure, "floor")


class Symmetric(nn.Module):
    """A convolution and a ReLU, equivariant to quarter turns: its kernels have all symmetries of the square."""

    def __init__(self, stride: int):
        super().__init__()
        group = groups.dihedral(4)
        kernel = torch.randn(1, 1, 3, 3, generator=seeds.generator("docs", "floor"), dtype=torch.float64)
        kernel = sum(group.act(k, kernel) for k in range(group.order)) / group.order
        self.conv = nn.Conv2d(1, 1, 3, stride, padding=1, bias=False).double()
        with torch.no_grad():
            self.conv.weight.copy_(kernel)

    def forward(self, images: Tensor) -> Tensor:
        """Maps -> maps, (N, 1, H, W)."""
        return self.conv(images).relu()


def _deviation(model: nn.Module, side: int, order: int) -> float:
    images = load("photo_patches", "test", channels=1, size=side, limit=40).images.double()
    return 1 + float(measure(model, images, group=groups.rotations(order), metrics="channel_eed", layers=["1"])["value"][0])


def insensitivity() -> None:
    """Three networks that cosines cannot tell apart, and what can: the normalised cosine and relative invariance."""
    images = load("digits", "test", size=15, limit=200).images
    plain, biased, steerable = network("plain"), network("plain"), network("steerable")
    biased.pool.register_forward_hook(lambda module, inputs, output: output + 5 * output.mean())
    metrics = ["latent_eed/cosine", "latent_eed/normalized_cosine", "relative_invariance/cosine"]
    figure = style.new(style.PAGE, 1.7)
    names = ["untrained", "the same + a constant", "steerable: exactly invariant"]
    tables = [
        measure(model, images, group=groups.rotations(4), metrics=metrics, layers=["pool"])
        for model in (plain, biased, steerable)
    ]
    for axis, (index, metric) in zip(figure.subplots(1, 3, sharey=True), enumerate(metrics), strict=True):
        values = [float(table["value"][index]) for table in tables]
        axis.plot(values, range(3), linestyle="none", marker="o", color=style.BLUE)
        for place, value in enumerate(values):
            axis.annotate(
                f"{value:.4f}".replace("-", "−"),
                (value, place),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=6,
            )
        axis.set_yticks(range(3), names)
        axis.set_ylim(2.5, -0.5)
        axis.xaxis.set_major_locator(MaxNLocator(3))
        axis.margins(x=0.25)
        style.panel_label(axis, metric)
    save(figure, "insensitivity")


def saliency() -> None:
    """Saliency maps over an orbit, turned back: what saliency_similarity compares."""
    group, image = groups.rotations(4), load("digits", "test", size=15).images[4:5]
    figure = style.new(style.COLUMN * 1.5, 2.5)
    axes = figure.subplots(2, 5)
    for line, kind in zip(axes, ("plain", "steerable"), strict=True):
        model = network(kind)
        target = model(image).argmax(dim=1)
        maps = [group.act(group.inverse(k), saliency_maps(model, group.act(k, image), target)) for k in range(4)]
        _picture(line[0], image[0, 0], "x")
        line[0].set_ylabel("untrained" if kind == "plain" else "exactly invariant")
        for k in range(4):
            cosine = float(similarity(maps[0], maps[k]))
            _picture(line[k + 1], maps[k][0], "m(x)" if k == 0 else f"g⁻¹m(gx), {90 * k}°\ncos {cosine:.2f}")
    save(figure, "saliency")


def sampling() -> None:
    """The bias of a divergence from a mean that was made of the same draws."""
    images, model = load("digits", "test", size=15, limit=50).images, network("plain")
    counts, repeats = [2, 3, 4, 6, 8, 12, 16, 24], 24
    drawn = {
        count: [
            float(measure(model, images, group=groups.sampled_rotations(count, seed), metrics="output_eed/kl")["value"][0])
            for seed in range(repeats)
        ]
        for count in counts
    }
    limit = float(measure(model, images, group=groups.rotations(180), metrics="output_eed/kl", batch_size=2048)["value"][0])
    figure = style.new(style.COLUMN, 2.0)
    axis = figure.subplots()
    means = [sum(drawn[count]) / repeats / limit for count in counts]
    axis.plot(
        [n for n in counts for _ in drawn[n]], [v / limit for n in counts for v in drawn[n]], ".", color=style.PALE, markersize=2
    )
    axis.plot(counts, [(n - 1) / n for n in counts], color=style.BLACK, linewidth=0.8)
    axis.plot(counts, means, "o", color=style.BLUE, markersize=3)
    axis.set_xlabel("number n of sampled rotations")
    axis.set_ylabel("output_eed/kl ÷ its limit")
    axis.set_ylim(0)
    axis.legend(
        handles=[
            Line2D([], [], color=style.BLUE, marker="o", linestyle="none", markersize=3, label="mean of 24 samples (grey)"),
            Line2D([], [], color=style.BLACK, linewidth=0.8, label="(n − 1) / n"),
        ],
        loc="lower right",
    )
    save(figure, "sampling")


def _picture(axis: Any, picture: Tensor, title: str) -> None:
    axis.imshow(picture.detach(), cmap="gray_r" if title == "x" else "viridis", interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.set_title(title, fontsize=style.SMALL, loc="left")


if __name__ == "__main__":
    with style.context():
        for picture in (channelwise, floor, insensitivity, saliency, sampling):
            picture()
