"""The measuring step: one trained network, every evaluation that its run takes part in, one tidy table."""

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from geed import groups
from geed.data import store
from geed.data.blend import blend
from geed.data.imageset import ImageSet
from geed.files import write_table
from geed.metrics.dispersion import latent_dispersion, output_dispersion
from geed.metrics.engine import measure
from geed.models import weights as model_weights
from geed.models.network import Network
from geed.progress import bar
from geed.study import device as devices
from geed.study import lie
from geed.study.conditions import conditions

KEYS = ["run", "seed", "epoch", "evaluation", "data", "corruption", "severity", "group", "layer", "depth", "metric", "distance"]
VALUES = ["value", "se", "n_images", "n_elements"]
_BATCH = 256


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

    Raises:
        GeedError: data or weights that are damaged, sets that cannot be blended, no such device, or what `measure` raises.
    """
    started, device = time.perf_counter(), devices.choose(device)
    models = {"final": model_weights.load(weights)} | {
        epoch: model_weights.load(snapshots, epoch=epoch) for epoch in model_weights.epochs(snapshots)
    }
    final_epoch = 0 if run["objective"] == "none" else run["training"]["epochs"]
    chosen = {name: [epoch for epoch in models if epoch == "final" or e["snapshots"]] for name, e in evaluations.items()}
    total = sum(len(chosen[name]) * len(conditions(e, corruptions)) for name, e in evaluations.items())
    frames, passes = [], 0
    with bar(total, f"measure {run['name']} seed {seed}", unit="image sets") as progress:
        for name, evaluation in evaluations.items():
            for epoch in chosen[name]:
                for corruption, severity, images in _image_sets(evaluation, corruptions, data):
                    frame = _measured(models[epoch], images, evaluation, device)
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
                            depth=frame["layer"].map(models[epoch].profile).fillna(1.0),
                        )
                    )
                    passes += len(images) * sum(groups.parse(spec).order for spec in evaluation["groups"])
                    progress.update(1)
    everything = pd.concat(frames, ignore_index=True)
    write_table(table, everything[KEYS + VALUES])
    final = everything[everything["final"] & everything["values"].notna()]
    write_table(per_image, final[[*KEYS, "values"]])
    seconds = time.perf_counter() - started
    return {
        "device": device,
        "rows": len(everything),
        "forward_images": passes,
        "images_per_second": passes / seconds,
    }


def _measured(model: Network, images: ImageSet, evaluation: Mapping[str, Any], device: str) -> pd.DataFrame:
    """Every group of the evaluation on one set of images: what `measure` gives, the controls, and Lie derivatives."""
    dispersion = _dispersion(model, images.images, device)
    frames = []
    for spec in evaluation["groups"]:
        group = groups.parse(spec)
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
        frames += [frame[frame["value"].notna()], dispersion.assign(group=group.spec)]
    if evaluation.get("lie"):
        frames.append(lie.rows(model, images.images, evaluation["lie"], device))
    return pd.concat(frames, ignore_index=True)


def _image_sets(
    evaluation: Mapping[str, Any], corruptions: Mapping[str, Any], folder: Path
) -> Iterator[tuple[str, int, ImageSet]]:
    """The images of an evaluation as (corruption, severity, images), one set at a time, so that one is in memory."""
    path = folder / f"{evaluation['data']}.safetensors"
    measured_on = conditions(evaluation, corruptions)
    if evaluation["corrupted"]:
        corrupted = folder / f"{evaluation['data']}.corrupted.safetensors"
        image_sets: Iterable[ImageSet] = (store.read_corrupted(corrupted, *condition) for condition in measured_on)
    elif evaluation["blend"]:
        other = store.read(folder / f"{evaluation['blend']['with']}.safetensors", "test")
        images = _limited(store.read(path, "test"), evaluation["limit"])
        image_sets = blend(images, other, evaluation["blend"]["at"])
    else:
        image_sets = [store.read(path, "test")]
    for condition, images in zip(measured_on, image_sets, strict=True):
        yield *condition, _limited(images, evaluation["limit"])


def _limited(images: ImageSet, limit: int | None) -> ImageSet:
    if limit is None:
        return images
    return dataclasses.replace(images, images=images.images[:limit], labels=images.labels[:limit], ids=images.ids[:limit])


@torch.no_grad()
def _dispersion(model: Network, images: torch.Tensor, device: str) -> pd.DataFrame:
    """Dispersion of outputs and features between the un-augmented images, as rows of the table but for the group."""
    model, found = model.to(device).eval(), []
    handle = model.get_submodule(model.feature_layer).register_forward_hook(lambda _, __, output: found.append(output.cpu()))
    try:
        logits = torch.cat([model(batch.to(device)).cpu() for batch in images.split(_BATCH)])
    finally:
        handle.remove()
    features = torch.cat(found)
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
            "value": values.mean().item(),
            "se": se,
        }
        rows.append(row | {"n_images": len(values), "n_elements": 1, "values": values.float().numpy()})
    return pd.DataFrame(rows)
