"""Write the pages that are made from the code: docs/config.md from the schema. `make docs` calls it; a test holds it in step."""

from pathlib import Path

from geed.study import config

ROOT = Path(__file__).resolve().parents[1]


def config_page() -> str:
    """Every key of a study's config, as a Markdown table, from workflow/schemas/."""
    lines = [
        "# Config",
        "",
        "Made from `workflow/schemas/` by `make docs`. The decision rules of the claims stand under `claims`.",
        "",
        "A study is a file laid over `config.yaml`: a section that it names replaces the section of `config.yaml`, except `data` and",
        "`training`, whose keys are replaced one by one. `--config key=value` on the command line is laid over both.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for path, kind, default, words in config.describe(config.load_schema(ROOT / "workflow/schemas")):
        words = words or "its settings"
        lines.append(f"| `{path}` | {kind} | {default and f'`{default}`'} | {words} |".replace("``", ""))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/config.md").write_text(config_page(), encoding="utf-8")
