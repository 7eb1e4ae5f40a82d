"""What a layer's raw output is: a map, a vector, or something that cannot be measured channelwise, with the reason in words.

For the engine: call `describe(model)` once, then in each forward hook ``adapt(output, layout, name, batch)``, where `batch` is
the number of images that went in. `adapt` makes views only, never a copy, so an in-place layer that follows overwrites what it
returned: read it inside the hook. A leaf whose hook never fires is to be reported with the reason `NOT_CALLED`.

Nothing is guessed silently. Where the channels of a four-dimensional output are is decided, in this order, by
1. the layer's own type (convolutions and `...2d` layers: first; `Linear`, `LayerNorm`, `LayerScale`: last);
2. its nearest relatives in the module tree, where all that have a say agree;
3. the widths that those relatives declare, where the output's shape matches them one way only;
4. the model's own `output_fmt` (timm's transformers with channels last).
An output that none of them settles is unsupported, and the reason says so. Where no layer of the whole model works on a last
axis, but for a classifier's `Linear`, maps are what PyTorch's images are: channels first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Any, Literal

from torch import Tensor, nn

NOT_CALLED = "the model's forward pass never calls this module"

# Class tokens to try where the model does not say: none, a class token, a class and a distillation token. At most one of
# T, T - 1, T - 2 is a square, so the answer is unique.
_USUAL_PREFIXES = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Adapted:
    """A layer's output as the metrics read it.

    Attributes:
        kind: "map" (N, C, H, W), "vector" (N, D) or "unsupported".
        tensor: a view of the output in that shape; None where unsupported.
        field_type: the declared field type of an e2cnn GeometricTensor, else None.
        reason: why the output is unsupported, in words; empty otherwise.
    """

    kind: Literal["map", "vector", "unsupported"]
    tensor: Tensor | None = None
    field_type: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Channels:
    """Where a module's channels are.

    Attributes:
        settled: the answer, or None where the output's shape must tell.
        widths: channel counts that the module's relatives declare.
        linear: widths of the Linear layers before it; an output whose last axis has one of them is theirs, channels last.
    """

    settled: Literal["first", "last"] | None
    widths: frozenset[int] = frozenset()
    linear: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model says about the shapes of its layers' outputs; made by `describe`.

    Attributes:
        prefix_tokens: class and register tokens before the grid's, or None where the model does not say.
        grid: rows and columns of the model's token grid, or None where it declares none (or changes it with the input).
        default: where the model as a whole says that channels are, or None.
        channels: module name -> where its channels are.
        heads: module name -> number of heads of the attention it is part of.
        sequences: names of the modules that work on one-dimensional signals (Conv1d and its like).
    """

    prefix_tokens: int | None = None
    grid: tuple[int, int] | None = None
    default: Literal["first", "last"] | None = None
    channels: dict[str, _Channels] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    sequences: frozenset[str] = frozenset()


def leaves(model: nn.Module) -> list[str]:
    """Names of the modules without children, in the order of `named_modules()`.

    An e2cnn layer counts as one leaf, whatever it keeps its basis and statistics in.

    >>> leaves(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU())))
    ['0', '1.0']
    """
    return [name for name, module in _named_leaves(model, "", set()) if name]


def convolutions(model: nn.Module) -> list[str]:
    """Names of the two-dimensional convolutions, e2cnn's steerable ones included, in the order of `named_modules()`.

    >>> convolutions(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    ['0']
    """
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d) or _is_named(module, "R2Conv")]


def describe(model: nn.Module) -> Layout:
    """Collect, once, what the model says about its layers: token grid, class tokens, and where channels are."""
    modules = dict(model.named_modules())
    declared = next((m for m in modules.values() if isinstance(getattr(m, "num_prefix_tokens", None), int)), None)
    return Layout(
        prefix_tokens=None if declared is None else declared.num_prefix_tokens,
        grid=_token_grid(modules),
        default=next((where for m in modules.values() if hasattr(m, "num_classes") and (where := _by_format(m))), None),
        channels={name: _channels(name, modules) for name in modules},
        heads={name: heads for name in modules if (heads := _heads(name, modules))},
        sequences=frozenset(name for name, module in modules.items() if any("1d" in c.__name__ for c in type(module).__mro__)),
    )


def adapt(output: Any, layout: Layout, name: str, batch: int) -> Adapted:
    """Read a layer's raw output as a map (N, C, H, W) or a vector (N, D), by views only.

    Class and register tokens are set aside and the other tokens laid on their grid; channels-last maps are permuted; a map of
    one pixel is a vector; a tuple or mapping that holds one tensor is that tensor.

    Args:
        output: what the module returned.
        layout: `describe(model)`.
        name: the module's name.
        batch: N, the number of images that went into the model.
    """
    field_type = None
    output = _only_tensor(output)
    if isinstance(output, str):
        return Adapted("unsupported", reason=output)
    if type(output).__name__ == "GeometricTensor":
        output, field_type = output.tensor, output.type
    shape = tuple(output.shape)
    if not output.is_floating_point():
        return Adapted("unsupported", reason=f"its values are {str(output.dtype).removeprefix('torch.')}, not real numbers")
    if output.dim() not in (2, 3, 4):
        return Adapted("unsupported", reason=f"its output has {output.dim()} axes: neither a map, a vector nor a token sequence")
    if shape[0] != batch:
        return Adapted(
            "unsupported", reason=f"its output has {shape[0] / batch:g} rows per image, not one: windows, heads or the like"
        )
    if 0 in shape:
        return Adapted("unsupported", reason=f"its output has shape {shape}: no values")
    if output.dim() == 2:
        return Adapted("vector", output, field_type)
    result = _tokens(output, layout, name) if output.dim() == 3 else _map(output, layout, name, field_type)
    if isinstance(result, str):
        return Adapted("unsupported", reason=result)
    if result.shape[-2:] == (1, 1):
        return Adapted("vector", result.flatten(1), field_type)
    return Adapted("map", result, field_type)


def _named_leaves(module: nn.Module, name: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    if module in seen:  # shared: as named_modules() has it, under its first name
        return
    seen.add(module)
    children = list(module.named_children())
    if _is_named(module, "EquivariantModule") and not any(_is_named(child, "EquivariantModule") for _, child in children):
        children = []
    if not children:
        yield name, module
    for child_name, child in children:
        yield from _named_leaves(child, f"{name}.{child_name}".lstrip("."), seen)


def _map(output: Tensor, layout: Layout, name: str, field_type: Any) -> Tensor | str:
    """(N, C, H, W) from a four-dimensional output, or the reason why not."""
    if field_type is not None:
        return output
    shape = tuple(output.shape)
    channels = layout.channels.get(name, _Channels(None))
    heads = layout.heads.get(name)
    if heads in (shape[1], shape[3]):
        return f"its output, {_per_image(shape)}, is internal to an attention of {heads} heads, not a map"
    where = "last" if shape[3] in channels.linear else channels.settled
    if where is None:
        first, last = shape[1] in channels.widths, shape[3] in channels.widths
        where = ("first" if first else "last") if first != last else layout.default
        if where is None:
            return f"its output is {_per_image(shape)}, and the model does not say whether channels come first or last"
    return output if where == "first" else output.permute(0, 3, 1, 2)


def _tokens(output: Tensor, layout: Layout, name: str) -> Tensor | str:
    """(N, D, rows, columns) from a token sequence (N, T, D), or the reason why not."""
    shape = tuple(output.shape)
    count = shape[1]
    if name in layout.sequences:
        return f"its output, {_per_image(shape)}, is a one-dimensional signal, not a token sequence"
    prefixes = _USUAL_PREFIXES if layout.prefix_tokens is None else dict.fromkeys((layout.prefix_tokens, 0))
    for prefix in prefixes:
        grid = _grid_of(count - prefix, layout.grid)
        if grid:
            return output[:, prefix:].unflatten(1, grid).permute(0, 3, 1, 2)
    if layout.grid:
        rows, columns = layout.grid
        return f"its output, {_per_image(shape)}, does not fit the model's grid of {rows} x {columns} tokens"
    return f"its output, {_per_image(shape)}, is no square grid of tokens, and the model declares no other"


def _grid_of(count: int, declared: tuple[int, int] | None) -> tuple[int, int] | None:
    """Rows and columns of `count` tokens: the declared grid, halved as often as hierarchical models do, or else a square."""
    if count == 1:
        return 1, 1
    if count < 1:
        return None
    if declared is None:
        side = isqrt(count)
        return (side, side) if side * side == count else None
    rows, columns = declared
    while rows * columns > count:
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    return (rows, columns) if rows * columns == count else None


def _per_image(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[1:])) + " per image"


def _only_tensor(output: Any) -> Any:
    """The one tensor (or GeometricTensor) in a tuple, list or mapping, or the reason why there is none such."""
    if isinstance(output, Tensor) or type(output).__name__ == "GeometricTensor":
        return output
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, (tuple, list)):
        parts = list(output)
    else:
        return f"it returns a {type(output).__name__}, not a tensor"
    tensors = [part for part in parts if isinstance(part, Tensor) or type(part).__name__ == "GeometricTensor"]
    if len(tensors) == 1:
        return tensors[0]
    return f"it returns a {type(output).__name__} of {len(tensors)} tensors, where one is expected"


def _token_grid(modules: dict[str, nn.Module]) -> tuple[int, int] | None:
    """The token grid of a fixed-size patch embedding (timm's `grid_size`), unless the model changes it with the input."""
    for module in modules.values():
        grid = getattr(module, "grid_size", None)
        if isinstance(grid, (tuple, list)) and len(grid) == 2 and getattr(module, "strict_img_size", True):
            return int(grid[0]), int(grid[1])
    return None


def _heads(name: str, modules: dict[str, nn.Module]) -> int | None:
    """Number of heads of the attention block that directly holds the module; None for a convolution in it."""
    if not name or _by_type(modules[name]) == "first":
        return None
    parent = modules[_parent(name)]
    heads = getattr(parent, "num_heads", None)
    return heads if isinstance(heads, int) and "att" in type(parent).__name__.lower() else None


def _channels(name: str, modules: dict[str, nn.Module]) -> _Channels:
    """Where the channels of the named module's four-dimensional output are, from its type or its nearest relatives."""
    settled = _by_type(modules[name]) or _by_format(modules[name])
    if settled:
        return _Channels(settled)
    linear: set[int] = set()
    for relative in (name, *_ancestors(name)):
        voters = [module for module in modules[relative].modules() if _by_type(module)]
        votes = {_by_type(module) for module in voters if not isinstance(module, nn.Linear)} | {_by_format(modules[relative])}
        votes.discard(None)
        if len(votes) == 1:
            return _Channels(votes.pop(), frozenset(), frozenset(linear))
        if votes:
            return _Channels(None, frozenset(width for module in voters for width in _widths(module)), frozenset(linear))
        # Linear layers settle nothing: on maps they work on the last axis, but most are a classifier on vectors. A map whose
        # last axis is as long as a preceding Linear layer made it comes from that layer.
        for module in modules[relative].modules():
            if module is modules[name] and relative != name:
                break
            if isinstance(module, nn.Linear):
                linear.add(module.out_features)
    return _Channels("first", frozenset(), frozenset(linear))


def _by_type(module: nn.Module) -> Literal["first", "last"] | None:
    """Where the module's type says that channels are; None for modules that do not care (activations, dropout, containers)."""
    names = {c.__name__ for c in type(module).__mro__}
    if "Permute" in names:  # torchvision.ops
        return {(0, 2, 3, 1): "last", (0, 3, 1, 2): "first"}.get(tuple(module.dims))
    if "GlobalResponseNorm" in names:  # timm
        return "first" if module.channel_dim == 1 else "last"
    if isinstance(module, (nn.GroupNorm, nn.PixelShuffle, nn.PixelUnshuffle)) or any("2d" in name for name in names):
        return "first"
    if isinstance(module, (nn.Linear, nn.LayerNorm)) or names & {"RMSNorm", "RmsNorm", "RmsNormFp32", "LayerScale"}:
        return "last"
    return None


def _by_format(module: nn.Module) -> Literal["first", "last"] | None:
    """Where a module that declares timm's `output_fmt` says that its output's channels are."""
    return {"NCHW": "first", "NHWC": "last"}.get(getattr(module, "output_fmt", None))


def _widths(module: nn.Module) -> Iterator[int]:
    """The channel counts that a module declares."""
    for key in ("in_channels", "out_channels", "num_features", "in_features", "out_features"):
        if isinstance(width := getattr(module, key, None), int):
            yield width
    if isinstance(module, nn.LayerNorm):
        yield module.normalized_shape[-1]


def _ancestors(name: str) -> Iterator[str]:
    """Names of the modules that hold the named one, nearest first, the model itself ("") last."""
    while name:
        name = _parent(name)
        yield name


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _is_named(module: nn.Module, name: str) -> bool:
    return any(c.__name__ == name for c in type(module).__mro__)
