"""The page says what results and records say, whole or not, and its links lead somewhere."""

import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from pretended import HOSTILE

from geed.errors import GeedError
from geed.provenance.job import ENDED
from geed.report import page, partial

ROOT = Path(__file__).parents[2]
LOOK = ROOT / "workflow/report"
PAGE = Path("results/small/report.html")


class Reader(HTMLParser):
    """What a page holds: tags with attributes, and the text outside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._silent = [], "", None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._silent = tag

    def handle_endtag(self, tag):
        if tag == self._silent:
            self._silent = None

    def handle_data(self, data):
        if not self._silent:
            self.text += data

    def all(self, tag, attribute):
        return [found[attribute] for name, found in self.tags if name == tag and attribute in found]


def written(study):
    page.write(study, LOOK, PAGE)
    return Reader(PAGE.read_text(encoding="utf-8"))


def words(reader):
    return re.sub(r"\s+", " ", reader.text)


def test_the_page_says_what_the_results_say(world, study):
    text = words(written(study))
    for part in (
        "2 claims: 1 reproduced, 1 contradicted.",
        "0.25 [0.125, 0.375]",
        "2 seeds, 485 images; 95 % interval (percentile)",
        "max_share: 0.5",
        "The same verdict under 3 of 4 choices",
        "Differs at threshold max_share = 0.3: inconclusive.",
        "channel_eed/cosine−0.5",
        "no number (page 2)",
        "400 constructions, ",
        "0.2512",
        "−1e−16",
        "claim_K1",
    ):
        assert part in text, part


def test_numbers_of_a_paper_are_a_table_and_a_result_may_leave_things_out(world, study):
    printed = {"table_1": {"rotations:4": {"tied": {"SI": "1.00"}, "augmented": {"SI": "0.17±0.04", "LI": "98.6±5.4"}}}}
    world.claim("K1", reported={"value": printed, "where": "Table 1"}, notes=None, floor=None, sensitivity=None, confidence=None)
    text = words(written(study))
    assert "What the paper reports: Table 1 table_1rotations:4 LISI augmented98.6±5.40.17±0.04 tied–1.00" in text
    assert "Nothing to vary" in text and "2 seeds, 485 images Floor" in text


def test_cost_is_that_of_all_jobs_in_a_claims_ancestry(world, study):
    text = words(written(study))
    # prepare 2, train 2 x 10.5, measure 2 x 5.5, claim 2, figure 2 s: the other claim's jobs do not count.
    assert "Cost: 38 s of one core in 7 jobs (prepare 2.0 s, train 21 s, measure 11 s, claim 2.0 s, figure 2.0 s)." in text
    assert "in 11 jobs that took 46 s of one core" in text


def test_tables_of_no_claim_are_there_too(world, study):
    text = words(written(study))
    assert "Further tables search/plain: 2 rows" in text and "weightvalue 0.10.5 10.9688" in text
    Path("results/small/search/plain.csv").unlink()
    assert "results/small/search/plain.csv is not there." in words(written(study))


def test_nothing_that_is_data_becomes_markup(world, study):
    reader = written(study)
    assert len(reader.all("script", "src")) == 0
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert words(reader).count(HOSTILE) >= 4
    assert f"What layers shows {HOSTILE}" in reader.all("img", "alt")


def test_the_page_needs_nothing_else(world, study):
    reader = written(study)
    assert all(source.startswith("data:image/png;base64,") for source in reader.all("img", "src"))
    assert not re.search(r"https?:", re.sub(r'xmlns="[^"]*"|arXiv \S+', "", PAGE.read_text()))
    assert {tag for tag, found in reader.tags if tag == "link"} == {"link"}
    assert reader.all("link", "href") == ["data:,"]


def test_every_link_leads_to_a_file_or_a_place_on_the_page(world, study):
    reader = written(study)
    places = {found["id"] for _, found in reader.tags if "id" in found}
    links = set(reader.all("a", "href"))
    assert {"claims/K1.json", "claims/K1.csv", "claims/K1.record.json", "../../figures/small/layers.pdf"} <= links
    for link in links - {"ro-crate-metadata.json"}:
        if link.startswith("#"):
            assert link[1:] in places, link
        else:
            assert (PAGE.parent / unquote(link)).is_file(), link


def test_equal_files_give_equal_bytes(world, study):
    page.write(study, LOOK, PAGE)
    before = PAGE.read_bytes()
    PAGE.with_suffix(".record.json").write_text('{"outputs": {"results/small/report.html": ""}, "inputs": {}}')
    page.write(study, LOOK, PAGE)
    assert PAGE.read_bytes() == before


def test_a_missing_claim_is_said_with_what_stopped_it(world, study):
    for suffix in ("json", "csv", "record.json"):
        Path(f"results/small/claims/K1.{suffix}").unlink()
    log = Path("logs/small/claims/K1.log")
    log.parent.mkdir(parents=True)
    log.write_text("deciding\ngeed: K1: expected measurements of plain, found none\n")
    log.with_name("K2.log").write_text(f"deciding\n{ENDED}: 1.0 s\n")
    log.with_name("K3.log").write_text("deciding\n")
    text = words(written(study))
    assert "2 claims: 1 contradicted, 1 missing." in text
    assert "results/small/claims/K1.json is not there" in text
    assert "logs/small/claims/K1.log: geed: K1: expected measurements of plain, found none" in text
    assert "logs/small/claims/K3.log: ended without a word: killed, or out of memory" in text
    assert "K2.log" not in text
    said = partial.write(study, LOOK, ROOT / "CITATION.cff")
    assert said[0] == "logs/small/claims/K1.log: K1: expected measurements of plain, found none"
    assert said[-1] == f"missing or out of date: K1; {PAGE} shows what is there"


def test_a_verdict_whose_ground_is_gone_is_out_of_date(world, study):
    Path("results/small/models/plain/seed-1/weights.safetensors").unlink()
    text = words(written(study))
    gone = "Out of date: results/small/models/plain/seed-1/weights.safetensors, on which it rests, is not there."
    assert text.count(gone) == 3  # both claims, and the figure of one


def test_a_verdict_whose_ground_was_made_anew_is_out_of_date(world, study):
    table = "results/small/measurements/plain/seed-0/table.parquet"
    world.job("measure", "results/small/measurements/plain/seed-0/measure.record.json", {table: "new"}, run="plain", seed="0")
    assert f"Out of date: {table} was made anew after 'claim K1' had read it." in words(written(study))


def test_a_damaged_record_is_said_and_the_page_is_there_all_the_same(world, study):
    Path("results/small/claims/K1.record.json").write_text("{")
    text = words(written(study))
    assert "Out of date: no record says how results/small/claims/K1.json was made." in text
    assert "results/small/claims/K1.record.json: expected JSON" in text


def test_a_study_with_nothing_done_has_a_page_too(tmp_path, monkeypatch, study):
    monkeypatch.chdir(tmp_path)
    text = words(written(study))
    assert "2 claims: 2 missing." in text and "The figure overview is missing" in text


def test_after_a_failure_the_next_run_makes_tables_and_page_anew(world, study):
    record = PAGE.with_suffix(".record.json")
    record.write_text("{}")
    Path("results/small/claims/K2.json").unlink()
    said = partial.write(study, LOOK, ROOT / "CITATION.cff")
    assert said[-1] == f"missing or out of date: K2; {PAGE} shows what is there"
    assert "K2,missing" in Path("results/small/claims.csv").read_text()
    assert PAGE.is_file() and Path("results/small/ro-crate-metadata.json").is_file() and not record.exists()


def test_damage_is_said_in_a_sentence(world, study, tmp_path):
    Path("results/small/claims/K1.json").write_text("{")
    with pytest.raises(GeedError, match=r"^results/small/claims/K1\.json: expected JSON"):
        page.write(study, LOOK, PAGE)
    world.claim("K1")
    Path("figures/small/layers.png").write_text("no picture")
    with pytest.raises(GeedError, match=r"^figures/small/layers\.png: expected a PNG picture"):
        page.write(study, LOOK, PAGE)
    shutil.copy("figures/small/overview.png", "figures/small/layers.png")
    with pytest.raises(GeedError, match=r"expected the page's page\.html"):
        page.write(study, tmp_path / "nowhere", PAGE)


def test_long_tables_stay_in_their_file(world, study, monkeypatch):
    monkeypatch.setattr("geed.report.content.ROWS", 1)
    text = unescape(words(written(study)))
    assert "Parts: the 2 rows" in text and "0.2512" in text and "−1e−16" not in text
