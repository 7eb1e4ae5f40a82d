"""`geed audit FOLDER`: every hash of a study against its records, up to the raw data, and a sample made again."""

import argparse
from pathlib import Path

_DESCRIPTION = """Check every output of a study against the record of its job, every input against its producer, up to the
published checksums of the raw data; decide its claims again from their tables, and make a sample of measurements again from
the stored weights and data. Exit status 1 if anything differs. docs/audit.md says what is checked and what is not."""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("audit", help="check that results are what their records say", description=_DESCRIPTION)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=Path("results/demo"), help="results/<study> or docs/reference/<study>"
    )
    parser.add_argument("--claim", metavar="ID", help="only what this claim rests on, and its figures")
    parser.add_argument("--sample", type=int, default=3, metavar="N", help="measurements to make again (3)")
    parser.add_argument("--deep", action="store_true", help="train one network again, and compare bytes")
    parser.add_argument("--seed", type=int, default=0, metavar="K", help="draws other measurements and another network (0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the findings as JSON too")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where there is a fault."""
    from geed.errors import GeedError
    from geed.files import write_json
    from geed.provenance import checks
    from geed.provenance.audit import audit, plain

    if args.sample < 0:
        raise GeedError(f"--sample: expected a number of measurements, found {args.sample}")
    headline, found, notes = audit(args.folder, claim=args.claim, sample=args.sample, deep=args.deep, seed=args.seed)
    print(f"{args.folder}: {headline}\n\n{checks.table(found)}")
    for block in filter(None, [checks.faults(found), "\n".join(f"note: {note}" for note in notes)]):
        print(f"\n{block}")
    print(f"\n{args.folder}: {checks.verdict(found)}")
    if args.out:
        write_json(args.out, plain(headline, found, notes))
    return int(any(check.faults for check in found))
