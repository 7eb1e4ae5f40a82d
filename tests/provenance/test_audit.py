"""An audit of a finished study: silent when nothing was touched, and precise about what was."""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from tiny import ROOT, STUDY, git, play

from geed import cli
from geed.errors import GeedError
from geed.files import read_json, sha256, write_json
from geed.provenance import chain, origin
from geed.provenance.audit import audit
from geed.provenance.checks import MISMATCH, MISSING, SETTINGS, SOURCES
from geed.provenance.records import load
from geed.provenance.replay import replay
from geed.provenance.why import why

TABLE = "results/tiny/measurements/plain/seed-0/table.parquet"
VERDICT = "results/tiny/claims/K4.json"


def faults(project, **options):
    """Every fault of an audit, the sample left out unless it is asked for."""
    _, checks, _ = audit(project / "results/tiny", **({"sample": 0} | options))
    return [fault for check in checks for fault in check.faults]


def one(project, **options):
    found = faults(project, **options)
    assert len(found) == 1, "\n".join(fault.text() for fault in found)
    return found[0]


def forge(project, path, record):
    """Make a record agree with a file that was changed."""
    content = read_json(project / record)
    content["outputs"][path] = sha256(project / path)
    write_json(project / record, content, sort_keys=False)


def test_what_was_not_touched_agrees(built):
    headline, checks, notes = audit(built / "results/tiny", sample=9)
    assert [fault.text() for check in checks for fault in check.faults] == []
    counts = {check.name: check.checked for check in checks}
    assert all(counts.values()), counts
    assert counts["measurements: a sample made again"] == 6 and counts["verdicts: decided again from their tables"] == 2
    remarks = [check.remark for check in checks]
    assert "all to the byte" in remarks
    assert any(remark.endswith(" numbers, all equal") for remark in remarks)
    assert headline.startswith("study tiny: 18 records, made ") and notes == []


def test_one_changed_byte_in_a_table(project, capsys):
    before = sha256(project / TABLE)
    content = bytearray((project / TABLE).read_bytes())
    content[len(content) // 2] ^= 1
    (project / TABLE).write_bytes(content)
    fault = one(project)
    assert (fault.file, fault.kind, fault.recorded, fault.found) == (TABLE, MISMATCH, before, sha256(project / TABLE))
    assert fault.job == "measure plain 0, results/tiny/measurements/plain/seed-0/measure.record.json"
    assert cli.main(["audit", str(project / "results/tiny"), "--sample", "0"]) == 1
    shown = capsys.readouterr().out
    assert all(words in shown for words in (TABLE, before, fault.found, "measure plain 0", "1 mismatch"))
    assert "not made again, because their inputs are not as recorded: claim K4" in shown


def test_weights_swapped_between_two_runs(project):
    paths = [f"results/tiny/models/{run}/seed-0/weights.safetensors" for run in ("plain", "untrained")]
    one_, other = (project / path for path in paths)
    shutil.move(one_, project / "aside")
    shutil.move(other, one_)
    shutil.move(project / "aside", other)
    found = faults(project, sample=9)
    assert [fault.file for fault in found] == paths
    assert found[0].recorded == found[1].found and found[0].found == found[1].recorded
    # With records that agree, it is the jobs which read the weights that tell.
    for path in paths:
        forge(project, path, str(Path(path).with_name("train.record.json")))
    found = faults(project)
    assert len(found) == 3  # measured twice, fine-tuned once
    assert all("made from another" in fault.words and fault.kind == MISMATCH for fault in found)


def test_an_edited_verdict(project):
    text = (project / VERDICT).read_text()
    verdict = json.loads(text)["verdict"]
    (project / VERDICT).write_text(text.replace(f'"verdict": "{verdict}"\n}}', '"verdict": "contradicted"\n}'))
    hashes, decided = faults(project)
    assert hashes.file == decided.file == VERDICT
    assert hashes.job == "claim K4, results/tiny/claims/K4.record.json"
    assert decided.words.startswith("verdict is not what") and decided.recorded == f"{verdict} from the tables"
    # The rule, applied to the tables, tells also where all hashes agree.
    forge(project, VERDICT, "results/tiny/claims/K4.record.json")
    found = faults(project)
    assert [fault for fault in found if fault.words.startswith("verdict is not what")] == [decided]


def test_a_stale_figure(project):
    parts = "results/tiny/claims/K4.csv"
    was = sha256(project / parts)
    (project / parts).write_text((project / parts).read_text().replace("deviation", "deviations"))
    forge(project, parts, "results/tiny/claims/K4.record.json")
    stale = [fault for fault in faults(project) if fault.file.startswith("figures/")]
    assert [fault.file for fault in stale] == ["figures/tiny/distances.pdf"]
    assert stale[0].words == f"made from another {parts} than that of the job claim K4"
    assert (stale[0].recorded, stale[0].found) == (was, sha256(project / parts))


class TestRecordsFromAnotherCommit:
    RECORD = "results/tiny/measurements/plain/seed-0/measure.record.json"
    MODULE = "src/geed/study/measure.py"

    def change(self, project, **changes):
        content = read_json(project / self.RECORD)
        content["code"] |= changes
        write_json(project / self.RECORD, content, sort_keys=False)

    def test_other_sources_than_the_rest(self, project):
        content = read_json(project / self.RECORD)
        right, content["inputs"][self.MODULE] = content["inputs"][self.MODULE], "0" * 64
        write_json(project / self.RECORD, content, sort_keys=False)
        here, commit = faults(project)
        assert here.file == commit.file == self.RECORD and here.kind == SOURCES and commit.kind == MISMATCH
        assert here.words == f"measure plain 0 ran other sources than this checkout has: {self.MODULE}"
        assert (here.recorded, here.found) == (f"{'0' * 64} {self.MODULE}", f"{right} {self.MODULE}")

    def test_a_commit_with_other_sources(self, project):
        (project / self.MODULE).write_text("# later\n" + (project / self.MODULE).read_text())
        git(project, "commit", "--quiet", "--all", "-m", "later")
        commit = (project / ".git/refs/heads").rglob("*")
        self.change(project, commit=next(path.read_text().strip() for path in commit if path.is_file()))
        found = faults(project)
        commits = [fault for fault in found if fault.kind == MISMATCH]
        assert [fault.file for fault in commits] == [self.RECORD]
        assert f"than the commit that its record names has: {self.MODULE}" in commits[0].words
        # The checkout has moved on too, for all six measurements.
        moved = sorted(fault.words.split(" ran ")[0] for fault in found if fault.kind == SOURCES)
        assert moved == ["measure finetuned 0 and 4 more jobs", "measure plain 0"]

    def test_a_commit_that_nobody_knows(self, project):
        self.change(project, commit="0" * 40)
        fault = one(project)
        assert fault.file == self.RECORD and fault.recorded == "0" * 40

    def test_uncommitted_changes_are_noted(self, project):
        for path in project.rglob("*.record.json"):
            content = read_json(path)
            content["code"]["dirty"] = True
            if self.MODULE in content["inputs"]:
                content["inputs"][self.MODULE] = sha256(project / "config.yaml")
            write_json(path, content, sort_keys=False)
        shutil.copy(project / "config.yaml", project / self.MODULE)
        headline, checks, notes = audit(project / "results/tiny", sample=0)
        assert not any(check.faults for check in checks)
        assert headline.endswith("with uncommitted changes")
        assert f"made with uncommitted changes, which no commit holds: {self.MODULE}" in notes


def test_an_edited_template_is_another_source(project):
    (project / "workflow/report/page.html").write_text("edited")
    fault = one(project)
    assert fault.kind == SOURCES and fault.file == "results/tiny/claims.record.json"
    assert fault.words == "claims_table ran other sources than this checkout has: workflow/report/page.html"


class TestSettings:
    def test_a_threshold_that_was_moved_after_the_run(self, project):
        """Verdict, record and hashes agree, but the config has another threshold."""
        record = project / "results/tiny/claims/K4.record.json"
        content = read_json(record)
        margin = content["params"]["settings"]["margin"]
        content["params"]["settings"]["margin"] = 100.0
        write_json(record, content, sort_keys=False)
        fault = next(fault for fault in faults(project) if fault.kind == SETTINGS)
        assert fault.file == "results/tiny/claims/K4.record.json"
        assert fault.words == f"claim K4 had other settings than {STUDY} has: settings.margin"
        assert (fault.recorded, fault.found) == ("100 settings.margin", f"{margin:g} in {STUDY}")

    def test_an_edited_config(self, project):
        path = project / STUDY
        path.write_text(path.read_text().replace("batch_size: 16", "batch_size: 20"))
        fault = one(project)
        # Six trainings and six measurements, which know their run.
        assert fault.kind == SETTINGS and "and 11 more jobs" in fault.words and "run.training.batch_size" in fault.words
        path.write_text(path.read_text().replace("batch_size: 20", "batch_size: many"))
        _, checks, notes = audit(project / "results/tiny", sample=0)
        assert not any(check.faults for check in checks)
        assert any(note.startswith("settings were not compared: ") and "batch_size" in note for note in notes)

    def test_seeds_may_come_from_the_command_line(self, project):
        path = project / STUDY
        path.write_text(path.read_text().replace("seeds:\n- 0\n- 1\n", "seeds: [0, 1, 2]\n"))
        _, checks, notes = audit(project / "results/tiny", sample=0)
        assert not any(check.faults for check in checks)
        assert f"decided from the seeds [0, 1], where {STUDY} has [0, 1, 2]" in notes


class TestNumbersThatTheWeightsDoNotGive:
    """A forger who mends every hash is caught by measuring again."""

    @pytest.fixture
    def forged(self, project):
        def multiply(factor, cpu=None):
            frame = pd.read_parquet(project / TABLE)
            frame.loc[frame["metric"] == "channel_eed", "value"] *= factor
            frame.to_parquet(project / TABLE, index=False)
            forge(project, TABLE, TestRecordsFromAnotherCommit.RECORD)
            record = read_json(project / "results/tiny/claims/K4.record.json")
            record["inputs"][TABLE] = sha256(project / TABLE)
            write_json(project / "results/tiny/claims/K4.record.json", record, sort_keys=False)
            record = read_json(project / TestRecordsFromAnotherCommit.RECORD)
            record["machine"]["cpu"] = cpu or record["machine"]["cpu"]
            write_json(project / TestRecordsFromAnotherCommit.RECORD, record, sort_keys=False)
            assert faults(project) == []  # its hashes agree
            return [fault for seed in range(2) for fault in faults(project, sample=9, seed=seed)]

        return multiply

    def test_on_the_same_machine_the_last_digit_counts(self, forged):
        found = forged(1 + 1e-9)
        assert found and {fault.file for fault in found} == {TABLE}
        assert found[0].words.startswith("value of run plain, seed 0, epoch 1, evaluation clean, ")
        assert found[0].words.split(", the worst of")[0].endswith("metric channel_eed, distance cosine")
        right, wrong = (text.split()[0] for text in (found[0].recorded, found[0].found))
        assert right != wrong and float(wrong) == pytest.approx(float(right), rel=1e-8)

    def test_on_another_one_it_does_not(self, forged):
        assert forged(1 + 1e-5, cpu="another") == []

    def test_but_what_is_beyond_the_tolerance_does(self, forged):
        assert forged(1 + 1e-3, cpu="another")


def test_deep_trains_one_network_again_and_touches_nothing(project):
    before = {path: sha256(path) for path in project.rglob("*") if path.is_file() and ".git" not in path.parts}
    _, checks, _ = audit(project / "results/tiny", sample=0, deep=True)
    check = next(check for check in checks if check.name.startswith("networks"))
    assert check.checked >= 4 and not check.faults
    assert {path: sha256(path) for path in before} == before
    # Weights of another seed, every hash mended.
    models = project / "results/tiny/models/finetuned"
    shutil.copy(models / "seed-1/weights.safetensors", models / "seed-0/weights.safetensors")
    path = "results/tiny/models/finetuned/seed-0/weights.safetensors"
    forge(project, path, "results/tiny/models/finetuned/seed-0/train.record.json")
    record = "results/tiny/measurements/finetuned/seed-0/measure.record.json"
    content = read_json(project / record)
    content["inputs"][path] = sha256(project / path)
    write_json(project / record, content, sort_keys=False)
    found = [fault for seed in range(4) for fault in faults(project, deep=True, seed=seed)]
    assert {(fault.file, fault.words) for fault in found} == {(path, "made again, it has other bytes")}


def test_a_claim_alone(built, project):
    _, checks, _ = audit(built / "results/tiny", claim="P31", sample=0)
    assert checks[0].checked == 1
    _, checks, _ = audit(built / "results/tiny", claim="K4", sample=0)
    assert checks[0].checked == 16  # two sets, six networks, as many tables, the verdict and its figure
    (project / "results/tiny/claims/P31.csv").write_text("edited")
    assert faults(project, claim="K4") == []
    with pytest.raises(GeedError, match=r"no record of claim K5; did you mean"):
        audit(built / "results/tiny", claim="K5")


def test_a_copy_of_the_results_folder_alone(project, tmp_path):
    shutil.copytree(project / "results/tiny", tmp_path / "elsewhere/copied")
    _, checks, _ = audit(tmp_path / "elsewhere/copied", sample=1)
    assert [fault.text() for check in checks for fault in check.faults] == []
    assert next(check for check in checks if check.name.startswith("measurements")).checked == 1


@pytest.mark.parametrize("missing", ["weights.safetensors", "train.record.json"])
def test_what_vanished(project, missing):
    path = f"results/tiny/models/untrained/seed-1/{missing}"
    (project / path).unlink()
    found = faults(project, sample=9)
    assert {fault.kind for fault in found} == {MISSING}
    if missing == "weights.safetensors":
        assert [(fault.file, fault.found) for fault in found] == [(path, "no such file")]
    else:
        assert {fault.file for fault in found} == {"results/tiny/measurements/untrained/seed-1/per_image.parquet"}
        assert "for which there is no record" in found[0].words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected JSON, found something else"),
        ("[]", "expected a job record, found JSON of another kind"),
        ('{"rule": "measure"}', "expected a job record, found one without a proper 'wildcards'"),
    ],
)
def test_a_damaged_record(project, text, words):
    record = project / TestRecordsFromAnotherCommit.RECORD
    record.write_text(text)
    found = faults(project)
    assert found[0].file == TestRecordsFromAnotherCommit.RECORD and found[0].words.startswith(words)
    assert {fault.kind for fault in found[1:] if fault.file != VERDICT} == {MISSING}  # what rests on its tables


def test_whatever_a_record_holds_is_no_traceback(project, tmp_path):
    """Every key of two levels, with values of the wrong kind."""
    record = project / "results/tiny/models/finetuned/seed-0/train.record.json"
    text = record.read_text()
    content = json.loads(text)
    places = [(key,) for key in content]
    places += [(key, inner) for key, value in content.items() if isinstance(value, dict) for inner in list(value)[:6]]
    refused = 0
    for place in places:
        for value in (None, "x", [[1]], {"x": []}):
            changed = json.loads(text)
            target = changed
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = value
            record.write_text(json.dumps(changed))
            study = load(project / "results/tiny")
            if study.damaged:
                refused += 1
                continue
            for check in (chain.inputs, chain.raw, chain.listed, origin.against_each_other):
                check(study, study.records)
            if place[0] in ("wildcards", "params"):
                origin.against_config(study, study.records)
            assert all(isinstance(note, str) for note in origin.surroundings(study, study.records))
            with contextlib.suppress(GeedError):
                why(project / "results/tiny/models/finetuned/seed-0/weights.safetensors")
            if place[0] in ("names", "params"):
                with contextlib.suppress(GeedError):
                    replay(
                        study.producer["results/tiny/models/finetuned/seed-0/history.csv"],
                        study,
                        Path(tempfile.mkdtemp(dir=tmp_path)),
                    )
    assert refused > 60


@pytest.mark.parametrize("where", ["inputs", "outputs"])
@pytest.mark.parametrize("path", ["/etc/passwd", "results/../../outside"])
def test_a_record_cannot_point_outside(project, where, path):
    record = project / TestRecordsFromAnotherCommit.RECORD
    content = read_json(record)
    content[where][path] = "0" * 64
    write_json(record, content)
    assert faults(project)[0].words == f"expected paths inside the project, found {path}"


@pytest.mark.parametrize("name", ["models/plain/seed-0/weights.safetensors", "measurements/plain/seed-0/per_image.parquet"])
def test_damaged_files_are_faults_not_tracebacks(project, name):
    path = project / "results/tiny" / name
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], bytes([*content[:60], content[60] ^ 128, *content[61:]])):
        path.write_bytes(damaged)
        fault = one(project, sample=9 * (len(damaged) == len(content)), deep=len(damaged) == len(content))
        assert fault.file == f"results/tiny/{name}" and fault.found == sha256(path)


def test_files_of_nobody_are_noted(project):
    (project / "results/tiny/claims/K9.json").write_text("{}")
    (project / "figures/tiny/mine.png").write_bytes(b"")
    (project / "results/tiny/report").mkdir()
    (project / "results/tiny/report/report.html").write_text("")
    _, checks, notes = audit(project / "results/tiny", sample=0)
    assert not any(check.faults for check in checks)
    assert "no record claims, and nothing rests on: results/tiny/claims/K9.json, figures/tiny/mine.png" in notes


def test_a_record_that_claims_the_file_of_another(project):
    record = project / "results/tiny/measurements/plain/seed-0/measure.record.json"
    shutil.copy(record, record.with_name("other.record.json"))
    found = faults(project)
    assert {fault.words.split(":")[0] for fault in found} == {"two records claim it"}


def test_data_that_was_not_published_so(project):
    record = project / "results/tiny/data/digits.record.json"
    content = read_json(record)
    content["measured"]["sha256"] = {"package:sklearn/datasets/data/digits.csv.gz": "0" * 64}
    write_json(record, content, sort_keys=False)
    fault = one(project)
    assert fault.found == "0" * 64 and fault.recorded.startswith("09f66e6d")
    assert fault.words == "results/tiny/data/digits.safetensors was read from a file that was not published so"


def test_fetched_files_end_the_chain(project):
    """A file that a job fetched: its published checksum stands for its producer."""
    path = "results/sources/mnist/train-images-idx3-ubyte.gz"
    from geed.study.fetch import FILES

    digest = FILES["mnist/train-images-idx3-ubyte.gz"].sha256
    record = project / "results/tiny/data/digits.record.json"
    content = read_json(record)
    content["inputs"][path] = digest
    write_json(record, content, sort_keys=False)
    assert faults(project) == []
    content["inputs"][path] = "0" * 64
    write_json(record, content, sort_keys=False)
    fault = one(project)
    assert fault.kind == MISSING and "which is not here, nor its record" in fault.words


def test_leftovers_of_another_plan_are_noted(project):
    """A network that no verdict rests on any more may be of older sources."""
    files = {"weights": "weights.safetensors", "history": "history.csv", "snapshots": "snapshots.safetensors"}
    play(
        project,
        "train",
        wildcards={"run": "old", "seed": "0"},
        inputs={"data": "results/tiny/data/digits.safetensors"},
        outputs={name: f"results/tiny/models/old/seed-0/{file}" for name, file in files.items()},
        record="results/tiny/models/old/seed-0/train.record.json",
        params=read_json(project / "results/tiny/models/plain/seed-0/train.record.json")["params"],
    )
    record = project / "results/tiny/models/old/seed-0/train.record.json"
    content = read_json(record)
    content["inputs"]["src/geed/training/loop.py"] = "0" * 64
    content["code"]["dirty"] = True
    write_json(record, content, sort_keys=False)
    _, checks, notes = audit(project / "results/tiny", sample=0)
    assert not any(check.faults for check in checks)
    assert "nothing that was decided or drawn rests on the outputs of 1 jobs: train old 0" in notes


def test_machines_read_the_findings(project, tmp_path, capsys):
    (project / VERDICT).write_text("{}")
    out = tmp_path / "audit.json"
    assert cli.main(["audit", str(project / "results/tiny"), "--sample", "0", "--out", str(out)]) == 1
    found = read_json(out)
    assert found["agrees"] is False and found["tolerance_on_another_machine"] == {"relative": 1e-4, "absolute": 1e-6}
    files = {fault["file"] for check in found["checks"] for fault in check["faults"]}
    assert files == {VERDICT}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "geed: nowhere: expected a study's results folder, found no such folder"),
        (["docs"], "expected a study's results folder, found no job record"),
        (["docs/reference/demo", "--deep"], "a reference holds no records of jobs"),
        (["docs", "--sample", "-1"], "geed: --sample: expected a number of measurements, found -1"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert cli.main(["audit", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


class TestReference:
    @pytest.fixture
    def reference(self, tmp_path):
        shutil.copytree(ROOT / "docs/reference/demo", tmp_path / "demo")
        return tmp_path / "demo"

    def test_ours_is_as_it_was_blessed(self, capsys):
        assert cli.main(["audit", str(ROOT / "docs/reference/demo")]) == 0
        assert "a reference holds no tables, weights or data" in capsys.readouterr().out

    def test_an_edited_verdict(self, reference):
        path = reference / "claims/K1.json"
        path.write_text(path.read_text().replace("reproduced", "contradicted"))
        _, checks, _ = audit(reference)
        assert {fault.file for check in checks for fault in check.faults} == {"claims/K1.json", "claims.json"}

    def test_what_is_too_many_or_too_few(self, reference):
        (reference / "figures/layers.png").rename(reference / "figures/other.png")
        _, checks, _ = audit(reference)
        found = {(fault.file, fault.kind) for check in checks for fault in check.faults}
        assert found == {("figures/layers.png", MISSING), ("figures/other.png", MISMATCH)}
