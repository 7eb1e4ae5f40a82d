"""A progress bar that is also readable in a log file.

On a terminal it is redrawn in place; in a log (stderr is a file or a pipe) it becomes at most one line every ten seconds.
"""

import sys
from typing import TextIO

from tqdm import tqdm

_SECONDS_BETWEEN_LOG_LINES = 10.0


class _Lines:
    """A stream for tqdm that turns every redraw into a line of its own, so that logs hold no carriage returns."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, ""

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and line != self._last:
            self._stream.write(line + "\n")
            self._last = line

    def flush(self) -> None:
        self._stream.flush()


def bar(total: int | None, description: str, unit: str = "images", stream: TextIO | None = None) -> tqdm:
    r"""A context manager with `update(n)`, drawn on stderr.

    Args:
        total: the number of units to come, or None where it is unknown.
        description: what is being done, in a word or two.
        unit: what is counted, in the plural.
        stream: where to draw instead of stderr.

    >>> import io
    >>> log = io.StringIO()
    >>> with bar(20, "measure", stream=log) as progress:
    ...     progress.update(20)
    >>> "20/20" in log.getvalue(), "\r" in log.getvalue()
    (True, False)
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    return tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        unit_scale=unit == "bytes",
        file=stream if terminal else _Lines(stream),
        mininterval=0.2 if terminal else _SECONDS_BETWEEN_LOG_LINES,
        maxinterval=_SECONDS_BETWEEN_LOG_LINES,
        # Without it a terminal of unknown width gets no bar at all; a log line needs none.
        bar_format=None
        if terminal
        else "{desc}: {n_fmt}/{total_fmt}{unit} {percentage:3.0f}% [{elapsed}<{remaining}, {rate_fmt}]",
    )
