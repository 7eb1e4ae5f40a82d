"""`measure`: every metric of every layer in one pass over the data.

For each chunk of images the whole orbit {gx} goes through the network at once, element by element along the batch axis. Forward
hooks reduce each layer's output to one number per image and metric at the moment it appears (an in-place layer may overwrite it
next), so no output is ever kept and memory does not grow with the number of images.
"""

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geed.errors import GeedError, nearest
from geed.groups.base import Group
from geed.groups.fields import Fibre, fibres
from geed.metrics import batches, channelwise, general, latent, output
from geed.metrics.general import Action
from geed.metrics.layers import NOT_CALLED, adapt, describe, leaves
from geed.metrics.moments import Moments, add_rows
from geed.metrics.registry import Metric, parse_all
from geed.metrics.session import forward, images_at_once, prepared, within_memory

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["metric", "distance", "layer", "group", "value", "se", "n_images", "n_elements", "note"]


@within_memory
def measure(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    *,
    group: Group,
    metrics: Sequence[str] | str,
    layers: Sequence[str] | None = None,
    labels: Tensor | None = None,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    per_image: bool = False,
    progress: Callable[[int], object] | None = None,
    actions: Mapping[str, Action] | None = None,
    null: str | None = None,
) -> "pd.DataFrame":
    """Measure how invariant or equivariant a network is, in one pass over the images.

    Args:
        model: maps (N, C, H, W) to logits (N, K); K classes are needed only by the metrics of the outputs. In eval mode and
            without gradients for the call, and afterwards as it was, whatever happens: training flags, device, hooks.
        images: (N, C, H, W), floating point, prepared as the model wants them; or an iterable of batches of such, or of
            (images, labels) pairs.
        group: the group G, e.g. ``groups.rotations(4)``.
        metrics: names as in `geed.metrics.registry.NAMES`, ``name`` or ``name/distance``.
        layers: module names as in `named_modules()`; None = every leaf. A module called several times in a forward pass is
            several layers: ``name``, ``name#2``, …
        labels: (N,) class indices; needed by `accuracy`, used by `saliency_similarity` (else: the predicted class).
        batch_size: at most how many images go through the network at once, orbit elements counted; fewer where that is faster
            (large images on a CPU), but one whole orbit at least. Results do not depend on it.
        device: "auto" (CUDA if there is one), "cpu", "cuda", …
        per_image: add a column `values`, per row a float32 array of length n_images.
        progress: called with the number of images done since the last call.
        actions: layer -> (k, y) -> k·y, the linear action of element k on that layer's output (float64); "" = the logits.
            What `eed/…` (Eq 4) is measured on.
        null: None, or "shuffled": every orbit is put together from different images, which shows what a network scores whose
            answers to gx and to x have nothing to do with each other. Needs `images` as one tensor.

    Returns:
        One row per metric and layer, columns `metric, distance, layer, group, value, se, n_images, n_elements, note` (and
        `values`). `se` is the standard error over images. `layer` is "" for metrics of the outputs. Where a metric cannot be
        had of a layer, `value` is NaN and `note` says why.

    Raises:
        GeedError: anything about the arguments, or NaN or infinity in an output (the layer is named).
    """
    wanted = parse_all(metrics)
    _check_arguments(model, group, wanted, batch_size, actions, null)
    names = _layer_names(model, layers, actions or {})
    order = group.order

    with prepared(model, device) as (place, dtype), torch.no_grad():
        size_for = functools.partial(images_at_once, batch_size, order, place)
        shuffled = null == "shuffled"
        stream = (
            batches.shuffled_chunks(images, labels, size_for, order) if shuffled else batches.chunks(images, labels, size_for)
        )
        recorder = _Recorder(model, group, wanted, names, actions or {}, per_image)
        with recorder.hooked(model):
            for chunk in stream:
                _check_chunk(chunk, wanted, group)
                orbit = torch.cat([group.act(k, chunk.for_element(k).to(place, dtype)) for k in range(order)])
                recorder.begin(len(chunk.images), chunk.start)
                logits = forward(model, orbit)
                recorder.see_logits(logits, chunk.labels)
                recorder.see_images(model, chunk.images.to(place, dtype), chunk.labels)
                recorder.end()
                if progress is not None:
                    progress(len(chunk.images))
    if recorder.n_images == 0:
        raise GeedError("images: found none to measure")
    return recorder.table()


@dataclass
class _Recorder:
    """Takes what passes by during the forward passes, and keeps one number per image for each metric and layer."""

    model: nn.Module
    group: Group
    metrics: list[Metric]
    names: list[str]
    actions: Mapping[str, Action]
    keep: bool
    n_images: int = 0
    moments: dict[tuple[Metric, str], Moments] = field(default_factory=dict)
    notes: dict[tuple[Metric, str], str] = field(default_factory=dict)
    streams: dict[tuple[Metric, str], Any] = field(default_factory=dict)
    _calls: Counter = field(default_factory=Counter)
    _seen: dict[str, list[str]] = field(default_factory=dict)
    _fibres: dict[str, list[Fibre] | str | None] = field(default_factory=dict)
    _kernels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _new: list[tuple[Metric, str, Tensor]] = field(default_factory=list)
    _listening: bool = False

    def __post_init__(self) -> None:
        self._layout = describe(self.model)
        kinds = ("map", "vector", "logits", "action", "images")
        self._by_kind = {kind: [m for m in self.metrics if m.reads == kind] for kind in kinds}
        averaged = self.group.averaged
        self._averaged = slice(averaged.start, averaged.stop)
        self._moved = slice(max(1, averaged.start), averaged.stop)

    @contextlib.contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Listen to the layers; stop listening whatever happens."""
        with contextlib.ExitStack() as stack:
            if any(metric.of_layers for metric in self.metrics):
                for name in {**dict.fromkeys(self.names), **self.actions}.keys() - {""}:
                    handle = model.get_submodule(name).register_forward_hook(functools.partial(self._see_layer, name))
                    stack.callback(handle.remove)
            yield

    def begin(self, n: int, start: int) -> None:
        """A chunk of n images, the first of them number `start`, is about to go through the network."""
        self._n, self._start = n, start
        self._calls.clear()
        self._listening = True

    def end(self) -> None:
        """The chunk is through: one transfer from the device, whatever the number of layers."""
        if self._new:
            rows = torch.stack([values for _, _, values in self._new]).cpu().numpy()
            if (unfit := rows != rows).any():
                row, image = divmod(int(unfit.argmax()), rows.shape[1])
                layer, first = self._new[row][1], self._start + image
                where = f"layer '{layer}'" if layer else "the model's output"
                raise GeedError(f"{where} holds NaN, infinity, or numbers too large to square (first at image {first})")
            add_rows([self.moments.setdefault((metric, layer), Moments(self.keep)) for metric, layer, _ in self._new], rows)
        self._new.clear()
        self.n_images += self._n

    def _see_layer(self, name: str, module: nn.Module, inputs: Any, result: Any) -> None:
        if not self._listening:
            return
        self._calls[name] += 1
        layer = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
        if layer not in (seen := self._seen.setdefault(name, [])):
            seen.append(layer)
        order = self.group.order
        if name in self.actions and self._by_kind["action"]:
            self._see_action(layer, getattr(result, "tensor", result), self.actions[name])
        if name not in self.names:
            return
        adapted = adapt(result, self._layout, name, self._n * order)
        if adapted.kind == "unsupported":
            for metric in self._by_kind["map"] + self._by_kind["vector"]:
                self.notes[metric, layer] = adapted.reason
            return
        orbit = adapted.tensor.unflatten(0, (order, self._n))
        if adapted.kind == "map":
            self._see_map(layer, orbit, adapted.field_type)
            self._not_measured(layer, "vector", f"needs a vector (N, D); the output is a map of shape {tuple(orbit.shape[2:])}")
        else:
            self._see_vector(layer, orbit.double())
            self._not_measured(layer, "map", f"needs a map (N, C, H, W); the output is a vector of {orbit.shape[2]} numbers")

    def _see_map(self, layer: str, orbit: Tensor, field_type: Any) -> None:
        wanted = {metric.name: metric for metric in self._by_kind["map"]}
        if not wanted:
            return
        try:
            self.group.check(*orbit.shape[-2:])
        except GeedError as error:
            self._not_measured(layer, "map", str(error))
            return
        declared = None
        if "field_eed" in wanted and field_type is not None:
            declared = self._fibres_of(layer, field_type)
            if isinstance(declared, str):
                self.notes[wanted.pop("field_eed"), layer] = declared
                declared = None
        for name, values in channelwise.measure(orbit, self.group, wanted.keys(), declared).items():
            self._new.append((wanted[name], layer, values))

    def _fibres_of(self, layer: str, field_type: Any) -> list[Fibre] | str:
        """The layer's own action, or the reason why it has none for this group."""
        if layer not in self._fibres:
            try:
                self._fibres[layer] = fibres(self.group, field_type)
            except GeedError as error:
                self._fibres[layer] = str(error)
        return self._fibres[layer]

    def _see_vector(self, layer: str, orbit: Tensor) -> None:
        for metric in self._by_kind["vector"]:
            key = (metric, layer)
            if metric.name == "relative_invariance":
                if self.group.order == 1:
                    self.notes[key] = "needs an element other than the identity"
                    continue
                stream = self.streams.setdefault(key, latent.Relative(metric.distance))
                values = stream.add(orbit[0], orbit[self._moved])
            else:
                if metric.distance == "normalized_cosine":
                    self.streams.setdefault(key, latent.PairCosine()).add(orbit[0])
                values = _LATENT[metric.distance](orbit[self._averaged])
            self._new.append((*key, values))

    def _see_action(self, layer: str, result: Any, action: Action) -> None:
        if not isinstance(result, Tensor) or result.shape[0] != self._n * self.group.order or not result.is_floating_point():
            raise GeedError(f"actions: the output of '{layer}' is not a tensor with one row per image")
        orbit = result.double().unflatten(0, (self.group.order, self._n))
        if layer not in self._kernels:
            self._kernels[layer] = general.kernel_of(action, self.group, orbit.shape[2:], layer)
        for metric in self._by_kind["action"]:
            values = general.deviation(orbit, action, self._kernels[layer], self.group.averaged, metric.distance)
            self._new.append((metric, layer, values))

    def _not_measured(self, layer: str, kind: str, reason: str) -> None:
        for metric in self._by_kind[kind]:
            self.notes[metric, layer] = reason

    def see_logits(self, logits: Any, labels: Tensor | None) -> None:
        """Take the network's answers to the chunk's orbit."""
        self._listening = False
        if "" in self.actions and self._by_kind["action"]:
            self._see_action("", logits, self.actions[""])
        if not self._by_kind["logits"] and not self._by_kind["images"]:
            return
        order = self.group.order
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != order * self._n or not logits.is_floating_point():
            found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise GeedError(f"model: expected logits (N, K) for N images; found {found} for N = {order * self._n}")
        orbit = logits.double().unflatten(0, (order, self._n))
        orbit = torch.where(torch.isfinite(orbit).all(dim=-1, keepdim=True), orbit, torch.nan)
        reference, averaged = orbit[0], orbit[self._averaged]
        for metric in self._by_kind["logits"]:
            if metric.name == "accuracy":
                values = output.accuracy(reference, labels.to(reference.device))
            else:
                values = output.FUNCTIONS[metric.name, metric.distance](reference, averaged)
            self._new.append((metric, "", _mark(values, orbit)))

    def see_images(self, model: nn.Module, images: Tensor, labels: Tensor | None) -> None:
        """Measure what takes gradients by the images themselves."""
        for metric in self._by_kind["images"]:
            if metric.name == "jacobian_norm":
                from geed.metrics.spectral import jacobian_norm

                values = jacobian_norm(model, images)
            else:
                from geed.metrics.saliency import saliency_similarity

                targets = None if labels is None else labels.to(images.device)
                values = saliency_similarity(model, images, self.group, targets=targets)
            self._new.append((metric, "", values))

    def table(self) -> "pd.DataFrame":
        """One row per metric and layer."""
        import pandas as pd

        rows = []
        for metric in self.metrics:
            for layer in self._layers(metric):
                rows.append(self._row(metric, layer))  # noqa: PERF401
        return pd.DataFrame(rows, columns=COLUMNS + ["values"] * self.keep)

    def _layers(self, metric: Metric) -> list[str]:
        if not metric.of_layers:
            return [""]
        if metric.reads == "action":
            return [layer for name in self.actions for layer in (self._seen.get(name, [name]) if name else [""])]
        return [layer for name in self.names for layer in self._seen.get(name, [name])]

    def _row(self, metric: Metric, layer: str) -> dict[str, Any]:
        key = (metric, layer)
        moments, note = self.moments.get(key), self.notes.get(key, "")
        row = {"metric": metric.name, "distance": metric.distance, "layer": layer, "group": self.group.spec}
        count = len(self.group.averaged)
        if metric.name in ("relative_invariance", "saliency_similarity"):  # the identity does not count in these
            count -= self.group.averaged.start == 0
        elif metric.name == "jacobian_norm":  # of the image as it is
            count = 1
        offset, factor = 0.0, 1.0
        if moments is None:
            note = note or NOT_CALLED
        elif key in self.streams:
            offset, factor, note = _scale(self.streams[key])
        row |= {"n_elements": count, "note": note}
        if moments is None or note:
            return row | {"value": math.nan, "se": math.nan, "n_images": 0, "values": None}
        row |= {"value": offset + factor * moments.mean, "se": abs(factor) * moments.se, "n_images": moments.n}
        return row | {"values": (offset + factor * moments.values).astype("float32") if self.keep else None}


_LATENT = {
    "cosine": latent.eed_cosine,
    "one_minus_cosine": latent.eed_one_minus_cosine,
    "normalized_cosine": latent.eed_cosine,
    "l2": latent.eed_l2,
}


def _scale(stream: latent.PairCosine | latent.Relative) -> tuple[float, float, str]:
    """(offset, factor) from the streamed values to the metric's, or the reason why there is none.

    What is divided by is an average over all pairs of images; its own sampling error is not part of `se`.
    """
    if stream.n < 2:
        return 0.0, 1.0, "needs at least two images to compare with"
    if isinstance(stream, latent.Relative):
        unrelated = stream.null()
        return (
            (1.0, -1 / unrelated, "") if unrelated else (0.0, 1.0, "all images have the same features: nothing to compare with")
        )
    mean = stream.mean()
    if abs(mean) < stream.LEAST:
        return 0.0, 1.0, f"the mean cosine of different images is {mean:.1e}, too near 0 to divide by"
    return 0.0, 1 / mean, ""


def _mark(values: Tensor, orbit: Tensor) -> Tensor:
    """NaN for images with an answer that is not finite, also where a metric would not show it."""
    return torch.where(torch.isnan(orbit).any(dim=(0, 2)), torch.nan, values)


def _check_arguments(
    model: Any, group: Any, metrics: list[Metric], batch_size: int, actions: Mapping[str, Action] | None, null: str | None
) -> None:
    if not isinstance(model, nn.Module):
        raise GeedError(f"model: expected a torch.nn.Module; found a {type(model).__name__}")
    if not isinstance(group, Group):
        raise GeedError(f"group: expected a group such as groups.rotations(4); found {group!r}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise GeedError(f"batch_size: expected a positive integer; found {batch_size!r}")
    if any(metric.reads == "action" for metric in metrics) and not actions:
        raise GeedError("metric eed needs `actions`: for each layer, the action of the group on its output")
    if null not in (None, "shuffled"):
        raise GeedError(f"null: expected None or 'shuffled'; found {null!r}")
    if null is not None and any(metric.reads == "images" for metric in metrics):
        named = next(metric for metric in metrics if metric.reads == "images")
        raise GeedError(f"{named} has no shuffled null: leave it out, or null=None")


def _layer_names(model: nn.Module, layers: Sequence[str] | None, actions: Mapping[str, Action]) -> list[str]:
    """The layers to measure, in the order of the request."""
    known = [name for name, _ in model.named_modules() if name]
    chosen = leaves(model) if layers is None else [layers] if isinstance(layers, str) else list(layers)
    for name in [*chosen, *actions]:
        if name not in known and not (name == "" and name in actions):
            raise GeedError(f"layers: the model has no module '{name}'{nearest(name, known)}")
    return list(dict.fromkeys(chosen))


def _check_chunk(chunk: batches.Chunk, metrics: list[Metric], group: Group) -> None:
    if chunk.labels is None and any(metric.name == "accuracy" for metric in metrics):
        raise GeedError("metric accuracy needs labels: give `labels`, or batches of (images, labels)")
    group.check(*chunk.images.shape[-2:])
