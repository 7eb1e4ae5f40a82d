"""The measuring step: one trained network, every evaluation that its run takes part in, one tidy table."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from geed import groups
from geed.data import store
from geed.data.imageset import ImageSet
from geed.files import write_table
from geed.groups import Group
from geed.metrics.dispersion import latent_dispersion, output_dispersion
from geed.metrics.engine import measure
from geed.models import weights as model_weights
from geed.models.build import Network
from geed.progress import bar

KEYS = ["run", "seed", "epoch", "evaluation", "data", "corruption", "severity", "group", "layer", "depth", "metric", "distance"]
_BATCH = 256
VALUES = ["value", "se", "n_images", "n_elements"]


def measure_run(
    run: Mapping[str, Any],
    seed: int,
    evaluations: Mapping[str, Mapping[str, Any]],
    corruptions: Mapping[str, Any],
    *,
    weights: Path,
    snapshots: Path,
    data: Path,
    table: Path,
    per_image: Path,
    device: str,
) -> dict[str, Any]:
    """Measure a trained network and write its two tables (docs/architecture.md, "Tables").

    Args:
        run: settings of the run.
        seed: its training seed.
        evaluations: evaluations of the run, with `data` filled in.
        corruptions: `names` and `severities` of the study.
        weights: the trained network.
        snapshots: its weights along training, measured by the evaluations that ask for them.
        data: folder of the prepared sets.
        table: where the tidy table goes.
        per_image: where the per-image values of the final weights go.
        device: "auto", "cpu" or "cuda".

    Returns:
        Numbers for the job's record.
    """
    started = time.perf_counter()
    models = {"final": model_weights.load(weights)} | {
        epoch: model_weights.load(snapshots, epoch=epoch) for epoch in model_weights.epochs(snapshots)
    }
    final_epoch = 0 if run["objective"] == "none" else run["training"]["epochs"]
    plan = [
        (epoch, name, evaluation, group, images)
        for name, evaluation in evaluations.items()
        for epoch in models
        if epoch == "final" or evaluation["snapshots"]
        for images in _image_sets(evaluation, corruptions, data)
        for group in evaluation["groups"]
    ]
    frames, passes = [], 0
    place = _device(device)
    with bar(len(plan), f"measure {run['name']} seed {seed}", unit="evaluations") as progress:
        for epoch, name, evaluation, group_spec, (corruption, severity, images) in plan:
            model, group = models[epoch], groups.parse(group_spec)
            frame = measure(
                model,
                images.images,
                group=group,
                metrics=evaluation["metrics"],
                layers=list(model.profile),
                labels=images.labels,
                device=device,
                per_image=True,
            )
            frame = pd.concat([frame[frame["value"].notna()], _dispersion(model, images.images, group, place)], ignore_index=True)
            frames.append(
                frame.assign(
                    run=run["name"],
                    seed=seed,
                    epoch=final_epoch if epoch == "final" else epoch,
                    final=epoch == "final",
                    evaluation=name,
                    data=evaluation["data"],
                    corruption=corruption,
                    severity=severity,
                    depth=frame["layer"].map(model.profile).fillna(1.0),
                )
            )
            passes += len(images.images) * group.order
            progress.update(1)
    everything = pd.concat(frames, ignore_index=True)
    write_table(table, everything[KEYS + VALUES])
    final = everything[everything["final"] & everything["values"].notna()]
    write_table(per_image, final[[*KEYS, "values"]])
    seconds = time.perf_counter() - started
    return {
        "device": str(place),
        "rows": len(everything),
        "forward_images": passes,
        "images_per_second": passes / seconds,
    }


def _image_sets(
    evaluation: Mapping[str, Any], corruptions: Mapping[str, Any], folder: Path
) -> Iterator[tuple[str, int, ImageSet]]:
    """The images of an evaluation as (corruption, severity, images), clean ones as ("none", 0, images)."""
    if evaluation["corrupted"]:
        path = folder / f"{evaluation['data']}.corrupted.safetensors"
        for corruption in corruptions["names"]:
            for severity in corruptions["severities"]:
                yield corruption, severity, _limited(store.read_corrupted(path, corruption, severity), evaluation["limit"])
    else:
        yield "none", 0, _limited(store.read(folder / f"{evaluation['data']}.safetensors", "test"), evaluation["limit"])


def _limited(images: ImageSet, limit: int | None) -> ImageSet:
    if limit is None:
        return images
    return dataclasses.replace(images, images=images.images[:limit], labels=images.labels[:limit], ids=images.ids[:limit])


@torch.no_grad()
def _dispersion(model: Network, images: torch.Tensor, group: Group, device: torch.device) -> pd.DataFrame:
    """Dispersion of outputs and features between the un-augmented images, as rows of the measurement table."""
    model = model.to(device).eval()
    features = torch.cat([model.features(batch.to(device)) for batch in images.split(_BATCH)])
    logits, features = model.head(features).cpu(), features.cpu()
    rows = []
    for metric, distance, layer, values in (
        ("output_dispersion", "kl", "", output_dispersion(logits)),
        ("latent_dispersion", "one_minus_cosine", model.feature_layer, latent_dispersion(features)),
    ):
        se = values.std(correction=1).item() / len(values) ** 0.5 if len(values) > 1 else float("nan")
        row = {
            "metric": metric,
            "distance": distance,
            "layer": layer,
            "group": group.spec,
            "value": values.mean().item(),
            "se": se,
        }
        rows.append(row | {"n_images": len(values), "n_elements": 1, "values": values.float().numpy()})
    return pd.DataFrame(rows)


def _device(device: str) -> torch.device:
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
