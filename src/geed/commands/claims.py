"""`geed claims FOLDER`: the verdicts of a study, from its results folder."""

import argparse
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("claims", help="print the verdicts of a study")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/demo"), help="its results folder (results/demo)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 where claims are missing."""
    from geed.claims import table
    from geed.errors import GeedError
    from geed.files import read_table

    path = args.folder / "claims.json"
    if not path.exists():
        raise GeedError(f"{path}: no such file; `snakemake --cores 2` writes it")
    results = table.read(path)
    listed = path.with_suffix(".csv")
    expected = read_table(listed).get("claim", []) if listed.exists() else []
    frame = table.collect(results, expected)
    print(table.markdown(frame) if args.markdown else table.text(frame))
    missing = frame.loc[frame["verdict"] == "missing", "claim"]
    if len(missing):
        print(f"missing: {', '.join(missing)}; {args.folder / 'report.html'} says what stopped them", file=sys.stderr)
    return int(len(missing) > 0)
