"""The measuring step: one trained network, every evaluation that its run takes part in, one tidy table."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from geed import groups
from geed.data import store
from geed.files import write_table
from geed.metrics.engine import measure
from geed.models import weights as model_weights
from geed.progress import bar

KEYS = ["run", "seed", "epoch", "evaluation", "data", "corruption", "severity", "group", "layer", "depth", "metric", "distance"]
VALUES = ["value", "se", "n_images", "n_elements"]


def measure_run(
    run: str,
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
        run: name of the run.
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
    models = {"final": model_weights.load(weights)} | {epoch: model_weights.load(snapshots, epoch=epoch) for epoch in model_weights.epochs(snapshots)}
    final_epoch = models["final"].epoch
    plan = [
        (epoch, name, evaluation, group, images)
        for name, evaluation in evaluations.items()
        for epoch in models
        if epoch == "final" or evaluation["snapshots"]
        for images in _image_sets(evaluation, corruptions, data)
        for group in evaluation["groups"]
    ]
    frames, passes = [], 0
    with bar(len(plan), f"measure {run} seed {seed}", unit="evaluations") as progress:
        for epoch, name, evaluation, group_spec, (corruption, severity, images) in plan:
            model, group = models[epoch], groups.parse(group_spec)
            frame = measure(
                model,
                images.images,
                group=group,
                metrics=_metrics(evaluation, model, images),
                layers=[*model.conv_layers, model.feature_layer],
                labels=images.labels,
                device=device,
                per_image=True,
            )
            frame = frame[frame["n_images"] > 0]
            frames.append(
                frame.assign(
                    run=run,
                    seed=seed,
                    epoch=final_epoch if epoch == "final" else epoch,
                    final=epoch == "final",
                    evaluation=name,
                    data=evaluation["data"],
                    corruption=corruption,
                    severity=severity,
                    depth=frame["layer"].map(_depths(model)).fillna(1.0),
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
        "device": str(torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")),
        "rows": len(everything),
        "forward_images": passes,
        "images_per_second": passes / seconds,
    }
