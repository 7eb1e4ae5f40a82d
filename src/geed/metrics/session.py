"""A network made ready for measuring and left as it was found: eval mode, device, kernels, errors of its forward pass."""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from geed.errors import GeedError

# Numbers that go into a network at once on a CPU, at most: 64 images of 64 px, 5 of 224 px in colour. Measured on ResNet-18: more
# is a quarter slower, because activations no longer fit the cache; far fewer are slower too.
_CPU_NUMBERS = 64 * 3 * 64 * 64

_P, _R = ParamSpec("_P"), TypeVar("_R")

FORWARD_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError)


@contextlib.contextmanager
def prepared(model: nn.Module, device: str | torch.device) -> Iterator[tuple[torch.device, torch.dtype | None]]:
    """The model in eval mode and on the device, with its type of numbers if it has any; afterwards as it was."""
    tensors = [*model.parameters(), *model.buffers()]
    home = {tensor.device for tensor in tensors}
    place = _place(device, home)
    dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)
    flags = [(module, module.training) for module in model.modules()]
    moves = len(home) == 1 and home != {place}
    # PyTorch's default for convolutions, TF32, keeps 10 bits of a float32's 23: an equivariant network would deviate by 1e-3.
    tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        if moves:
            model.to(place)
        if any(flag for _, flag in flags):
            model.eval()
        yield place, dtype
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        for module, flag in flags:  # parents come before children, and `train` of a parent sets its children
            if module.training != flag:
                module.train(flag)
        if moves:
            model.to(next(iter(home)))


@contextlib.contextmanager
def forward_mode() -> Iterator[None]:
    """Kernels that have a forward-mode derivative, and no graph for a backward one; afterwards what there was.

    Fused attention, and the fast path of PyTorch's transformer layers, have none.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def forward(model: nn.Module, images: Tensor) -> Any:
    """The network's answer.

    Raises:
        GeedError: the forward pass fails, with the shape that it failed on.
    """
    try:
        return model(images)
    except torch.OutOfMemoryError:
        raise
    except FORWARD_ERRORS as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise GeedError(f"model: its forward pass fails on images of shape {tuple(images.shape)}: {reason}") from error


def within_memory(measuring: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function of (model, images, …, batch_size=…) start over with half the batch size where a GPU runs out of memory.

    Each time a warning says so; results do not depend on the batch size.

    Raises:
        GeedError: not even a batch size of 1 fits, or the images are a stream, which cannot be read again.
    """
    default = inspect.signature(measuring).parameters["batch_size"].default

    @functools.wraps(measuring)
    def run(model: nn.Module, images: Any, *args: Any, batch_size: int = default, **named: Any) -> Any:
        while True:
            try:
                return measuring(model, images, *args, batch_size=batch_size, **named)
            except torch.OutOfMemoryError as error:
                if batch_size == 1:
                    raise GeedError("the GPU's memory does not hold the network and one image; use device='cpu'") from error
                if not isinstance(images, Tensor):
                    raise GeedError(f"the GPU's memory does not hold batch_size={batch_size}; give half of it") from error
            torch.cuda.empty_cache()
            batch_size //= 2
            warnings.warn(f"out of GPU memory: starting over with batch_size={batch_size}", stacklevel=2)

    return run


def images_at_once(batch_size: int, order: int, place: torch.device, batch: Tensor) -> int:
    """How many images of this size to take, each of which goes through the network `order` times, all at once."""
    if place.type == "cpu":
        batch_size = min(batch_size, _CPU_NUMBERS // batch[0].numel())
    return max(1, batch_size // order)


def _place(device: str | torch.device, home: set[torch.device]) -> torch.device:
    if len(home) > 1:  # spread over several devices by its owner
        return next(iter(home))
    if device == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise GeedError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place
