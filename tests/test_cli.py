"""The command line: quick, one line for a person's mistake, no traceback."""

import ast
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmfm
from mmfm import cli, commands
from mmfm.errors import BadInput, NotHere
from mmfm.tasks import doctor
from mmfm.tasks.doctor import Checkpoint, Finding

HEAVY = "{'torch', 'gradio', 'numpy', 'rich', 'transformers', 'huggingface_hub'}"


def run_python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# --- quick ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["demo", "-h"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]):
    code = f"import sys; from mmfm.cli import main; main(sys.argv[1:]); print({HEAVY} & "
    assert run_python(code + "sys.modules.keys())", *arguments).endswith("\nset()\n")


def test_help_answers_at_once():
    """In 0.2 seconds where nothing else is going on, which no test can count on."""

    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "mmfm.cli", "--help"], check=True, capture_output=True
        )
        return time.perf_counter() - start

    seconds()  # warm
    assert min(seconds() for _ in range(5)) < 1.5


def test_the_pages_are_imported_only_inside_the_demo_command():
    importing: list[str] = []
    everywhere = 0
    for file in [Path(cli.__file__), *Path(commands.__file__).parent.glob("*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        everywhere += sum(_of_the_pages(node) for node in ast.walk(tree))
        importing += [
            function.name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and any(map(_of_the_pages, ast.walk(function)))
        ]
    assert importing == ["demo"]
    assert everywhere == 1


def _of_the_pages(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmfm.demos")


# --- help and version -----------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mmfm {mmfm.__version__}\n"


def test_help_names_every_command_and_no_command_is_help_too(capsys: pytest.CaptureFixture[str]):
    outputs: list[str] = []
    for arguments in (["--help"], ["-h"], []):
        assert cli.main(arguments) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert outputs[0].strip() == outputs[2].strip()
    for command in ("demo", "train", "models", "doctor"):
        assert f"  {command}  " in outputs[0]


def test_every_command_and_option_has_one_short_sentence_of_help(
    capsys: pytest.CaptureFixture[str],
):
    commands = (["demo"], ["models"], ["models", "get"], ["models", "card"], ["doctor"], ["train"])
    for command in commands:
        assert cli.main([*command, "--help"]) == 0
        text = capsys.readouterr().out
        assert text.splitlines()[2].strip().endswith(".")
        assert all(len(line) <= 100 for line in text.splitlines())


# --- how a command ends ---------------------------------------------------------------------------


def test_a_file_that_is_taken_for_an_option_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("-rf.jpg").touch()
    assert cli.main(["classify", "-rf.jpg"]) == 2
    assert "for the file of that name write ./-rf.jpg; see" in capsys.readouterr().err
    assert cli.main(["classify", "-other.jpg"]) == 2
    assert "write ./" not in capsys.readouterr().err
    assert cli.main(["classify", "-" + 300 * "x"]) == 2  # longer than a name can be
    assert capsys.readouterr().err.endswith("--help\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see mmfm --help"),
        (["demo", "--prot", "1"], "No such option: --prot (Possible options: --host, --port)"),
        (["demo", "--port", "abc"], "'--port'"),
        (["demo", "--port", "99999"], "'--port'"),
        (["demo", "--lang", "fr"], "'fr' is not one of 'en', 'ko'"),
        (["demo", "patches", "another"], "another"),
        (["train"], "Missing command; see mmfm train --help"),
        (["models", "get"], "get"),
    ],
)
def test_a_wrong_command_is_one_line_with_the_way_to_help_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mmfm: ") and err.count("\n") == 1
    assert said in err and err.endswith("--help\n")


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (NotHere("no model\n'x' here"), 1, "mmfm: no model 'x' here\n"),
        (BadInput("a patch of 0"), 2, "mmfm: a patch of 0\n"),
        (PermissionError(13, "Permission denied", "/a"), 1, "mmfm: /a: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_kind_of_error_has_its_status_and_its_line(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.delenv("MMFM_DEBUG", raising=False)
    monkeypatch.setattr(doctor, "checkpoints", raising(error))
    assert cli.main(["models"]) == status
    assert capsys.readouterr() == ("", line)


def test_a_bug_asks_to_be_reported_and_shows_its_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "checkpoints", raising(KeyError("oops")))
    monkeypatch.delenv("MMFM_DEBUG", raising=False)
    assert cli.main(["models"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("mmfm: this is a bug, please report it") and err.count("\n") == 1
    assert "KeyError in test_cli.py, line" in err and "oops" in err
    monkeypatch.setenv("MMFM_DEBUG", "1")
    assert cli.main(["models"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_an_interrupt_from_the_keyboard_ends_quietly_with_130():
    code = (
        "import sys, time; from mmfm.tasks import doctor; from mmfm import cli\n"
        "def wait():\n    print('waiting', flush=True); time.sleep(60); yield\n"
        "doctor.checkpoints = wait; sys.exit(cli.main(['models']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
        assert child.stderr.read().strip() == b""


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_goes_away_is_no_fault_to_talk_about(
    lines: int, monkeypatch: pytest.MonkeyPatch
):
    """A single line waits in Python's buffer until the end; many lines fail while printing."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    code = (
        "import sys, time; from mmfm import cli\n"
        "def lines():\n"
        "    sys.stdin.readline()\n"
        f"    for _ in range({lines}): print('a line')\n"
        "cli.app.registered_commands[:] = []; cli.app.command()(lines)\n"
        "sys.exit(cli.main(['lines']))"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:  # pyright: ignore
        child.stdout.close()
        child.stdin.write(b"go\n")
        child.stdin.close()
        assert child.stderr.read() == b""
        assert child.wait() == 1


@pytest.mark.skipif(os.name != "posix", reason="files have no numbers there")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_stream_that_the_caller_closed_leads_nowhere(closed: tuple[int, ...], tmp_path: Path):
    """As services and scripts do (2>&-); the next file that is opened must not take its number."""
    code = (
        "import sys; from mmfm import cli\n"
        "def work():\n"
        f"    with open({str(tmp_path / 'file')!r}, 'w') as file:\n"
        "        print('an answer'); print('a message', file=sys.stderr, flush=True)\n"
        "        file.write('whole')\n"
        "cli.app.registered_commands[:] = []; cli.app.command()(work)\n"
        "sys.exit(cli.main(['work']))"
    )
    shut = " ".join(f"{number}>&-" for number in closed)
    child = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {shut}', sys.executable, code],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout == ("" if 1 in closed else "an answer\n")
    assert child.stderr == ("" if 2 in closed else "a message\n")
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_a_full_disk_under_the_answers_is_said():
    command = [sys.executable, "-m", "mmfm", "models"]
    with Path("/dev/full").open("w") as full:
        child = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert child.returncode != 0
    assert child.stderr.splitlines()[0].startswith("mmfm: no space left where the answers")


# --- the commands ---------------------------------------------------------------------------------


def served(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """What `mmfm demo` hands to the pages."""
    given: dict[str, Any] = {}
    pages = types.ModuleType("mmfm.demos.app")
    pages.serve = lambda page, **options: given.update(options, page=page)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmfm.demos.app", pages)
    assert cli.main(["demo", *arguments]) == 0
    return given


def test_demo_hands_its_options_to_the_pages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MMFM_AUTH", raising=False)
    assert served(monkeypatch) == {
        "page": None,
        "model": None,
        "device": "auto",
        "port": None,
        "host": "127.0.0.1",
        "allowed_hosts": [],
        "auth": None,
        "allow": [],
        "lang": None,
        "open_browser": False,  # there is no terminal, so nobody to open it for
    }
    command = "patches --model vit-nano --device cpu --port 8000 --host 0.0.0.0 --auth me:secret"
    command += " --allowed-host a.example --allowed-host b.example --allow /a --allow /b --lang ko"
    assert served(monkeypatch, *command.split()) == {
        "page": "patches",
        "model": "vit-nano",
        "device": "cpu",
        "port": 8000,
        "host": "0.0.0.0",
        "allowed_hosts": ["a.example", "b.example"],
        "auth": "me:secret",
        "allow": [Path("/a"), Path("/b")],
        "lang": "ko",
        "open_browser": False,
    }


def test_demo_takes_the_password_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MMFM_AUTH", "me:secret")
    assert served(monkeypatch)["auth"] == "me:secret"


def test_models_are_listed_in_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    here = [
        Checkpoint(
            "vit-nano",
            "image classification",
            5_000_000,
            "bundled",
            Path("/a"),
            score="70.3 %",
            card="/a/README.md",
        ),
        Checkpoint("hf:a/b", "dinov2", 88_000_000, "cached", Path("/b"), fault="/b: cut short"),
    ]
    monkeypatch.setattr(doctor, "checkpoints", lambda: iter(here))
    assert cli.main(["models"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "name      task                  size     where    score   card",
        "vit-nano  image classification  5.0 MB   bundled  70.3 %  /a/README.md",
        "hf:a/b    dinov2                88.0 MB  cached   -       /b: cut short",
    ]


def test_no_models_is_said_and_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "checkpoints", lambda: iter(()))
    assert cli.main(["models"]) == 0
    assert capsys.readouterr() == ("", "mmfm: no model is on this machine\n")


def test_the_doctor_ends_with_1_only_when_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fine = [Finding("python", "ok", "3.11"), Finding("network", "info", "does not answer")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(fine))
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "part     state  detail",
        "python   ok     3.11",
        "network  info   does not answer",
    ]
    broken = Finding("torch", "broken", "is not installed", "pip install torch")
    monkeypatch.setattr(doctor, "examine", lambda: iter([*fine, broken]))
    assert cli.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "torch    broken  is not installed; mend: pip install torch"
    assert err == "mmfm: broken: torch\n"


def test_on_a_terminal_the_table_is_drawn_and_square_brackets_are_not_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(doctor, "examine", lambda: iter([Finding("x", "ok", "mmfm[dev]", "[red]")]))
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "mmfm[dev]" in out and "mend: [red]" in out and "─" in out
