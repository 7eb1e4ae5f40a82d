"""How invariant is a neural network, in which layers, to what.

>>> from geed import groups, measure  # doctest: +SKIP
>>> measure(model, images, group=groups.rotations(4), metrics=["channel_eed", "output_eed/kl"])  # doctest: +SKIP
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Name -> module that holds it. Imported at first use, because importing torch costs seconds that planning a DAG need not pay.
_LAZY = {
    "measure": "geed.metrics.engine",
    "lie_derivative": "geed.lie.endtoend",
    "difference_quotient": "geed.lie.endtoend",
    "layerwise_lie_derivative": "geed.lie.layerwise",
    "groups": "geed.groups",
    "metrics": "geed.metrics",
    "GeedError": "geed.errors",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'geed' has no attribute '{name}'")
    module = import_module(_LAZY[name])
    return module if module.__name__ == f"geed.{name}" else getattr(module, name)
