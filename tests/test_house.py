"""The house holds: light imports, floors, an install that is not done twice, a working wheel."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

import mmfm

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: object, cwd: Path, status: int | None = 0, **environment: str) -> str:
    """Run a command, hold its exit status against the wanted one, and return what it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert status is None or done.returncode == status, done.stdout
    return done.stdout


# --- import mmfm ----------------------------------------------------------------------------------


def test_import_mmfm_imports_nothing_heavy(tmp_path: Path):
    code = "import sys, mmfm; print({'torch', 'numpy', 'gradio', 'typer'} & sys.modules.keys())"
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "set()\n"


def test_every_public_name_is_there_typed_and_listed():
    tree = ast.parse(Path(mmfm.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert typed | {"__version__"} == set(mmfm.__all__)
    assert mmfm.__all__ == sorted(mmfm.__all__)
    assert set(mmfm.__all__) <= set(dir(mmfm))
    assert [name for name in mmfm.__all__ if getattr(mmfm, name, None) is None] == []


def test_a_public_name_is_the_very_object_of_its_home():
    from mmfm.errors import BadInput
    from mmfm.models.checkpoints import load_vit

    assert mmfm.load_vit is load_vit
    assert mmfm.BadInput is BadInput


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(AttributeError, match=r"no attribute 'load_vim'; it has .*load_vit"):
        _ = mmfm.load_vim  # pyright: ignore[reportAttributeAccessIssue]


def test_the_version_is_written_in_one_place():
    assert "version" in PROJECT["project"]["dynamic"] and "version" not in PROJECT["project"]
    assert metadata.version("mmfm") == mmfm.__version__


# --- packaging ------------------------------------------------------------------------------------


def test_every_package_of_the_tree_is_installed():
    """A folder that pyproject.toml forgets works in the checkout and is missing from the wheel."""
    homes = {"mmfm": "mmfm", "demos": "mmfm.demos", "assets": "mmfm.assets"}
    there = {
        ".".join([homes[folder], *path.parent.relative_to(ROOT / folder).parts])
        for folder in homes
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert there == set(PROJECT["tool"]["setuptools"]["packages"])


def test_demos_and_assets_are_found_under_their_installed_names_only(tmp_path: Path):
    code = (
        "import importlib.util as u, mmfm.demos, mmfm.assets, mmfm.models, mmfm.data, mmfm.tasks\n"
        "print(mmfm.demos.__name__, mmfm.assets.__name__)\n"
        "print([name for name in ('demos', 'assets', 'tests') if u.find_spec(name)])"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path) == "mmfm.demos mmfm.assets\n[]\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout, in an environment of its own that borrows the libraries of ours."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because a build leaves a folder behind whose old files would go into the next wheel.
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "tree", ignore=unwanted)
    pip = (sys.executable, "-m", "pip")
    quiet = ("--quiet", "--no-deps", "--no-index")
    tree = folder / "tree"
    run(*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", folder, tree, cwd=folder)
    environment = folder / "env"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    python = environment / "bin" / "python"
    (wheel,) = folder.glob("mmfm-*.whl")
    run(*pip, "--python", python, "install", *quiet, wheel, cwd=folder)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return environment


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="looks for the folders of a POSIX environment")
class TestWheel:
    def test_nothing_but_mmfm_lands_in_site_packages(self, installed: Path):
        (record,) = installed.glob("lib/python*/site-packages/mmfm-*.dist-info/RECORD")
        paths = [line.split(",")[0] for line in record.read_text().splitlines()]
        assert {path.split("/")[0] for path in paths} == {"mmfm", record.parent.name, ".."}
        assert [path for path in paths if path.startswith("..")] == ["../../../bin/mmfm"]
        assert any(path.endswith("licenses/LICENSE") for path in paths)

    def test_checkpoints_and_pages_come_with_it(self, installed: Path):
        (site,) = installed.glob("lib/python*/site-packages")
        for folder, kinds in (("assets", ["*"]), ("demos", ["*.py", "static/*"])):
            for path in (path for kind in kinds for path in (ROOT / folder).rglob(kind)):
                if path.is_file() and "__pycache__" not in path.parts:
                    there = site / "mmfm" / folder / path.relative_to(ROOT / folder)
                    assert there.read_bytes() == path.read_bytes()

    def test_help_doctor_and_models_work_in_an_empty_folder(self, installed: Path, tmp_path: Path):
        command = installed / "bin" / "mmfm"
        assert run(command, "--help", cwd=tmp_path).startswith("Usage: mmfm ")
        assert str(installed) in run(command, "doctor", cwd=tmp_path)
        listed = run(command, "models", cwd=tmp_path)
        assert [
            path.name
            for path in (ROOT / "assets" / "checkpoints").iterdir()
            if path.is_dir() and path.name not in listed
        ] == []
        assert list(tmp_path.iterdir()) == []

    def test_the_pages_are_served_from_an_empty_folder(self, installed: Path, tmp_path: Path):
        command = [installed / "bin" / "mmfm", "demo", "--port", "7991"]
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as server:
            assert server.stdout is not None
            said = ""
            try:
                for line in server.stdout:
                    said += line
                    if address := re.search(r"http://127\.0\.0\.1:\d+\S*", said):
                        with urllib.request.urlopen(address[0], timeout=60) as answer:
                            assert answer.status == 200
                        break
                else:
                    pytest.fail(said)
            finally:
                server.send_signal(signal.SIGINT)
                server.communicate(timeout=60)


# --- floors ---------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The package as it is installed, to build a breach into."""
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mmfm", tmp_path / "mmfm", ignore=without)
    shutil.copytree(ROOT / "demos", tmp_path / "mmfm" / "demos", ignore=without)
    return tmp_path


def lint(house: Path, status: int) -> str:
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    config = ("--config", ROOT / "pyproject.toml", "--no-cache", "--no-logo")
    return run(command, *config, cwd=house, status=status, COLUMNS="200")


def test_the_floors_are_kept(house: Path):
    assert "0 broken" in lint(house, status=0)


@pytest.mark.parametrize(
    ("room", "line", "said"),
    [
        ("data/breach.py", "import mmfm.train", "mmfm.data is not allowed to import mmfm.train"),
        ("data/breach.py", "from mmfm import hub", "mmfm.data is not allowed to import mmfm.hub"),
        ("tasks/breach.py", "from mmfm.demos import app", "not allowed to import mmfm.demos"),
        ("demos/breach.py", "from mmfm import cli", "mmfm.demos is not allowed to import mmfm.cli"),
        ("tasks/breach.py", "from mmfm.tasks import doctor", "mmfm.tasks.breach is not allowed"),
        ("attic.py", "", "mmfm.attic"),
    ],
)
def test_a_breach_of_the_floors_is_caught(room: str, line: str, said: str, house: Path):
    (house / "mmfm" / "demos" / "app.py").touch()
    (house / "mmfm" / room).write_text(line + "\n")
    assert said in lint(house, status=1)


# --- make -----------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Python only writes down what it was asked to do."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("python", "mmfm"):
        script = binaries / name
        script.write_text(
            f'#!/bin/sh\necho {name} "$@" >> log\n'
            'case "$*" in *installed.py*) test -e complete;; *pip*) touch complete;; esac\n'
        )
        script.chmod(0o755)
    return tmp_path


def made(checkout: Path, *arguments: str) -> list[str]:
    """Call make, and return what it asked of Python."""
    log = checkout / "log"
    log.write_text("")
    run("make", *arguments, cwd=checkout, MAKEFLAGS="", MAKELEVEL="")
    return log.read_text().splitlines()


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
def test_make_installs_once_and_a_second_call_does_no_work_that_is_done(checkout: Path):
    check, install = "python .ci/installed.py dev onnx", "python -m pip install --quiet -e .[dev]"
    tests = [
        "python -m pytest -n 2 --dist loadfile --ignore tests/demos",
        "python -m pytest tests/demos",
    ]
    assert made(checkout, "test") == [check, install, *tests]
    assert made(checkout, "test") == tests
    assert made(checkout, "demo") == ["mmfm demo"], "what suffices for the tests suffices here"
    assert made(checkout, "demo", "PAGE=patches") == ["mmfm demo patches"]


@needs_make
def test_make_demo_installs_no_developers_tools(checkout: Path):
    install = "python -m pip install --quiet -e ."
    assert made(checkout, "demo") == ["python .ci/installed.py", install, "mmfm demo"]


@needs_make
def test_make_leaves_a_complete_environment_alone(checkout: Path):
    (checkout / "complete").touch()
    assert made(checkout, "demo") == ["python .ci/installed.py", "mmfm demo"]


@needs_make
def test_make_looks_again_when_the_requirements_have_changed(checkout: Path):
    made(checkout, "demo")
    later = (checkout / ".venv" / "ready").stat().st_mtime + 10
    os.utime(checkout / "pyproject.toml", (later, later))
    (checkout / "complete").unlink()
    assert "python -m pip install --quiet -e ." in made(checkout, "demo")


@needs_make
def test_make_says_when_python_is_too_old(checkout: Path):
    shutil.rmtree(checkout / ".venv")
    said = run("make", "demo", "PYTHON=false", cwd=checkout, status=2, MAKEFLAGS="")
    assert "mmfm needs Python 3.11 or newer" in said
    assert not (checkout / ".venv").exists()


def test_this_environment_is_complete_and_an_unmet_requirement_is_noticed(tmp_path: Path):
    """`installed.py` judges the checkout that it lies in."""
    assert run(sys.executable, ROOT / ".ci" / "installed.py", cwd=tmp_path) == ""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    run(sys.executable, ".ci/installed.py", cwd=tmp_path, status=1)  # installed from elsewhere


def test_the_script_of_the_continuous_integration_is_sound():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    run("bash", "-n", script, cwd=ROOT)
    assert "set -euo pipefail" in script.read_text()
