"""Files are whole or absent, whoever writes them and however a writer ends."""

import subprocess
import sys

from geed import files

WRITER = """
import os, sys
from geed import files
with files.atomic("table.csv") as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    sys.stdin.read()
    temporary.write_text("whole of the other")
"""


def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], cwd=tmp_path, stdin=-1, stdout=-1, text=True) for _ in range(2)]
    left, kept = (tmp_path / writer.stdout.readline().strip() for writer in writers)
    assert left != kept
    writers[0].kill()
    writers[0].wait()
    assert left.exists() and not (tmp_path / "table.csv").exists()
    with files.atomic(tmp_path / "table.csv") as temporary:
        temporary.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([kept, tmp_path / "table.csv"])
    assert (tmp_path / "table.csv").read_text() == "whole"
    writers[1].communicate("", timeout=20)
    assert (tmp_path / "table.csv").read_text() == "whole of the other"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
