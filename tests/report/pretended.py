"""A small finished study made by hand: real files, and records with their real hashes."""

import struct
import zlib
from pathlib import Path

from geed.files import canonical_json, sha256, write_json

HOSTILE = "<script>alert('x')</script> & \"quotes\""


def png(width=4, height=3):
    """A grey picture."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def result(claim, **more):
    return {
        "id": claim,
        "paper": "Nobody 2020 (arXiv 0000.00000)",
        "statement": f"What is claimed: {HOSTILE}",
        "reported": {"value": None, "where": "page 2"},
        "test": "s ends below 0.5.",
        "verdict": "reproduced",
        "estimate": 0.25,
        "ci_low": 0.125,
        "ci_high": 0.375,
        "estimate_name": "s, a share",
        "confidence": 0.95,
        "intervals": "percentile",
        "n_seeds": 2,
        "n_images": 485,
        "thresholds": {"max_share": 0.5},
        "part_verdicts": {"rotation": "reproduced"},
        "notes": ["A note."],
        "sensitivity": {
            "threshold": {"max_share = 0.4": "reproduced", "max_share = 0.3": "inconclusive"},
            "without_seed": {"0": "reproduced", "1": "reproduced"},
        },
        "floor": {"channel_eed/cosine": -1.0},
        "null": {"channel_eed/cosine": -0.5},
        "accuracies": {"plain": 0.875},
        "parts": {"path": f"results/small/claims/{claim}.csv", "sha256": ""},
        "evidence": [],
        "scale": "small",
    } | more


class World:
    """A folder in which jobs are pretended: `job` writes files and the record of having made them."""

    started = 0

    def job(self, rule, record, outputs, inputs=(), measured=None, wall=1.5, **wildcards):
        for path, content in outputs.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
        self.started += 1
        write_json(
            record,
            {
                "rule": rule,
                "wildcards": wildcards,
                "params": {},
                "inputs": {path: sha256(path) for path in inputs},
                "outputs": {path: sha256(path) for path in outputs},
                "measured": measured or {},
                "code": {"commit": "c0ffee", "dirty": False, "lock_sha256": "10c4"},
                "packages": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
                "machine": {"python": "3.11.7", "system": "Linux", "device": "cpu", "threads": 1},
                "cost": {
                    "started": f"2026-01-02T03:04:{self.started:02}Z",
                    "startup_seconds": 0.5,
                    "wall_seconds": wall,
                    "peak_memory_mb": 100.0 + self.started,
                    "peak_gpu_memory_mb": None,
                },
            },
        )

    def claim(self, claim, **more):
        tables = [f"results/small/measurements/plain/seed-{seed}/table.parquet" for seed in (0, 1)]
        base = f"results/small/claims/{claim}"
        parts = "part,arm,estimate,n_seeds\nshare,plain,0.25123456,2.0\nshare,<b>bold</b>,-1e-16,\n"
        outputs = {f"{base}.json": canonical_json(result(claim, **more)), f"{base}.csv": parts}
        self.job("claim", f"{base}.record.json", outputs, tables, claim=claim)

    def build(self):
        data = "results/small/data/digits.safetensors"
        self.job("prepare", "results/small/data/digits.record.json", {data: "images"}, set="digits")
        for seed in (0, 1):
            model, measured = (f"results/small/{kind}/plain/seed-{seed}" for kind in ("models", "measurements"))
            reached = {"validation_accuracy": 0.75 + seed / 8, "parameters": 13461}
            weights = {f"{model}/weights.safetensors": f"weights {seed}"}
            self.job("train", f"{model}/train.record.json", weights, [data], reached, wall=10.0, run="plain", seed=str(seed))
            tables = {f"{measured}/table.parquet": f"table {seed}"}
            record = f"{measured}/measure.record.json"
            self.job("measure", record, tables, [f"{model}/weights.safetensors", data], wall=5.0, run="plain", seed=str(seed))
        search = {"results/small/search/plain.csv": "weight,value\n0.1,0.5\n1.0,0.96875\n"}
        self.job("search", "results/small/search/plain.record.json", search, [data], run="plain")
        self.claim("K1")
        self.claim("K2", verdict="contradicted", sensitivity={}, n_constructions=400, ci_low=None, ci_high=None)
        for name, inputs in (("layers", ["results/small/claims/K1.json"]), ("overview", [data])):
            pictures = {f"figures/small/{name}.png": png(), f"figures/small/{name}.pdf": b"%PDF"}
            said = {"title": f"What {name} shows {HOSTILE}", "caption": "How it was drawn."}
            self.job("figure", f"figures/small/{name}.record.json", pictures, inputs, said, figure=name)
        claims = [f"results/small/claims/{claim}.json" for claim in ("K1", "K2")]
        tables = {f"results/small/claims.{suffix}": suffix for suffix in ("csv", "md", "json")}
        self.job("claims_table", "results/small/claims.record.json", tables, claims)
