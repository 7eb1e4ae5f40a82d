"""`geed why FILE`: the chain from a verdict, figure, table or network to its raw data, and what rebuilds it."""

import argparse
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "why",
        help="where a verdict, figure or table comes from",
        description="Print the jobs from a file of results/ or figures/ back to its raw data, with hashes, time and commit, and "
        "the commands that rebuild it. Exit status 1 if the chain is broken. Hashes are the recorded ones.",
    )
    parser.add_argument("file", type=Path, help="for example results/demo/claims/K1.json or figures/demo/layers.png")


def run(args: argparse.Namespace) -> int:
    """Print the tree; 1 where the chain is broken."""
    from geed.provenance.why import why

    text, whole = why(args.file)
    print(text)
    return int(not whole)
