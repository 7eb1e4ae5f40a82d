"""Where in a network equivariance is lost: each layer's contribution to the Lie derivative.

Gruver et al. 2022, Section 4: for a network N = f_n ∘ … ∘ f_1 the derivative L N is the sum over layers i of
J_(n:i+1) (L f_i)(x), where L f_i = J_(f_i) D a_i - D f_i(a_i) is what layer i does wrong to its own input a_i, and J_(n:i+1) the
derivative of all that follows. A layer's number is the mean over images of the squared norm of its term.

Every layer's maps are acted on in their own resolution, in the image's coordinates; vectors and class tokens are not acted on.
Forward mode gives the L f_i of all layers in one pass: tangents stop at each module (`stops`), where D of what is there replaces
them, and the difference is the violation. Then the network is a function of one number per layer, by which its violation is
added, and the terms are that function's derivatives at 0: exact columns (forward mode), exact rows (backward), whichever are
fewer, or random combinations of rows, which is what the paper does with 100 probes.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from geed import seeds
from geed.errors import GeedError
from geed.lie import tangents
from geed.lie import transforms as known
from geed.lie.endtoend import Table, check_arguments
from geed.lie.generators import derivatives
from geed.lie.stops import ROOT, Seen, Stop, Stops, action_of
from geed.metrics import batches
from geed.metrics.layers import NOT_CALLED
from geed.metrics.session import forward_mode, images_at_once, prepared, within_memory

if TYPE_CHECKING:
    import pandas as pd

# Violations below this many roundings of what they are the difference of are none.
_ROUNDINGS = 10


@within_memory
def layerwise_lie_derivative(
    model: nn.Module,
    images: Tensor | Iterable[Any],
    transforms: Sequence[str] | str = ("translation_x", "rotation"),
    *,
    output: str = "softmax",
    reduce: str = "squared_norm",
    resample: str = "bicubic",
    probes: int | None = None,
    batch_size: int = 16,
    device: str | torch.device = "auto",
    per_image: bool = False,
    progress: Callable[[int], object] | None = None,
) -> "pd.DataFrame":
    """How much each layer of a network adds to its Lie derivative.

    Args:
        transforms: spatial ones of `geed.lie.transforms`; for the rest see `geed.lie_derivative`.
        reduce: "squared_norm" (the paper's), "mean_square" or "mean_abs" over the classes.
        probes: None = exact; or how many random probes per image estimate the squares, at a fraction of the cost. `se` then
            holds their noise as well.
        batch_size: at most how many tangents, images times layers, are in memory at once. Beside them there are, for each image
            and transformation, as many numbers as all layers put out.

    Returns:
        One row per transformation and layer, in the order of the forward pass: `layer, module, transform, value, se, n_images,
        note`. Layers are the leaves of the network (`module`: their class; a second call of one is ``name#2``), and modules whose
        own code, outside of their children, contributes; ``(model)`` is the whole network's. Where a leaf has no value, `note`
        says why; what it does is counted with the module around it. The terms, not the numbers, of all rows add up to the Lie
        derivative of the network.

    Raises:
        GeedError: as `geed.lie_derivative` does; transformations of colour, which layers do not have.
    """
    names = known.parse_all(transforms, resample, spatial_only=True)
    check_arguments(model, output, reduce, batch_size)
    _check_probes(probes, reduce)
    found: dict[str, Table] = {}
    notes: dict[str, str] = {}
    done = 0
    with prepared(model, device) as (place, dtype), forward_mode():
        stops = Stops(model)
        generator = seeds.generator("lie", "probes")
        for chunk in batches.chunks(images, None, functools.partial(images_at_once, batch_size, len(names), place)):
            batch = chunk.images.to(place, dtype)
            with stops.hooked():
                terms = Terms.of(stops, batch, names, resample)
                if probes is None:
                    values = tangents.reduced(tangents.of_output(terms.logits, terms.exact(batch_size), output), reduce)
                else:
                    values = terms.estimated(probes, output, generator, batch_size)
                    values = values / terms.logits.shape[-1] if reduce == "mean_square" else values
            values = values.unflatten(0, (len(terms.layers), len(names))) if terms.layers else values
            for layer, rows in zip(terms.layers, values, strict=True):
                if layer not in found:
                    found[layer] = Table(names, per_image)
                    if done:
                        found[layer].add(rows.new_zeros(len(names), done), 0)
                found[layer].add(rows, chunk.start)
            for layer in found.keys() - set(terms.layers):
                found[layer].add(values.new_zeros(len(names), len(batch)), chunk.start)
            notes |= terms.notes
            order = terms.order
            done += len(batch)
            if progress is not None:
                progress(len(batch))
    if not done:
        raise GeedError("images: found none to measure")
    return _table(stops, found, notes, order, names, done, per_image)


@dataclass
class Terms:
    """The violations of all layers of one batch, and the derivatives of the logits along them.

    Attributes:
        logits: (N, K).
        layers: the layers with a violation, in the order of the forward pass; together with the transformations, the lanes:
            lane number (layer's index) * T + (transformation's index).
        order: all layers that were measured, in the order of the forward pass.
        notes: layer -> why it has no value of its own.
    """

    stops: Stops
    images: Tensor
    logits: Tensor
    layers: list[str]
    order: list[str]
    notes: dict[str, str]
    _added: dict[Stop, list[tuple[int, Tensor]]] = field(default_factory=dict)
    _lanes: int = 0

    @classmethod
    def of(cls, stops: Stops, images: Tensor, names: list[str], resample: str) -> "Terms":
        """Find the violations: one pass of the images with all transformations' tangents."""
        aspect = images.shape[-2] / images.shape[-1]
        reach = [0.0]

        def act(maps: Tensor) -> Tensor:
            reach[0] = max(maps.shape[-2:]) / 2  # pixels per unit of t, by which differences and their roundings are multiplied
            return derivatives(names, maps, resample=resample, aspect=aspect)

        owners: dict[Stop, str] = {Stop(ROOT, "out", 0): ROOT}
        order: dict[str, None] = {}
        notes: dict[str, str] = {}

        def run(tangent: Tensor, which: Tensor) -> tuple[Tensor, Tensor, dict[Stop, tuple[Tensor, Tensor]]]:
            found: dict[Stop, tuple[Tensor, Tensor]] = {}

            def visit(stop: Stop, seen: Seen, tensor: Tensor) -> Tensor:
                # What happened since the last stops is this layer's doing; its caller's, where it was not stopped at its input.
                owner = stop.layer if stop.where == "out" and stop.layer not in notes else seen.caller
                order.setdefault(stop.layer)
                value, before = forward_ad.unpack_dual(tensor)
                if before is None or getattr(tensor, "_acted_on", None) == tensor._version:
                    return tensor  # does not depend on the images, or comes straight from another stop
                acted = action_of(value, stops.layout, seen.name, len(images), act)
                if isinstance(acted, str):
                    notes[stop.layer] = acted if stop.where == "out" else acted.replace("its output", "its input", 1)
                    return tensor
                after = (acted[which] if len(acted) > 1 else acted[0]).expand_as(value)
                found[stop], owners[stop] = (before - after, before.norm() + after.norm() + reach[0] * value.norm()), owner
                result = _with_tangent(tensor, value, before, after - before, seen.in_place)
                result._acted_on = result._version
                return result

            def network(given: Tensor) -> tuple[Tensor, dict[Stop, tuple[Tensor, Tensor]]]:
                return stops.forward(given, visit), found

            return torch.func.jvp(network, (images,), (tangent,), has_aux=True)

        with tangents.explained(images):
            lanes = torch.arange(len(names), device=images.device)
            logits, rest, found = torch.vmap(run, out_dims=(None, 0, 0))(act(images), lanes)
        tangents.check_logits(logits, len(images))
        for layer, kind in stops.silent.items():
            order.setdefault(layer)
            notes[layer] = f"it returns a {kind}, on which no action is known"
        found[Stop(ROOT, "out", 0)] = rest, rest.flatten(1).norm(dim=1)

        least = _ROUNDINGS * torch.finfo(logits.dtype).eps
        kept: dict[str, list[tuple[Stop, int, Tensor]]] = {}
        for stop, (violations, scales) in found.items():
            for k, (violation, scale) in enumerate(zip(violations, scales, strict=True)):
                if violation.norm() > least * scale:
                    kept.setdefault(owners[stop], []).append((stop, k, violation))
        terms = cls(stops, images, logits, list(kept), [*order, ROOT], notes)
        terms._lanes = len(kept) * len(names)
        for index, violations in enumerate(kept.values()):
            for stop, k, violation in violations:
                terms._added.setdefault(stop, []).append((index * len(names) + k, violation))
        return terms

    def exact(self, at_once: int) -> Tensor:
        """The derivatives of the logits along every lane, (lanes, N, K)."""
        if not self._lanes:
            return self.logits.new_zeros(0, *self.logits.shape)
        classes = self.logits.shape[-1]
        many = max(1, at_once // len(self.images))
        with tangents.explained(self.images):
            if classes < self._lanes:  # a row costs about what a column does
                rows = torch.eye(classes, dtype=self.logits.dtype, device=self.logits.device)
                return self._rows(rows[:, None].expand(-1, len(self.images), -1), many).permute(2, 1, 0)
            return torch.cat([self._columns(range(low, min(low + many, self._lanes))) for low in range(0, self._lanes, many)])

    def estimated(self, probes: int, output: str, generator: torch.Generator, at_once: int) -> Tensor:
        """Unbiased estimates (lanes, N) of the squared norm of each lane's derivative, by random rows z with z ~ N(0, I)."""
        if not self._lanes:
            return self.logits.new_zeros(0, len(self.images), dtype=torch.float64)
        classes = self.logits.shape[-1]
        # Image by image, so that they do not depend on the batches.
        drawn = [torch.randn(probes, classes, generator=generator, dtype=torch.float64) for _ in self.images]
        rows = torch.stack(drawn, dim=1).to(self.logits.device)
        if output == "softmax":
            p = self.logits.double().softmax(dim=-1)
            rows = p * (rows - (p * rows).sum(dim=-1, keepdim=True))
        with tangents.explained(self.images):
            found = self._rows(rows.to(self.logits.dtype), max(1, at_once // len(self.images)))
        return found.double().square().mean(dim=0).T

    def _columns(self, lanes: range) -> Tensor:
        """Forward mode: (lanes, N, K). Nothing is derived before the first of the lanes sets in."""
        first = {stop: [(k, v) for k, v in added if k in lanes] for stop, added in self._added.items()}

        def run(weights: Tensor) -> Tensor:
            def visit(stop: Stop, seen: Seen, tensor: Tensor) -> Tensor:
                if not (added := first.get(stop)):
                    return tensor
                value, before = forward_ad.unpack_dual(tensor)
                change = sum(weights[k - lanes.start] * violation for k, violation in added)
                return _with_tangent(tensor, value, before, change, seen.in_place)

            def network(_: Tensor) -> Tensor:
                return visit(Stop(ROOT, "out", 0), Seen("", ROOT, False), self.stops.forward(self.images, visit))

            nothing = self.images.new_zeros(())
            return torch.func.jvp(network, (nothing,), (nothing,))[1]

        return torch.vmap(run)(torch.eye(len(lanes), dtype=self.images.dtype, device=self.images.device))

    def _rows(self, rows: Tensor, many: int) -> Tensor:
        """Backward mode: (R, N, lanes) from the R combinations of the logits (R, N, K)."""

        def visit(stop: Stop, seen: Seen, tensor: Tensor) -> Tensor:
            if tensor.requires_grad and stop.where == "out":
                # Batch normalisation's backward (PyTorch 2.13, CPU, eval mode) is wrong for one image's transposed gradient.
                tensor.register_hook(torch.Tensor.contiguous)
            if not (added := self._added.get(stop)):
                return tensor
            change = sum(weights[:, k].reshape(-1, *(1,) * (tensor.ndim - 1)) * violation for k, violation in added)
            if not seen.in_place:
                return tensor + change
            with torch.autograd._unsafe_preserve_version_counter(tensor):  # adds 0: what others have saved of it stays true
                return tensor.add_(change)

        with torch.enable_grad():
            weights = self.images.new_zeros(len(self.images), self._lanes).requires_grad_()
            logits = visit(Stop(ROOT, "out", 0), Seen("", ROOT, False), self.stops.forward(self.images, visit))
            parts = [
                torch.autograd.grad(logits, weights, part, retain_graph=True, is_grads_batched=True)[0]
                for part in rows.split(many)
            ]
        return torch.cat(parts)


def _with_tangent(tensor: Tensor, value: Tensor, before: Tensor | None, change: Tensor, in_place: bool) -> Tensor:
    """The tensor with `change` added to its tangent."""
    if in_place:  # those who hold it must see it, so it is added to, not replaced
        return tensor.add_(forward_ad.make_dual(torch.zeros_like(value), change))
    return forward_ad.make_dual(value, change if before is None else before + change)


def _check_probes(probes: Any, reduce: str) -> None:
    if probes is None:
        return
    if isinstance(probes, bool) or not isinstance(probes, int) or probes < 1:
        raise GeedError(f"probes: expected None or a positive integer; found {probes!r}")
    if reduce == "mean_abs":
        raise GeedError("probes estimate squares: expected reduce='squared_norm' or 'mean_square', or probes=None")


def _table(
    stops: Stops,
    found: dict[str, Table],
    notes: dict[str, str],
    order: list[str],
    names: list[str],
    n_images: int,
    per_image: bool,
) -> "pd.DataFrame":
    """One row per transformation and layer: every leaf, and other modules that contribute."""
    import pandas as pd

    leaves = set(stops.leaves)
    shown = [layer for layer in order if layer in found or layer.split("#")[0] in leaves]
    reached = {layer.split("#")[0] for layer in shown}
    notes |= dict.fromkeys(leaves - reached, NOT_CALLED)
    parts = []
    for layer in [*shown, *(leaf for leaf in stops.leaves if leaf not in reached)]:
        module = stops.model if layer == ROOT else stops.model.get_submodule(layer.split("#")[0])
        keys = [{"layer": layer, "module": type(module).__name__, "transform": name} for name in names]
        values = found.get(layer)
        if values is None:
            values = Table(names, per_image)
            values.add(torch.zeros(len(names), n_images, dtype=torch.float64), 0)
        part = values.rows(keys).assign(note="")
        if layer in notes and layer not in found:
            part = part.assign(value=math.nan, se=math.nan, n_images=0, note=notes[layer])
            part = part.assign(values=None) if per_image else part
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values("transform", key=lambda column: column.map(names.index), kind="stable", ignore_index=True)
