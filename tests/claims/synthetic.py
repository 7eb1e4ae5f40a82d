"""Folders of measurements whose truth is known, in the format of the measuring step."""

from pathlib import Path

import pandas as pd

from geed.claims.decision import evaluate
from geed.claims.evidence import Evidence
from geed.claims.trial import Outcome
from geed.files import write_table
from geed.seeds import rng
from geed.study.config import load_schema, validate

C4 = "rotations:4"
_CLAIMS = load_schema(Path(__file__).parents[2] / "workflow/schemas")["properties"]["claims"]
_SCHEMA = {
    "type": "object",
    "properties": {"claims": _CLAIMS},
    "$defs": load_schema(Path(__file__).parents[2] / "workflow/schemas")["$defs"],
}


def settings(claim: str, **given) -> dict:
    """Settings of a claim, checked against the schema and filled with its defaults; few resamples, for speed."""
    given = {"resamples": 2000, **given} if claim[0] in "KLM" else given
    return validate({"claims": {claim: given}}, _SCHEMA)["claims"][claim]


class World:
    """Measurements of imaginary networks: every number is a mean, plus its seed's shift, plus an image's, plus noise."""

    def __init__(self, folder: Path, seeds=(0, 1, 2), images: int = 60) -> None:
        self.folder, self.seeds, self.images = folder, seeds, images
        self.rows: list[dict] = []

    def add(self, run, metric, mean, *, sd=0.02, shifts=(0, 0, 0), epoch=10, final=True, **where) -> None:
        """`shifts`: of each seed, in sd; `where` may give layer, depth, group, evaluation, data, corruption and severity."""
        name, _, distance = metric.partition("/")
        place = {
            "evaluation": "clean",
            "data": "digits",
            "corruption": "none",
            "severity": 0,
            "group": C4,
            "layer": "",
            "depth": 1.0,
        }
        place |= where | {"metric": name, "distance": distance}
        common = rng(place["data"], "images").normal(size=self.images)
        for seed, shift in zip(self.seeds, shifts, strict=False):
            own = rng(run, epoch, seed, *place.values())
            shift += 0.3 * rng("seed", seed).normal() + 0.1 * own.normal()
            values = mean + sd * (shift + common + own.normal(size=self.images))
            numbers = {"value": values.mean(), "se": values.std() / self.images**0.5, "n_images": self.images, "n_elements": 4}
            keys = {"run": run, "seed": seed, "epoch": epoch, **place}
            self.rows.append(keys | numbers | {"final": final, "values": values.astype("float32")})

    def write(self) -> Path:
        frame = pd.DataFrame(self.rows, columns=None if self.rows else ["run", "seed"])
        for (run, seed), rows in frame.groupby(["run", "seed"]):
            folder = self.folder / run / f"seed-{seed}"
            write_table(folder / "table.parquet", rows.drop(columns=["values", "final"]))
            final = rows[rows["final"]]
            write_table(folder / "per_image.parquet", final.drop(columns=["value", "se", "n_images", "n_elements", "final"]))
        return self.folder

    def decide(self, claim: str, **given) -> Outcome:
        """Write the measurements and decide a claim from them."""
        return evaluate(claim, settings(claim, **given), Evidence(self.write(), self.seeds), "simulated")
