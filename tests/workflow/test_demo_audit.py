"""Audits of what `make figures` left: silent as it is, and precise about each way to spoil it. Run with `-m demo` after it."""

import shutil
from pathlib import Path

import pytest

from geed import cli
from geed.files import read_json, sha256, write_json
from geed.provenance.audit import audit
from geed.provenance.why import why

pytestmark = pytest.mark.demo

ROOT = Path(__file__).parents[2]
RUN = "results/demo/measurements/finetuned_random/seed-1"
VERDICT = "results/demo/claims/K4.json"


def test_the_demo_is_what_its_records_say(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status = cli.main(["audit", "results/demo"])
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert shown.rstrip().endswith("everything that was checked agrees")


@pytest.mark.parametrize("path", ["results/demo/claims/*.json", "figures/demo/*.png", "results/demo/*.html"])
def test_every_verdict_and_figure_leads_to_raw_data(path):
    found = [file for file in ROOT.glob(path) if not file.name.endswith(".record.json")]
    assert found
    for file in found:
        text, whole = why(file)
        assert whole, text
        # The propositions rest on constructions, not on data.
        assert "raw data" in text or file.stem in ("P31", "P32", "perturbations", "factors"), text


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results and figures alone, without a checkout around them."""
    root = tmp_path_factory.mktemp("copied")
    for folder in ("results/demo", "figures/demo"):
        shutil.copytree(ROOT / folder, root / folder)
    return root


@pytest.fixture
def copied(whole):
    """The same, mended after the test: what is changed through `touch`."""
    before = {}

    class Copy:
        root = whole

        def touch(self, *paths):
            for path in paths:
                before.setdefault(path, (whole / path).read_bytes())
            return [whole / path for path in paths]

        def faults(self):
            _, checks, _ = audit(whole / "results/demo", claim="K4", sample=0)
            return {(fault.file, fault.kind) for check in checks for fault in check.faults}

    yield Copy()
    for path, content in before.items():
        (whole / path).write_bytes(content)


def test_a_copy_agrees(copied):
    assert copied.faults() == set()


def test_one_changed_byte(copied):
    (path,) = copied.touch(f"{RUN}/table.parquet")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    assert copied.faults() == {(f"{RUN}/table.parquet", "mismatch")}


def test_swapped_weights(copied):
    names = [f"results/demo/models/{run}/seed-0/weights.safetensors" for run in ("finetuned_random", "finetuned_pretrained")]
    one, other = copied.touch(*names)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert copied.faults() == {(name, "mismatch") for name in names}


def test_an_edited_verdict_and_a_stale_figure(copied):
    verdict, record = copied.touch(VERDICT, VERDICT.replace(".json", ".record.json"))
    write_json(verdict, read_json(verdict) | {"verdict": "contradicted"})
    assert copied.faults() == {(VERDICT, "mismatch")}
    content = read_json(record)
    content["outputs"][VERDICT] = sha256(verdict)
    write_json(record, content, sort_keys=False)
    assert copied.faults() == {(VERDICT, "mismatch"), ("figures/demo/distances.pdf", "mismatch")}


def test_a_record_from_another_commit(copied):
    (record,) = copied.touch(f"{RUN}/measure.record.json")
    content = read_json(record)
    content["code"]["commit"] = "0" * 40
    content["inputs"]["src/geed/study/measure.py"] = "0" * 64
    write_json(record, content, sort_keys=False)
    assert copied.faults() == {(f"{RUN}/measure.record.json", "mismatch")}
