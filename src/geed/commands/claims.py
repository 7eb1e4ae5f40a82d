"""`geed claims FOLDER`: the verdicts of a study, from its results folder."""

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("claims", help="print the verdicts of a study")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("results/demo"), help="its results folder (results/demo)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from geed.claims import table
    from geed.errors import GeedError
    from geed.files import read_json

    path = args.folder / "claims.json"
    if not path.exists():
        raise GeedError(f"{path}: no such file; `snakemake --cores 2` writes it")
    frame = table.collect(read_json(path))
    print(table.markdown(frame) if args.markdown else table.text(frame))
    return 0
