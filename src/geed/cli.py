"""The command line: `geed measure`, `geed claims`, `geed audit`, …; one module of `geed.commands` each."""

import argparse
import importlib
import os
import sys

from geed import __version__
from geed.errors import GeedError

# Each module has register(subparsers), which must import nothing heavy, and run(args).
COMMANDS = ("measure", "claims", "audit", "why", "diff", "data", "plan")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 2 for bad input (one sentence on stderr), 130 for Ctrl-C.

    Args:
        argv: the arguments without the program's name; None = those of the process.
    """
    parser = argparse.ArgumentParser(prog="geed", description="How invariant is a neural network, in which layers, to what?")
    parser.add_argument("--version", action="version", version=f"geed {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands = {name: importlib.import_module(f"geed.commands.{name}") for name in COMMANDS}
    for command in commands.values():
        command.register(subparsers)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        return commands[args.command].run(args) or 0
    except GeedError as error:
        print(f"geed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("geed: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
