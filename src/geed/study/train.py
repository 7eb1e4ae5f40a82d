"""The step that trains one run with one seed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from geed import files
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.models.build import build
from geed.models.network import parameter_count
from geed.models.weights import load, save, save_snapshots, scale, take_trunk
from geed.progress import bar
from geed.study import device as devices
from geed.training import checkpoints as side
from geed.training.loop import COLUMNS, Fit, accuracy, fit


def train_run(
    run: Mapping[str, Any],
    *,
    study: str,
    seed: int,
    data: Path,
    weights: Path,
    history: Path,
    snapshots: Path | None = None,
    source: Path | None = None,
    published: Path | None = None,
    search: Path | None = None,
    device: str = "auto",
    checkpoints: Path,
) -> dict[str, Any]:
    """Train one run with one seed and write its weights, its history and its snapshots.

    Runs of one study and seed share their random streams: networks of one architecture start from the same weights, and see
    the same images in the same order, so that they can be compared in pairs.

    Args:
        run: `name`, `architecture`, `initialisation` {scale, from}, `augmentation`, `objective`, `training`.
        study: its name; part of the random streams' names.
        seed: the training seed.
        data: prepared data with the splits "train" and "validation"; or only "test", for a published network without objective.
        weights: output, as `geed.models.weights.load` reads it.
        history: output, CSV, one row per epoch (`geed.training.loop.Fit.history`).
        snapshots: output, the weights after the epochs in `training.snapshots`; empty where there are none. None writes none.
        source: weights of the run that `initialisation.from` names: its trunk is taken over, the head starts anew.
        published: pretrained weights, as `geed.models.published.convert` writes them, that the network starts from.
        search: result of the search for the weight of the run's objective, with the network of the search's seed beside it,
            in the folder of the same name; this seed's network is taken from there.
        device: "auto", "cpu" or "cuda".
        checkpoints: folder of the side checkpoints.

    Returns:
        For the job record: parameters, epochs, batch_size (the run's, or half of it where a GPU's memory did not hold that:
        training then started over with it), images_per_second (None where nothing was trained), train_accuracy (plain
        images) and validation_accuracy (where there are such images), device, resumed_from_epoch, kept_epoch.

    Raises:
        GeedError: data or weights that are damaged or do not fit, no such device, a GPU that is too small for two images, or a
            training that diverges.
    """
    if search is not None:
        found = files.read_json(search)
        if found["seed"] == seed:
            for output in (weights, history, snapshots):
                files.copy(search.with_suffix("") / output.name, output)
            return {"weight": found["weight"], "trained_by": str(search)}
        run = with_weight(run, found["weight"])
    device = devices.choose(device)
    objective = run["objective"] if isinstance(run["objective"], str) else run["objective"]["kind"]
    splits = ["train", "validation"]
    if objective == "none" and published is not None:  # measured as it was published: its set may have test images only
        splits = [split for split in splits if split in store.splits(data)]
    images = {split: store.read(data, split) for split in splits}
    sample = images["train"] if "train" in images else store.read(data, "test")
    spec = {
        "architecture": run["architecture"],
        "channels": sample.images.shape[1],
        "size": sample.images.shape[-1],
        "classes": len(sample.classes),
        **_normalisation(run["architecture"], sample),
    }
    epochs = 0 if objective == "none" else run["training"]["epochs"]
    checkpoint = None
    while True:
        model = build(spec, study, seed)
        if run["initialisation"]["scale"] != 1:
            scale(model, run["initialisation"]["scale"])
        if source is not None:
            take_trunk(model, load(source))
        if published is not None:
            model.take(published)
        if not epochs:
            model.to(device).eval()
            result = Fit(pd.DataFrame([[0, math.nan, math.nan, math.nan]], columns=COLUMNS))
            break
        settings = {"run": run, "study": study, "seed": seed, "device": device, "data": files.sha256(data)}
        settings["source"] = None if source is None else files.sha256(source)
        checkpoint = side.path(checkpoints, settings)
        try:
            with bar(epochs, f"{run['name']}, seed {seed}", unit="epochs") as drawn:
                result = fit(
                    model,
                    images["train"],
                    images["validation"],
                    run,
                    (study, seed),
                    device=device,
                    checkpoint=checkpoint,
                    progress=lambda epoch, drawn=drawn: drawn.update(epoch - drawn.n),
                )
            break
        except torch.OutOfMemoryError as error:
            run = _with_half_batches(run, error)
        torch.cuda.empty_cache()
    accuracies = {f"{split}_accuracy": accuracy(model, of.images, of.labels) for split, of in images.items()}
    if not epochs:
        result.history = result.history.assign(**accuracies)
    save(model, weights)
    files.write_table(history, result.history)
    if snapshots is not None:
        save_snapshots(model, result.snapshots, snapshots)
    if checkpoint is not None:  # not before: a full disk must not cost the training
        checkpoint.unlink(missing_ok=True)
    return {
        "parameters": parameter_count(model),
        "epochs": epochs,
        "batch_size": run["training"]["batch_size"],
        "images_per_second": result.images / result.seconds if result.images else None,
        **accuracies,
        "device": device,
        "resumed_from_epoch": result.resumed_from_epoch,
        "kept_epoch": result.kept_epoch,
    }


def _with_half_batches(run: Mapping[str, Any], error: torch.OutOfMemoryError) -> dict[str, Any]:
    """The settings of a run with half its batch size."""
    found = run["training"]["batch_size"]
    if found < 4:
        words = f"run '{run['name']}': the GPU's memory does not hold its data, its network and batches of {found} images"
        raise GeedError(f"{words}; use device: cpu") from error
    print(f"geed: out of GPU memory with batches of {found} images: training starts over with {found // 2}", flush=True)
    return {**run, "training": {**run["training"], "batch_size": found // 2}}


def _normalisation(architecture: Mapping[str, Any], images: ImageSet) -> dict[str, list[float]]:
    """Mean and standard deviation of the images by channel, for networks that do not bring their own."""
    if architecture["kind"] == "pretrained":
        return {"mean": [0.0] * images.images.shape[1], "std": [1.0] * images.images.shape[1]}
    deviation, mean = torch.std_mean(images.images.double(), dim=(0, 2, 3))
    return {
        "mean": [round(value, 6) for value in mean.tolist()],
        "std": [round(value, 6) or 1.0 for value in deviation.tolist()],
    }


def with_weight(run: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """The settings of a run with this weight of its regulariser."""
    return {**run, "objective": {**run["objective"], "weight": weight}}
