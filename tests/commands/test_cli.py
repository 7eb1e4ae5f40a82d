import subprocess
import sys
import types

import pytest

import geed
from geed import cli
from geed.errors import GeedError


@pytest.fixture
def command(monkeypatch):
    """A command `try` whose run does what the test says."""
    module = types.ModuleType("geed.commands.try")
    module.register = lambda subparsers: subparsers.add_parser("try", help="a command of the test").add_argument("--n", type=int)
    monkeypatch.setitem(sys.modules, "geed.commands.try", module)
    monkeypatch.setattr(cli, "COMMANDS", ("try",))
    return module


def raising(error):
    def run(args):
        raise error

    return run


def test_alone_it_prints_its_help(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"geed {geed.__version__}\n"


def test_the_exit_status_is_the_commands_own(command):
    command.run = lambda args: args.n
    assert [cli.main(["try"]), cli.main(["try", "--n", "1"])] == [0, 1]


def test_bad_input_is_one_sentence_and_status_2(command, capsys):
    command.run = raising(GeedError("a.csv: no such file"))
    assert cli.main(["try"]) == 2
    assert capsys.readouterr() == ("", "geed: a.csv: no such file\n")


def test_a_fault_of_ours_is_not_hidden(command):
    command.run = raising(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["try"])


def test_ctrl_c_is_no_traceback(command, capsys):
    command.run = raising(KeyboardInterrupt())
    assert cli.main(["try"]) == 130
    assert capsys.readouterr().err == "geed: stopped\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    program = "from geed import cli; cli.main(['measure', '--help'])"
    done = subprocess.run(f'"{sys.executable}" -c "{program}" | head -n 1', shell=True, capture_output=True, text=True)
    assert "usage: geed measure" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_and_its_registration_imports_nothing_heavy(name):
    program = f"""
import sys
from geed import cli
try:
    cli.main(["{name}", "--help"])
except SystemExit as done:
    assert done.code == 0
print(sorted({{"torch", "numpy", "pandas", "matplotlib", "timm"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"usage: geed {name}" in done.stdout and done.stdout.endswith("[]\n"), done.stderr
