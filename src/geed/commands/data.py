"""`geed data list | fetch | verify`: data sets and pretrained weights, where they come from, what lies on this machine."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geed.data.mirror import SourceFile, SourceFolder

_DESCRIPTION = """Data sets and pretrained weights. Files are looked for in the mirror, then in the cache ($GEED_CACHE, else
~/.cache/geed), then at their canonical source; a file counts only with the right SHA-256."""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("data", help="list, fetch or verify data sets and weights", description=_DESCRIPTION)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="names, sources and terms of use").add_argument(
        "--sources", action="store_true", help="files, checksums and addresses too"
    )
    for action, text, count in (
        ("fetch", "bring the files of a data set or of weights onto this machine", "+"),
        ("verify", "check what lies on this machine; exit status 1 if a file is wrong", "*"),
    ):
        sub = actions.add_parser(action, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument(
            "names", nargs=count, metavar="NAME", help="a name of `geed data list`" + ("; default all" if count == "*" else "")
        )
        sub.add_argument("--mirror", metavar="FOLDER|URL", help="tried first (default: $GEED_DATA_MIRROR)")
        sub.add_argument("--cache", metavar="FOLDER", help="where downloads are kept")


def run(args: argparse.Namespace) -> int:
    """Do it; 1 when `verify` finds a wrong file, 2 (through GeedError) when `fetch` cannot have one."""
    return {"list": _list, "fetch": _fetch, "verify": _verify}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from geed.data.registry import DATASETS
    from geed.models.pretrained import PRETRAINED

    width = max(map(len, [*DATASETS, *PRETRAINED])) + 2
    for heading, entries in (("data sets", DATASETS), ("pretrained weights", PRETRAINED)):
        print(f"{heading}:")
        for name, entry in entries.items():
            print(f"  {name:{width}}{entry.title} [{entry.licence}]")
            if args.sources:
                print(f"  {'':{width}}source: {entry.source}")
                for file in _files(name):
                    print(f"  {'':{width}}{file.path}  sha256 {file.sha256}")
                    for url in getattr(file, "urls", ()):
                        print(f"  {'':{width}}  {url}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from geed.data.loading import locate
    from geed.data.mirror import obtain
    from geed.data.registry import DATASETS

    for name in args.names:
        paths = (
            locate(name, args.mirror, args.cache)
            if name in DATASETS
            else [obtain(f, args.mirror, args.cache) for f in _files(name)]
        )
        for path in paths:
            print(path)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from geed.data.mirror import state
    from geed.data.registry import DATASETS
    from geed.models.pretrained import PRETRAINED

    wrong = False
    for name in args.names or [*DATASETS, *PRETRAINED]:
        files = _files(name)
        if not files:
            print(f"{name}: a folder of yours, no checksums")
        for file in files:
            found = state(file, args.mirror, args.cache)
            wrong |= found.startswith("WRONG")
            print(f"{name}: {file.path.removeprefix('package:')}: {found}")
    return int(wrong)


def _files(name: str) -> "tuple[SourceFile | SourceFolder, ...]":
    from geed.data.registry import DATASETS
    from geed.errors import GeedError, nearest
    from geed.models.pretrained import PRETRAINED

    if name in DATASETS:
        return DATASETS[name].files
    if name in PRETRAINED:
        return (PRETRAINED[name].file,)
    raise GeedError(f"unknown data set or weights '{name}'{nearest(name, [*DATASETS, *PRETRAINED])}")
