"""`mmfm export` as a newcomer runs it."""

import sys
from pathlib import Path

import pytest
import torch

from mmfm import cli
from mmfm.commands.export import export
from mmfm.models.checkpoints import save_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig

if export not in [command.callback for command in cli.app.registered_commands]:
    cli.app.command()(export)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small denoiser as a training leaves it."""
    folder = tmp_path_factory.mktemp("made")
    config = DenoiserConfig(
        image_size=8, classes=10, widths=(8, 16), depths=(1, 1), attention=(), embed=16
    )
    den = Denoiser(config, tuple("0123456789"), {"sampler": "euler", "steps": 3, "guidance": 1.5})
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    save_denoiser(den, folder / "run")
    return folder


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main(["export", *(f"{argument}" for argument in arguments)])
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    ("to", "file"), [("diffusers", "model_index.json"), ("onnx", "model.onnx")]
)
def test_a_run_is_exported_and_a_line_says_how_to_go_on(
    to: str, file: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status, said, err = run(made / "run", "--to", to, "--out", out, capsys=capsys)
    assert (status, err) == (0, "") and said.startswith(f"{out}: ") and said.count("\n") == 1
    assert "README.md" in said and (out / file).is_file()
    if to == "diffusers":
        again = ["sample", str(out), "--out", str(tmp_path / "grid.png")]
        assert cli.main(again) == 0, "and it can be sampled from here, too"
        capsys.readouterr()
    status, said, err = run(made / "run", "--to", to, "--out", out, capsys=capsys)
    assert (status, said, err.count("\n")) == (2, "", 1) and "not empty" in err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["{made}/run"], 2, "--to"),
        (["{made}/run", "--to", "onnx"], 2, "--out"),
        (["{made}/run", "--to", "tensorflow", "--out", "out"], 2, "there are diffusers, onnx"),
        (["{made}/run", "--to", "onnx", "--out", "no/where"], 1, "there is no folder no"),
        (["{made}/run", "--to", "onnx", "--out", "file"], 2, "this is a file"),
        (["{made}/nowhere", "--to", "onnx", "--out", "out"], 1, "no model"),
        (["vit-nano", "--to", "diffusers", "--out", "out"], 2, "'vit'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments: list[str],
    status: int,
    said: str,
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    arguments = [argument.format(made=made) for argument in arguments]
    found, out, err = run(*arguments, capsys=capsys)
    assert (found, out, err.count("\n")) == (status, "", 1), err
    assert err.startswith("mmfm: ") and said in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_mistake_costs_no_model(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be seen at once is said at once: before torch is asked for weights."""
    from mmfm.models import checkpoints

    monkeypatch.setattr(checkpoints, "load_denoiser", lambda *_: sys.exit("loaded"))
    assert cli.main(["export", str(made / "run"), "--to", "onnx", "--out", str(made)]) == 2
