"""The one exception that a user may meet, and the nearest valid name for a misspelt one."""

import difflib
from collections.abc import Iterable


class GeedError(Exception):
    """Bad input, said in one sentence: which file or key, what was expected, what was found.

    Every front door (command line, Snakefile, job scripts) prints the sentence and stops; a traceback means a fault of ours.
    """


def nearest(name: object, choices: Iterable[object]) -> str:
    """A hint to append to "unknown name" sentences: the closest of `choices`, and all of them when they are few.

    >>> nearest("rotatons", ["rotations", "reflections"])
    "; did you mean 'rotations'? (known: rotations, reflections)"
    """
    known = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    if known and len(known) <= 40:
        hint += f" (known: {', '.join(known)})" if hint else f"; known: {', '.join(known)}"
    return hint
