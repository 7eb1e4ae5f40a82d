"""`geed diff A B`: which verdicts, numbers and figures changed between two results of a study, and by how much."""

import argparse

_DESCRIPTION = """Compare two results folders, blessed references, or folders as a commit has them
(COMMIT:docs/reference/demo): verdicts, thresholds, estimates and parts in units of the combined standard error, figures, and what
made them. Exit status 1 if anything but the makers differs."""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("diff", help="what changed between two results", description=_DESCRIPTION)
    parser.add_argument("before", metavar="A", help="results/<study>, docs/reference/<study> or COMMIT:docs/reference/<study>")
    parser.add_argument("after", metavar="B", help="the same")


def run(args: argparse.Namespace) -> int:
    """Print what changed; 1 where something did."""
    from geed.provenance.diff import diff

    text, changed = diff(args.before, args.after)
    print(text)
    return int(changed)
