"""Mends for third-party packages, made from outside and only where they are needed.

Get these packages through here, `torchvision = compat.import_torchvision()`, and not directly: the mend must come first.
The functions are cheap to call again.
"""

import functools
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

_KEPT_ALIVE: list[Any] = []  # a torch.library.Library takes its declarations back when it is collected


@functools.cache
def import_torchvision() -> ModuleType:
    """Import torchvision, also beside a CPU build of torch.

    Reason: package indexes may hold CUDA builds of torchvision only. Beside a CPU build of torch their compiled operators cannot
    be loaded, and the import dies with "operator torchvision::nms does not exist", although transforms, datasets and models
    need none of them. Declaring the schemas of the two operators that the import looks up is enough; calling them still fails.
    Does nothing where the compiled operators load.
    """
    import torch

    if not _torchvision_operators_load():
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT_ALIVE.append(library)
    import torchvision

    return torchvision


def _torchvision_operators_load() -> bool:
    import torch

    spec = importlib.util.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for library in (path for folder in folders or () for path in sorted(Path(folder).glob("_C*"))):
        try:
            torch.ops.load_library(library)
        except OSError:
            continue
        return True
    return False


@functools.cache
def import_timm() -> ModuleType:
    """Import timm, which imports torchvision."""
    import_torchvision()
    import timm

    return timm


@functools.cache
def optimiser(name: str) -> type:
    """An optimiser of torch.optim, which does not import torch's compiler.

    Reason: its methods import the compiler at their first call, only to tell it what to leave alone: 1.8 s of every process that
    trains, and nothing is compiled here. The same methods without those wrappers compute the same.
    """
    import torch

    kind = getattr(torch.optim, name)
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {method: inspect.unwrap(getattr(kind, method)) for method in wrapped}
    return type(name, (kind,), methods | {"step": torch.no_grad()(inspect.unwrap(kind.step))})


@functools.cache
def import_e2cnn() -> ModuleType:
    """Import e2cnn, also beside numpy 2.

    Reason: its dihedral kernels call `np.array(x, copy=False)`, which numpy 2 refuses where a copy is needed, and
    `ndarray.tostring`, which numpy 2.3 removed. Cyclic groups never get there.
    Does nothing where numpy still has both.
    """
    import e2cnn
    import e2cnn.gspaces
    import e2cnn.nn
    import numpy as np
    from e2cnn.kernels import irreps_basis, utils

    if not _numpy_copies_when_told_not_to():
        utils.np = _NumpyOne(np)
    if not hasattr(np.ndarray, "tostring"):
        for kernels in ("R2Flips", "R2ContinuousRotations", "R2FlipsDiscreteRotations", "R2FlipsContinuousRotations"):
            getattr(irreps_basis, f"{kernels}Solution").__hash__ = _hash_of_basis
    return e2cnn


def _numpy_copies_when_told_not_to() -> bool:
    import numpy as np

    try:
        np.array(1, copy=False)
    except ValueError:
        return False
    return True


class _NumpyOne:
    """Numpy, but for `array(copy=False)`, which means "copy only if needed" as it did before version 2."""

    def __init__(self, numpy: ModuleType):
        self._numpy = numpy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._numpy, name)

    def array(self, value: Any, *args: Any, copy: bool | None = True, **options: Any) -> Any:
        return self._numpy.array(value, *args, copy=copy or None, **options)


def _hash_of_basis(basis: Any) -> int:
    import numpy as np

    return hash((basis.in_irrep, basis.out_irrep, np.asarray(basis.mu).tobytes(), np.asarray(basis.gamma).tobytes()))
