"""Networks of timm, by name."""

from collections.abc import Callable
from typing import Any

from torch import nn

from geed import compat
from geed.errors import GeedError, nearest


def network(name: str, classes: int) -> tuple[nn.Module, dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """A network of timm for a study, its weights random.

    Args:
        name: ``timm:NAME``.
        classes: number of outputs.

    Returns:
        The network; its data config, `mean` and `std` among it; names of its classifiers (two after distillation); names of its
        blocks, shallow first, where it tells.

    Raises:
        GeedError: unknown name, or a network without a classifier.
    """
    timm = compat.import_timm()
    check(timm, name.removeprefix("timm:"))
    model = created(name, False, lambda: timm.create_model(name.removeprefix("timm:"), num_classes=classes))
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    modules = dict(model.named_modules())
    if not heads or any(head not in modules for head in heads):
        raise GeedError(f"{name}: expected a network with a classifier that timm names, found none")
    stages = model.feature_info if isinstance(getattr(model, "feature_info", None), list) else []
    blocks = tuple(stage["module"] for stage in stages if stage.get("module") and stage["module"] in modules)  # TResNet's is ""
    return model, timm.data.resolve_model_data_config(model), heads, blocks


def check(timm: Any, name: str) -> None:
    """Refuse a name, with ``timm:`` before it or without, that the library `timm` does not have.

    Raises:
        GeedError: it names the nearest.
    """
    if not timm.is_model(name.removeprefix("timm:").split(".")[0]):
        raise GeedError(
            f"unknown timm model '{name.removeprefix('timm:')}'{nearest(name.removeprefix('timm:'), timm.list_models())}"
        )


def created(what: str, pretrained: bool, create: Callable[[], Any]) -> Any:
    """What `create` gives, or one sentence about `what` (a library raises anything).

    Raises:
        GeedError: `create` raised; where it wanted `pretrained` weights, the sentence says what to do without a connection.
    """
    try:
        return create()
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        if pretrained:
            raise GeedError(
                f"{what}: no pretrained weights to be had ({type(error).__name__}: {reason}); "
                "without a connection, give a downloaded file as weights"
            ) from error
        raise GeedError(f"{what}: building it raised {type(error).__name__}: {reason}") from error
