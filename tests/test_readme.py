"""What the README says of the commands is what they say; its links lead somewhere."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmfm.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHOWN = re.findall(r"```\n\$ mmfm (.*?)\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_help_in_the_readme_is_the_commands_own(command: str, shown: str) -> None:
    said = CliRunner().invoke(app, command.split(), prog_name="mmfm", terminal_width=80).output
    assert shown.strip() == said.strip()


def test_the_readme_shows_the_help_of_the_main_commands() -> None:
    assert {command for command, _ in SHOWN} >= {"--help", "train vit --help", "models get --help"}


def test_the_readme_names_every_variable_of_the_environment_that_moves_a_folder() -> None:
    code = "".join(path.read_text() for path in (ROOT / "mmfm").rglob("*.py"))
    folders = set(re.findall(r"\bMMFM_[A-Z]+\b", code)) - {"MMFM_AUTH", "MMFM_DEBUG"}
    assert {"MMFM_DATA", "MMFM_RUNS"} <= folders
    for variable in folders:
        assert f"`{variable}`" in README, variable


def test_every_command_of_the_readme_exists() -> None:
    for line in re.findall(r"^(?:torchrun .* -m )?mmfm ([a-z][^#\n]*)", README, re.MULTILINE):
        words = line.split()
        nested = words[0] in ("train", "models") and len(words) > 1
        command = words[:2] if nested else words[:1]
        said = CliRunner().invoke(app, [*command, "--help"], terminal_width=80)
        assert said.exit_code == 0, line
        for option in re.findall(r"--[a-z-]+", line):
            assert option in said.output, f"{option} of {line!r}"


def test_the_readme_presents_every_page() -> None:
    pages = re.findall(
        r'^        "(\w+)": \w+,', (ROOT / "demos" / "app.py").read_text(), re.MULTILINE
    )
    assert len(pages) == 7, "the README counts them"
    for page in pages:
        assert f"mmfm demo {page}" in README, page


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_readme_names_every_file_of_the_package() -> None:
    tasks = {path.stem for path in (ROOT / "mmfm" / "tasks").glob("[a-z]*.py")}
    for path in (ROOT / "mmfm").rglob("[a-z]*.py"):
        named = path.relative_to(ROOT).as_posix()
        in_folder = "models/tables" in named or path.stem in tasks or f"`{path.name}`" in README
        assert in_folder or named in README, named
    for task in tasks:
        assert f"`{task}`" in README, task
