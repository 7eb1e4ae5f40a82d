"""A network in one safetensors file: its learned numbers, and in the metadata the specification that rebuilds it.

Equal networks give equal bytes. What the specification alone decides (normalisation constants, steerable bases, expanded
filters) is not stored. A file of snapshots holds several sets of weights of one network, each under `epoch-<n>/`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from geed import files
from geed.errors import GeedError
from geed.models.build import build
from geed.models.network import Network

if TYPE_CHECKING:
    from safetensors import safe_open

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def state(model: nn.Module) -> dict[str, Tensor]:
    """The learned numbers of a network by name (parameters and batch statistics): references, not copies."""
    learned = dict(model.named_parameters())
    learned |= {name: buffer for name, buffer in model.named_buffers() if name.rpartition(".")[2] in _STATISTICS}
    return {name: tensor.detach() for name, tensor in learned.items()}


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of `state(model)` on the CPU, for snapshots and checkpoints."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in state(model).items()}


def restore(model: nn.Module, learned: Mapping[str, Tensor], origin: str | Path) -> None:
    """Put learned numbers into a network, in place, and leave it in the mode in which it was found.

    Raises:
        GeedError: names, shapes or types do not fit; `origin` is what the sentence blames.
    """
    own = state(model)
    unexpected, missing = sorted(learned.keys() - own.keys()), sorted(own.keys() - learned.keys())
    if unexpected or missing:
        fault = f"has '{unexpected[0]}', which" if unexpected else f"lacks '{missing[0]}', which"
        raise GeedError(f"{origin}: {fault} does not fit the network ({len(missing)} missing, {len(unexpected)} unexpected)")
    for name, tensor in learned.items():
        if tensor.shape != own[name].shape or tensor.is_floating_point() != own[name].is_floating_point():
            found, expected = (f"{tuple(t.shape)} {str(t.dtype)[6:]}" for t in (tensor, own[name]))
            raise GeedError(f"{origin}: '{name}' is {found}, the network needs {expected}")
    training = model.training
    # steerable layers expand their filters when they go from training to eval mode
    model.train()
    for name, tensor in learned.items():
        own[name].copy_(tensor)
    model.train(training)


def take_trunk(model: Network, source: Network) -> None:
    """Give a network the weights of another, but for the head.

    Raises:
        GeedError: the two are not of one architecture.
    """
    taken, own = state(source), state(model)
    heads = {id(parameter) for parameter in model.head.parameters()}
    kept = {name for name, parameter in model.named_parameters() if id(parameter) in heads}
    restore(model, taken | {name: own[name] for name in kept}, "the run that initialisation.from names")


def scale(model: Network, factor: float) -> None:
    """Multiply the weights of all convolutions and linear layers, not their biases nor the batch normalisation."""
    normalisation = {id(p) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for p in m.parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if id(parameter) not in normalisation and not name.endswith("bias"):
                parameter.mul_(factor)


def save(model: Network, path: str | Path) -> None:
    """Write a network's weights, atomically.

    Raises:
        GeedError: a weight is not finite, or the file cannot be written.
    """
    _write({name: tensor.cpu() for name, tensor in state(model).items()}, model, path)


def save_snapshots(model: Network, snapshots: Mapping[int, Mapping[str, Tensor]], path: str | Path) -> None:
    """Write `copy_state` of several epochs of one network's training into one file, atomically."""
    tensors = {f"epoch-{epoch}/{name}": tensor for epoch, learned in snapshots.items() for name, tensor in learned.items()}
    _write(tensors, model, path)


def load(path: str | Path, epoch: int | None = None) -> Network:
    """The network in a file of `save`, or of one epoch in a file of `save_snapshots`; on the CPU, in eval mode.

    Raises:
        GeedError: the file is absent or damaged, has no such epoch, or does not fit its own specification.
    """
    with _open(path) as stream:
        spec, names = _spec(stream, path), list(stream.keys())
        prefix = "" if epoch is None else f"epoch-{epoch}/"
        learned = {name[len(prefix) :]: stream.get_tensor(name) for name in names if name.startswith(prefix)}
    if epoch is not None and not learned:
        raise GeedError(f"{path}: no weights of epoch {epoch}; it holds: {', '.join(map(str, _epochs(names))) or 'none'}")
    try:
        model = build(spec)
    except GeedError as error:
        raise GeedError(f"{path}: {error}") from error
    restore(model, learned, path)
    return model.eval()


def epochs(path: str | Path) -> list[int]:
    """The epochs in a file of snapshots, ascending; empty for a file of `save`."""
    with _open(path) as stream:
        try:
            return _epochs(list(stream.keys()))
        except ValueError as error:
            raise GeedError(f"{path}: expected weights of epochs, named 'epoch-<n>/…', found others ({error})") from error


def _epochs(names: list[str]) -> list[int]:
    prefixes = {name.partition("/")[0] for name in names if "/" in name}
    return sorted(int(prefix.removeprefix("epoch-")) for prefix in prefixes)


def _write(tensors: dict[str, Tensor], model: Network, path: str | Path) -> None:
    from safetensors.torch import save as serialised

    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise GeedError(f"{path}: '{name}' holds a value that is not finite")
    # one metadata key: several are written in an order that varies from run to run
    metadata = {"spec": json.dumps(model.spec, sort_keys=True, allow_nan=False)}
    with files.atomic(path) as temporary:
        # written by Python, because safetensors' own writer reports a full disk as an error of its format
        temporary.write_bytes(serialised({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata))


def _open(path: str | Path) -> "safe_open":
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise GeedError(f"{path}: no such file")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise GeedError(f"{path}: expected weights in safetensors format, found something unreadable ({error})") from error


def _spec(stream: "safe_open", path: str | Path) -> dict:
    try:
        return json.loads((stream.metadata() or {})["spec"])
    except (KeyError, json.JSONDecodeError) as error:
        raise GeedError(f"{path}: no network specification in the file's metadata; it was not written by geed") from error
