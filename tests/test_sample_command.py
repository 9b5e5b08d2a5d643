"""`mmfm sample` as a newcomer runs it: grids, films, folders, and every way to get it wrong."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import word_models
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from stock_unet import stock_unet

from mmfm import cli, keepsakes
from mmfm.data.pictures import Preprocessing
from mmfm.files import write_whole
from mmfm.models.checkpoints import save_clip, save_denoiser, save_vit
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.vit import ViT, ViTConfig

LABELS = tuple("0123456789")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small denoiser as a training leaves it, and what is none."""
    folder = tmp_path_factory.mktemp("made")
    config = DenoiserConfig(
        image_size=8, classes=10, widths=(8, 16), depths=(1, 1), attention=(), embed=16
    )
    best = {"sampler": "euler", "steps": 3, "guidance": 1.5}
    den = Denoiser(config, LABELS, best)
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    save_denoiser(den, folder / "run")
    save_denoiser(Denoiser(replace(config, classes=3), ("a, b", "c", "1"), best), folder / "commas")
    den.guidable, den.sampling = False, {"sampler": "ddim", "steps": 50}
    save_denoiser(den, folder / "always")  # told a label
    fast = Denoiser(replace(config, jumps="anywhere"), LABELS, {"sampler": "jump", "steps": 2})
    save_denoiser(fast, folder / "fast")
    write_whole(folder / "run" / "run.json", '{"mmfm": 1, "train": "diffusion"}')

    half = (0.5,)
    vit = ViT(
        ViTConfig(image_size=(8, 8), patch_size=4, channels=1, dim=8, depth=1, heads=1, classes=10),
        Preprocessing((8, 8), half, half),
        LABELS,
    )
    save_vit(vit, folder / "vit")
    write_whole(folder / "begun" / "run.json", '{"mmfm": 1, "train": "diffusion"}')
    (folder / "empty").mkdir()
    cut = shutil.copytree(folder / "run", folder / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    write_whole(folder / "full" / "somebody's.txt", "a")

    word_models.save_both(folder)  # into reads and clip: one that reads, and who reads for it
    save_clip(word_models.make_clip(seed=9), folder / "another")

    net = stock_unet(num_class_embeds=3)
    DDPMPipeline(net, DDPMScheduler()).save_pretrained(folder / "told")  # a label, always
    return folder


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main(["sample", *(f"{argument}" for argument in arguments)])
    return status, *capsys.readouterr()


# --- what it writes -------------------------------------------------------------------------------


def test_a_grid_of_ten_each_is_what_one_gets_without_asking(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "grid.png"
    status, said, err = run(made / "run", "--out", out, capsys=capsys)
    assert (status, err) == (0, "")
    assert said.startswith(f"{out}: 100 pictures by ") and said.count("\n") == 1
    assert "euler, 3 steps, guidance 1.5, seed 0" in said
    with Image.open(out) as sheet:
        assert sheet.format == "PNG" and sheet.width == sheet.height
    first = out.read_bytes()
    assert run(made / "run", "--out", out, capsys=capsys)[0] == 0
    assert out.read_bytes() == first, "the same command draws the same pictures"
    assert run(made / "run", "--out", out, "--seed", 1, capsys=capsys)[0] == 0
    assert out.read_bytes() != first


def test_the_way_from_noise_is_a_gif(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "STEPS.GIF"
    wish = ("--labels", "0-2, 7", "--count", 8, "--steps", 5, "--sampler", "dpm++")
    status, said, err = run(made / "run", *wish, "--out", out, capsys=capsys)
    assert (status, err) == (0, "") and "8 pictures" in said and "dpm++, 5 steps" in said
    with Image.open(out) as film:
        assert film.format == "GIF" and film.n_frames == 6
        assert film.width > film.height, "four labels, two of each"


def test_a_folder_gets_a_file_a_picture(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    wish = ("--labels", "3,7", "--count", 5, "--guidance", 2, "--interval", ".3,.85")
    wish += ("--rescale", ".5")
    status, said, err = run(made / "run", *wish, "--out", "threes/", capsys=capsys)
    assert (status, err) == (0, "") and "guidance 2 from time 0.3 to 0.85, rescale 0.5" in said
    names = ["3-0000.png", "3-0002.png", "3-0004.png", "7-0001.png", "7-0003.png"]
    assert sorted(path.name for path in (tmp_path / "threes").iterdir()) == names
    assert keepsakes.about((tmp_path / "threes" / names[0]).read_bytes())["rescale"] == 0.5
    # What is there already is not mixed with what is new; an empty folder is as good as none.
    status, said, err = run(made / "run", *wish, "--out", "threes/", capsys=capsys)
    assert (status, said) == (2, "") and "not empty" in err and err.count("\n") == 1
    (tmp_path / "there").mkdir()
    assert run(made / "run", *wish, "--out", "there", capsys=capsys)[0] == 0
    for name in names:
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "threes" / name).read_bytes()


@pytest.mark.parametrize(
    ("labels", "first"), [("a, b", "a_b"), ('"a, b", c', "a_b"), ('c,"a, b"', "c"), ("1", "1")]
)
def test_labels_may_have_commas_and_be_numbers(
    labels: str, first: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "drawn"
    status, _, err = run(
        made / "commas", "--labels", labels, "--count", 1, "--out", f"{out}/", capsys=capsys
    )
    assert (status, err) == (0, "")
    assert [path.name for path in out.iterdir()] == [f"{first}-0000.png"]


def test_an_unknown_label_is_told_the_known_ones(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for labels in ("0", "a,b"):
        status, said, err = run(
            made / "commas", "--labels", labels, "--out", tmp_path / "a.png", capsys=capsys
        )
        assert (status, said) == (2, "") and err.endswith('; it knows "a, b", c, 1\n')


def test_help_says_what_each_option_does(capsys: pytest.CaptureFixture[str]):
    status, said, _ = run("--help", capsys=capsys)
    assert status == 0
    options = (
        "labels",
        "prompt",
        "clip",
        "count",
        "steps",
        "sampler",
        "guidance",
        "interval",
        "rescale",
        "seed",
        "out",
    )
    assert [name for name in options if f"--{name}" not in said] == []


def test_prompts_are_drawn_each_with_each_label(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "grid.png"
    two = ("--prompt", "red heart", "--prompt", "웃는 얼굴")
    status, said, err = run(made / "reads", *two, "--count", 4, "--out", out, capsys=capsys)
    assert (status, err) == (0, "") and said.count("\n") == 1
    assert said.startswith(f"{out}: 4 pictures of 'red heart', '웃는 얼굴' by ")
    assert "euler, 6 steps, guidance 2, seed 0" in said
    about = keepsakes.about(out.read_bytes())
    assert (about["prompts"], about["labels"]) == (["red heart", "웃는 얼굴"], [None])
    with Image.open(out) as sheet:
        assert sheet.width == sheet.height and sheet.mode == "RGB"

    folder, hands = tmp_path / "out", ("--labels", "noto,fluent_flat")
    status, said, err = run(
        made / "reads", *two, *hands, "--count", 4, "--out", f"{folder}/", capsys=capsys
    )
    assert (status, err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == [
        "fluent_flat_red_heart-0002.png",
        "fluent_flat_웃는_얼굴-0003.png",
        "noto_red_heart-0000.png",
        "noto_웃는_얼굴-0001.png",
    ]


def test_the_clip_may_have_moved_and_what_it_does_not_read_is_said(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    moved = shutil.copytree(made / "clip", tmp_path / "moved")
    wish = ("--prompt", "сердце " * 9, "--count", 1, "--steps", 1)
    outs = [tmp_path / "a.png", tmp_path / "b.png"]
    status, said, err = run(made / "reads", *wish, "--clip", moved, "--out", outs[0], capsys=capsys)
    assert status == 0 and said.count("\n") == 1
    long, strange = err.splitlines()
    assert long.startswith("mmfm: 'сердце ") and "longer than the 12 pieces" in long
    assert strange.startswith(f"mmfm: {moved} (local) does not know the words of 'сердце ")
    assert run(made / "reads", *wish, "--out", outs[1], capsys=capsys)[0] == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize(("model", "labels"), [("told", LABELS[:3]), ("always", LABELS)])
def test_a_model_that_is_always_told_a_label_draws_without_guidance(
    model: str,
    labels: tuple[str, ...],
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    plain, named = tmp_path / "plain.png", tmp_path / "named.png"
    wish = ("--steps", 2, "--count", 3)
    assert run(made / model, *wish, "--out", plain, capsys=capsys)[0] == 0
    status, said, err = run(made / model, *wish, "--guidance", 1, "--out", named, capsys=capsys)
    assert (status, err) == (0, "") and "guidance 1" in said
    assert named.read_bytes() == plain.read_bytes()
    assert keepsakes.about(plain.read_bytes())["labels"] == list(labels)


def test_steps_that_were_never_taught_are_taken_and_said_in_a_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    wish = ("--count", 1, "--out", tmp_path / "grid.png")
    for steps in (1, 2):
        assert run(made / "fast", "--steps", steps, *wish, capsys=capsys)[::2] == (0, "")
    status, said, err = run(made / "fast", "--steps", 5, *wish, capsys=capsys)
    assert status == 0 and "jump, 5 steps" in said
    assert "was taught to draw in 1 or 2 steps, and never in 5" in err
    assert err.startswith("mmfm: ") and err.count("\n") == 1


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["{made}/run", "--labels", "cat"], 2, "no label 'cat'"),
        (["{made}/run", "--labels", "3,10"], 2, "it knows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["{made}/run", "--labels", " , "], 2, "no labels in it"),
        (["{made}/run", "--count", "0"], 2, "0 pictures"),
        (["{made}/run", "--count", "999999999999"], 2, "name a folder, --out DIR/"),
        (["{made}/run", "--count", "many"], 2, "'--count'"),
        (["{made}/run", "--steps", "0"], 2, "0 steps"),
        (["{made}/run", "--sampler", "eular"], 2, "no sampler 'eular'"),
        (["{made}/run", "--guidance", "nan"], 2, "guidance of nan"),
        (["{made}/run", "--guidance=-1"], 2, "guidance of -1.0"),
        (["{made}/told", "--guidance", "2"], 2, "leave the guidance at 1 and name labels"),
        (["{made}/always", "--guidance", "2"], 2, "leave the guidance at 1 and name labels"),
        (["{made}/run", "--interval", "1"], 2, "two numbers"),
        (["{made}/run", "--interval", "a,b"], 2, "two numbers"),
        (["{made}/run", "--interval", "nan,1"], 2, "the lower one first"),
        (["{made}/run", "--interval", ".8,.2"], 2, "the lower one first"),
        (["{made}/run", "--rescale", "2"], 2, "rescale of 2"),
        (["{made}/run", "--device", "tpu"], 2, "there is no device 'tpu'"),
        (["{made}/run", "--out", "no/such/grid.png"], 1, "there is no folder no/such"),
        (["{made}/run", "--out", "no/such/"], 1, "there is no folder no"),
        (["{made}/run", "--out", "grid.jpg"], 2, "end it in .png"),
        (["{made}/run", "--out", "grid"], 2, "end it in .png"),
        (["{made}/run", "--out", "lost.png"], 1, "lost.png: cannot be written"),
        (["{made}/run", "--out", ""], 2, "--out"),
        (["{made}/run", "--out", "file/"], 2, "this is a file"),
        (["{made}/run", "--out", "{made}/full"], 2, "not empty"),
        (["{made}/run", "--prompt", "a cat"], 2, "reads no words; it knows 0, 1, 2"),
        (["mnist-nano", "--prompt", "a cat", "--clip", "{made}/clip"], 2, "reads no words"),
        (["{made}/reads", "--prompt", ""], 2, "an empty prompt: say what is to be drawn"),
        (["{made}/reads", "--prompt", "a", "--prompt", " "], 2, "an empty prompt"),
        (["{made}/reads", "--prompt", "a" * 3000], 2, "a prompt of 3,000 letters, 'aaa"),
        (["{made}/reads", "--prompt", "heart\udcff"], 2, "halves of letters"),
        (["{made}/reads", "--prompt", "cat", "--labels", "blob"], 2, "no label 'blob'"),
        (["{made}/reads", "--clip", "{made}/clip"], 2, "it reads prompts, and there is none"),
        (["{made}/reads", "--prompt", "a", "--clip", "{made}/another"], 2, "from one release"),
        (["{made}/reads", "--prompt", "a", "--clip", "{made}/run"], 2, "not a 'clip'"),
        (["{made}/reads", "--prompt", "a", "--clip", "no/clip"], 1, "no model 'no/clip'"),
        (["{made}/reads", *(f"--prompt={n}" for n in range(9000))], 2, "--out DIR/"),
        (["{made}/vit"], 2, "'vit'"),
        (["{made}/begun"], 1, "begun"),
        (["{made}/empty"], 1, "empty"),
        (["{made}/cut"], 1, "cut"),
        (["{made}/nowhere"], 1, "no model"),
        (["clip-shapes"], 2, "'clip'"),
        ([""], 2, "an empty model name"),
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
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("lost.png").symlink_to("nowhere/grid.png")
    arguments = [argument.format(made=made) for argument in arguments]
    if "--out" not in arguments:
        arguments += ["--out", "grid.png"]
    found, out, err = run(*arguments, capsys=capsys)
    assert (found, out, err.count("\n")) == (status, "", 1), err
    assert err.startswith("mmfm: ") and said in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "lost.png"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("stop", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_what_is_stopped_leaves_whole_files_only(
    stop: signal.Signals, status: int, made: Path, tmp_path: Path
):
    out = tmp_path / "out"
    code = "import sys; from mmfm import cli; sys.exit(cli.main(sys.argv[1:]))"
    wish = ["sample", made / "run", "--count", "1000000", "--out", f"{out}/", "--device", "cpu"]
    command = [sys.executable, "-c", code, *map(str, wish)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        deadline = time.monotonic() + 60
        while len(list(out.glob("*.png"))) <= 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(stop)
        said, err = child.communicate(timeout=30)
    assert (child.returncode, said, err.strip()) == (status, b"", b"")
    files = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert len(files) > 20
    for path in files:
        with Image.open(path) as picture:
            assert picture.size == (8, 8)
            picture.load()
    if stop == signal.SIGINT:
        assert list(out.glob(".*")) == []
