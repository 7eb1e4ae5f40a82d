"""Write the pages that are made, and bless a study's results as the reference that the README quotes.

    python docs/make.py                 docs/config.md from the schema; docs/results and the README's table from docs/reference/
    python docs/make.py --bless demo    first copy verdicts, parts and figures of results/demo to docs/reference/demo/

`make docs` and `make bless` call it; tests hold the pages in step.
"""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from geed.claims import table
from geed.claims.decision import CLAIMS
from geed.errors import GeedError
from geed.files import read_json, sha256, write_json, write_table
from geed.report import results as result_pages
from geed.study import config, plan

if TYPE_CHECKING:
    import pandas

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference"


def config_page() -> str:
    """Every key of a study's config, as a Markdown table, from workflow/schemas/."""
    lines = [
        "# Config",
        "",
        "Made from `workflow/schemas/` by `make docs`. The decision rules of the claims stand under `claims`.",
        "",
        "A study is a file laid over `config.yaml`: a section that it names replaces that of `config.yaml`, except `data` and",
        "`training`, whose keys are replaced one by one. `--config key=value` on the command line is laid over both.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for path, kind, default, words in config.describe(config.load_schema(ROOT / "workflow/schemas")):
        words = words or "its settings"
        lines.append(f"| `{path}` | {kind} | {default and f'`{default}`'} | {words} |")
    return "\n".join(lines) + "\n"


def with_verdicts(readme: str) -> str:
    """The README with the verdict on every claim between its markers: of blessed studies, that of the most computation."""
    start, end = "<!-- verdicts: made by `make docs` -->\n", "<!-- end of verdicts -->"
    found: dict[str, dict] = {}
    for folder in sorted(REFERENCE.glob("*/"), key=lambda folder: read_json(folder / "record.json")["compute_seconds"]):
        found |= {result["id"]: result for result in read_json(folder / "claims.json")}
    before, rest = readme.split(start)
    frame = table.collect([found[claim] for claim in CLAIMS if claim in found])
    return f"{before}{start}\n{table.markdown(frame)}\n{end}{rest.split(end, 1)[1]}"


def study_plan(study: str) -> plan.Plan:
    """The plan of a study of this checkout; the demo study is the default config."""
    overlay = [ROOT / f"workflow/studies/{study}.yaml"] if study != "demo" else []
    return plan.load([ROOT / "config.yaml", *overlay], ROOT / "workflow/schemas")


def results() -> dict[str, str]:
    """The pages of results, by their path in docs/: one of all claims, and one of each that a blessed study decides."""
    references = [result_pages.Reference(folder, study_plan(folder.name)) for folder in sorted(REFERENCE.glob("*/"))]
    words = config.read_yaml(ROOT / "docs/results.yaml")
    deciding = {claim: [reference for reference in references if claim in reference.results] for claim in CLAIMS}
    deciding = {claim: found for claim, found in deciding.items() if found}
    pages = {f"results/{claim}.md": result_pages.page(claim, found, words[claim]) for claim, found in deciding.items()}
    return {"results.md": result_pages.index(references, deciding)} | pages


def whole_networks(study: str) -> "pandas.DataFrame":
    """What was measured of whole trained networks on clean images; `own`: on the data set that the run was trained on."""
    import pandas

    files = sorted((ROOT / "results" / study / "measurements").glob("*/seed-*/table.parquet"))
    rows = pandas.concat(
        [pandas.read_parquet(path, filters=[("layer", "==", ""), ("corruption", "==", "none")]) for path in files]
    )
    rows = rows[rows["epoch"] == rows.groupby("run")["epoch"].transform("max")]
    runs = study_plan(study).runs
    return rows.assign(own=[runs[run]["data"] == data for run, data in zip(rows["run"], rows["data"], strict=True)])


def accuracies(rows: "pandas.DataFrame") -> "pandas.DataFrame":
    """Accuracy of every network, one row a run and evaluation; `lowest`: that of the worst seed."""
    rows = rows[rows["metric"] == "accuracy"].drop_duplicates(["run", "seed", "evaluation"])  # the same under every group
    found = rows.groupby(["run", "evaluation", "data"])
    summary = found["value"].agg(mean="mean", std="std", lowest="min", n_seeds="count")
    return summary.join(found[["n_images", "own"]].max()).reset_index()


def bless(study: str) -> None:
    """Copy what the README quotes of a finished study to docs/reference/<study>/, with the hashes and the commit it came from.

    Raises:
        GeedError: the study is not finished.
    """
    results, figures, target = ROOT / "results" / study, ROOT / "figures" / study, REFERENCE / study
    if not (results / "claims.json").exists():
        raise GeedError(f"results/{study}/claims.json: no such file; run the study first")
    shutil.rmtree(target, ignore_errors=True)
    files = [results / f"claims.{suffix}" for suffix in ("csv", "md", "json")]
    files += [path for path in [results / "readings.md"] if path.exists()]
    files += [path for path in sorted((results / "claims").iterdir()) if not path.name.endswith(".record.json")]
    files += sorted(figures.glob("*.png"))
    training = [read_json(path) for path in sorted((results / "models").rglob("*.record.json"))]
    # of the run, not of the checkout that blesses it
    dirty = any(record["code"]["dirty"] for record in training)
    record = {"study": study, "commit": training[0]["code"]["commit"], "dirty": dirty, "files": {}}
    for path in files:
        name = path.relative_to(results) if path.is_relative_to(results) else Path("figures") / path.name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
        record["files"][name.as_posix()] = sha256(path)
    measured = whole_networks(study)
    write_table(target / "accuracies.csv", accuracies(measured))
    (target / "networks.md").write_text(result_pages.networks(study, measured), encoding="utf-8")
    record["files"] |= {name: sha256(target / name) for name in ("accuracies.csv", "networks.md")}
    record["packages"], record["machine"] = training[0]["packages"], training[0]["machine"]
    record["compute_seconds"] = round(sum(read_json(path)["cost"]["wall_seconds"] for path in results.rglob("*.record.json")), 1)
    write_json(target / "record.json", record)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write the pages that are made from the code and the reference.")
    parser.add_argument("--bless", metavar="STUDY", help="first take this study's results as the reference")
    arguments = parser.parse_args()
    if arguments.bless:
        bless(arguments.bless)
    (ROOT / "docs/config.md").write_text(config_page(), encoding="utf-8")
    (ROOT / "docs/results").mkdir(exist_ok=True)
    for name, page in results().items():
        (ROOT / "docs" / name).write_text(page, encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_verdicts(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
