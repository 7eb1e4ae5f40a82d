"""One failing job takes nothing along that does not need it, and what is missing is said, with the reason."""

import html

import pytest
import yaml
from checkouts import SMALL, small

from geed.files import read_table

DIVERGING = SMALL["runs"] | {"plain": SMALL["runs"]["plain"] | {"training": {"learning_rate": 1e30}}}


@pytest.mark.slow
def test_a_diverging_run_takes_only_its_own_claim_along(tmp_path):
    checkout = small(tmp_path / "geed")
    study = checkout.folder / "small.yaml"
    study.write_text(yaml.safe_dump(SMALL | {"runs": DIVERGING}, sort_keys=False))
    code, words = checkout.run()
    assert code == 1 and "Traceback" not in words, words
    sentence = "run 'plain': the loss is nan in epoch 1 at learning rate"
    assert f"geed: train plain 0: {sentence}" in words, words
    ending = words[words.index("geed: logs/small/train/plain/seed-0.log: ") :]
    assert sentence in ending.splitlines()[0]
    assert "geed: missing or out of date: K4; results/small/report.html shows what is there" in ending

    results = checkout.folder / "results/small"
    assert not (results / "claims/K4.json").exists()
    for name in ("claims/P31.json", "models/random/seed-0/weights.safetensors", "measurements/random/seed-0/table.parquet"):
        assert (results / name).exists(), f"{name} does not need the failing job"
    assert (checkout.folder / "figures/small/factors.png").exists()
    page = html.unescape((results / "report.html").read_text())
    assert sentence in page and "logs/small/train/plain/seed-0.log" in page
    table = read_table(results / "claims.csv").set_index("claim")["verdict"]
    assert table["K4"] == "missing" and table["P31"] == "reproduced"
    code, words = checkout.geed("claims", "results/small")
    assert code == 1 and "missing: K4; results/small/report.html says what stopped them" in words, words

    study.write_text(yaml.safe_dump(SMALL, sort_keys=False))
    code, words = checkout.run()
    assert code == 0, words
    assert "random" not in "".join(line for line in words.splitlines() if line.startswith(("train", "measure")))
    table = read_table(results / "claims.csv").set_index("claim")["verdict"]
    assert "missing" not in table.tolist()
    assert sentence not in html.unescape((results / "report.html").read_text())
    code, words = checkout.geed("claims", "results/small")
    assert code == 0 and "missing" not in words


@pytest.mark.slow
def test_a_damaged_file_of_an_earlier_run_is_refused_and_mended_by_deleting_it(built):
    weights = "results/small/models/tuned/seed-0/weights.safetensors"
    code, words = built.run("-n")
    assert code == 0 and "Nothing to be done" in words, words
    before, damaged = built.outputs(), bytearray((built.folder / weights).read_bytes())
    damaged[-3] ^= 4
    (built.folder / weights).write_bytes(damaged)
    code, words = built.run()
    assert code == 1 and "Traceback" not in words, words
    assert f"geed: measure tuned 0: {weights}: expected sha256 {before[weights]}, as its job recorded, found " in words, words
    assert "geed: missing or out of date: K4; " in words
    (built.folder / weights).unlink()
    code, words = built.run()
    assert code == 0, words
    assert built.outputs() == before
