"""A network's forward pass with a stop wherever a tensor goes into a module or comes out of one."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from geed.metrics.layers import Layout, adapt, describe, leaves

ROOT = "(model)"  # the model's own code; other modules have their names


class Stop(NamedTuple):
    """A place in the forward pass, the same in every pass over the same images.

    Attributes:
        layer: the module, ``name`` or, from its second call on, ``name#2``, …
        where: "in" or "out" of it.
        index: which tensor, of several.
    """

    layer: str
    where: str
    index: int


class Seen(NamedTuple):
    """What is there.

    Attributes:
        name: the module's name.
        caller: the layer that called it.
        in_place: whether others must see what is done to the tensor.
    """

    name: str
    caller: str
    in_place: bool


Visit = Callable[[Stop, Seen, Tensor], Tensor]


class Stops:
    """Hooks on every module of a network, down to its leaves.

    Attributes:
        layout: what the network says about its layers' shapes.
        leaves: names of the modules without children.
        silent: layers of the last pass that returned no tensor, and what they did return.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.layout: Layout = describe(model)
        self.leaves = leaves(model)
        inside = tuple(f"{name}." for name in self.leaves)
        self._names = [name for name, _ in model.named_modules() if name and not name.startswith(inside)]
        self.silent: dict[str, str] = {}
        self._visit: Visit | None = None

    def forward(self, images: Tensor, visit: Visit) -> Any:
        """One forward pass; `visit` may return another tensor instead of the one it is shown."""
        self._visit, self._calls, self._stack, self.silent = visit, Counter(), [ROOT], {}
        return self.model(images)

    @contextlib.contextmanager
    def hooked(self) -> Iterator[None]:
        """Stop at the modules; no longer afterwards, whatever happens."""
        with contextlib.ExitStack() as stack:
            for name in self._names:
                module = self.model.get_submodule(name)
                enter = module.register_forward_pre_hook(_named(self._enter, name), with_kwargs=True)
                leave = module.register_forward_hook(_named(self._leave, name), with_kwargs=True)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
            yield

    def _enter(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        self._calls[name] += 1
        layer = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
        seen = Seen(name, self._stack[-1], bool(getattr(module, "inplace", False)))
        self._stack.append(layer)
        number = itertools.count()
        return _each((args, kwargs), lambda tensor: self._visit(Stop(layer, "in", next(number)), seen, tensor))

    def _leave(self, name: str, module: nn.Module, args: tuple, kwargs: dict, result: Any) -> Any:
        layer = self._stack.pop()
        given: list[Tensor] = []
        _each((args, kwargs), lambda tensor: given.append(tensor) or tensor)
        number = itertools.count()

        def visit(tensor: Tensor) -> Tensor:
            seen = Seen(name, self._stack[-1], any(tensor is other for other in given))
            return self._visit(Stop(layer, "out", next(number)), seen, tensor)

        changed = _each(result, visit)
        if not next(number):
            self.silent[layer] = type(result).__name__
        return changed


def _named(hook: Callable[..., Any], name: str) -> Callable[..., Any]:
    return lambda *arguments: hook(name, *arguments)


def _each(value: Any, visit: Callable[[Tensor], Tensor]) -> Any:
    """The same structure of tuples, lists and dictionaries, with `visit` done to each tensor in it."""
    if isinstance(value, Tensor):
        return visit(value)
    if isinstance(value, dict):
        return type(value)({key: _each(part, visit) for key, part in value.items()}) if value else value
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(_each(part, visit) for part in value)
    if type(value) in (tuple, list):
        return type(value)(_each(part, visit) for part in value)
    return value


def action_of(tensor: Tensor, layout: Layout, name: str, batch: int, act: Callable[[Tensor], Tensor]) -> Tensor | str:
    """`act`, which makes (T, N, C, H, W) from a map (N, C, H, W), applied to a layer's tensor in the tensor's own shape.

    Class tokens and vectors are not acted on: 0. A string says why there is no action.
    """
    adapted = adapt(tensor, layout, name, batch)
    if adapted.kind == "unsupported":
        return adapted.reason
    if adapted.kind == "vector":
        return tensor.new_zeros(1, *(1,) * tensor.ndim)
    acted = act(adapted.tensor)
    if adapted.tensor is tensor:
        return acted
    result = acted.new_zeros(len(acted), *tensor.shape)
    for target, source in zip(result, acted, strict=True):
        adapt(target, layout, name, batch).tensor.copy_(source)
    return result
