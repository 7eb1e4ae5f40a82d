"""The training loop: all data in memory on the device, augmentation in batches, streams keyed by name and epoch.

Unless the run says otherwise: AdamW (Loshchilov and Hutter 2019) with a one-cycle learning rate (Smith 2018), a linear rise
over the first quarter of the steps, then half a cosine down to zero; and the weights after the last epoch, so that nothing is
chosen by validation accuracy.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from geed import compat, seeds
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.models import weights
from geed.models.network import Network
from geed.training import checkpoints, objectives
from geed.training.augmentation import Pipeline
from geed.training.probe import linear_probe
from geed.training.views import Views

COLUMNS = ("epoch", "loss", "train_accuracy", "validation_accuracy")
_RISE = 0.25
_VALIDATIONS = 10  # epochs along training in which the validation accuracy is taken, where nothing is chosen by it
# Adam adds weight decay to the gradient, AdamW takes it off the weights.
_OPTIMISERS = {"adamw": compat.optimiser("AdamW"), "adam": compat.optimiser("Adam")}


@dataclass
class Fit:
    """The outcome of a training beside the network itself, which `fit` trains in place.

    Attributes:
        history: one row per epoch: epoch (from 1), loss (mean over the epoch), train_accuracy (running, on augmented images;
            NaN without labels, but for rows where a probe was fitted), validation_accuracy (NaN where it was not taken).
        snapshots: `weights.copy_state` after the declared epochs.
        images: training images seen in this process.
        seconds: wall time of the epochs in this process.
        resumed_from_epoch: epochs that a checkpoint had already done.
        kept_epoch: the epoch whose weights the network has in the end.
    """

    history: pd.DataFrame
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0
    resumed_from_epoch: int = 0
    kept_epoch: int = 0


def fit(
    model: Network,
    train: ImageSet,
    validation: ImageSet | None,
    run: Mapping[str, Any],
    names: tuple[object, ...],
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    seconds_between_checkpoints: float = checkpoints.SECONDS_BETWEEN,
    progress: Callable[[int], object] | None = None,
) -> Fit:
    """Train a network in place; it is left on the device, in eval mode.

    A self-supervised objective trains all but the head; a linear probe on the frozen features of the plain training images then
    fits the head, after the last epoch and wherever a snapshot is taken. Images that do not fill a batch are left out of an
    epoch; the order is new in each.

    Args:
        model: in training mode.
        train: training images.
        validation: images for the accuracy in the history, by which the weights are chosen where `keep` is "best_validation".
        run: `training` (epochs, batch_size, learning_rate, weight_decay, snapshots; and `optimiser`, `schedule`, `keep`, by
            default "adamw", "one_cycle", "last"), `objective`, `augmentation`, `name`.
        names: the random stream, e.g. (study, seed): runs that share it share batch order and augmentation draws.
        device: where to train.
        checkpoint: side checkpoint; taken up if it is there. Whoever has saved the outcome removes it.
        seconds_between_checkpoints: at the end of an epoch, a checkpoint is written when the last one is older than this.
        progress: called after every epoch with its number.

    Raises:
        GeedError: unknown augmentation or objective, nothing to choose weights by, or a loss that is no longer finite.
    """
    settings = run["training"]
    epochs, batch_size = settings["epochs"], min(settings["batch_size"], len(train))
    steps = len(train) // batch_size
    cycle, choose = settings.get("schedule", "one_cycle") == "one_cycle", settings.get("keep", "last") == "best_validation"
    if choose and validation is None:
        raise GeedError(
            f"run '{run['name']}': expected validation images, by which training.keep chooses the weights, found none"
        )
    model.to(device)
    images, labels = train.images.to(device), train.labels.to(device)
    objective = objectives.make(run["objective"], model, *names).to(device)
    views = Views(images, Pipeline(run["augmentation"]), objective.views, objective.partner)
    optimiser = _OPTIMISERS[settings.get("optimiser", "adamw")](
        _groups([model, objective], settings["weight_decay"]), settings["learning_rate"], fused=True
    )
    rows: list[dict[str, float]] = []
    best: dict[str, Any] = {"accuracy": -1.0, "epoch": 0, "model": {}}
    result = Fit(pd.DataFrame())
    if checkpoint is not None and (saved := checkpoints.load(checkpoint)):
        weights.restore(model, saved["model"], checkpoint)
        objective.load_state_dict(saved["objective"])
        optimiser.load_state_dict(saved["optimiser"])
        rows, result.snapshots, result.resumed_from_epoch = saved["history"], saved["snapshots"], saved["epoch"]
        best = saved["best"]
    started = last_checkpoint = time.perf_counter()
    for epoch in range(result.resumed_from_epoch + 1, epochs + 1):
        model.train()
        objective.train()
        total_loss, correct = torch.zeros((), device=device), torch.zeros((), device=device)
        order = torch.randperm(len(images), generator=seeds.generator(*names, "order", epoch)).to(device)
        streams = views.streams(*names, epoch)
        objective.begin(*names, epoch)
        for step in range(steps):
            rows_of_batch = order[step * batch_size : (step + 1) * batch_size]
            targets = labels[rows_of_batch]
            loss, logits = objective(model, views(rows_of_batch, streams), targets)
            optimiser.zero_grad()
            loss.backward()
            rate = settings["learning_rate"] * (one_cycle((epoch - 1) * steps + step, epochs * steps) if cycle else 1)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            total_loss += loss.detach()
            if logits is not None:
                correct += (logits.detach().argmax(1) == targets).sum()
        row = {"epoch": epoch, "loss": total_loss.item() / steps, "train_accuracy": math.nan, "validation_accuracy": math.nan}
        if not math.isfinite(row["loss"]):
            raise GeedError(
                f"run '{run['name']}': the loss is {row['loss']} in epoch {epoch} at learning rate {rate:.3g}; "
                f"lower training.learning_rate (now {settings['learning_rate']:g})"
            )
        if objective.supervised:
            row["train_accuracy"] = correct.item() / (steps * batch_size)
        kept = epoch == epochs or epoch in settings["snapshots"]
        if kept and not objective.supervised:
            row["train_accuracy"] = linear_probe(model, images, labels)
        if validation is not None and (
            choose or kept or (objective.supervised and epoch % math.ceil(epochs / _VALIDATIONS) == 0)
        ):
            row["validation_accuracy"] = accuracy(model, validation.images, validation.labels)
            if choose and row["validation_accuracy"] > best["accuracy"]:
                best = {"accuracy": row["validation_accuracy"], "epoch": epoch, "model": weights.copy_state(model)}
        if epoch in settings["snapshots"]:
            result.snapshots[epoch] = weights.copy_state(model)
        rows.append(row)
        result.images += steps * batch_size
        if checkpoint is not None and epoch < epochs and time.perf_counter() - last_checkpoint >= seconds_between_checkpoints:
            content = {"epoch": epoch, "model": weights.copy_state(model), "objective": objective.state_dict()}
            content |= {"optimiser": optimiser.state_dict(), "history": rows, "snapshots": result.snapshots, "best": best}
            checkpoints.save(checkpoint, content)
            last_checkpoint = time.perf_counter()
        if progress is not None:
            progress(epoch)
    result.seconds = time.perf_counter() - started
    result.history = pd.DataFrame(rows, columns=COLUMNS)
    result.kept_epoch = epochs
    if choose:
        weights.restore(model, best["model"], "the epoch of the best validation accuracy")
        result.kept_epoch = best["epoch"]
    model.eval()
    return result


def one_cycle(step: int, steps: int) -> float:
    """The learning rate of a step (from 0) as a fraction of its peak.

    >>> [round(one_cycle(step, 8), 2) for step in range(8)]
    [0.5, 1.0, 0.95, 0.81, 0.61, 0.39, 0.19, 0.05]
    """
    rise = max(1.0, _RISE * steps)
    if step + 1 <= rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (steps + 1 - rise)))


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 512) -> float:
    """The share of images whose largest logit is their label; the model is put in eval mode."""
    model.eval()
    device = next(model.parameters()).device
    correct = 0
    for batch, targets in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        correct += (model(batch.to(device)).argmax(1) == targets.to(device)).sum()
    return int(correct) / len(images)


def _groups(modules: list[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: weights decay, biases and normalisations do not."""
    decayed, free = [], []
    for module in [layer for root in modules for layer in root.modules()]:
        normalisation = isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, parameter in module.named_parameters(recurse=False):
            (free if normalisation or name == "bias" else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
