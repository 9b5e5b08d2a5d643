"""What mmfm export writes draws, without mmfm, what mmfm draws from the same noise."""

import errno
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDPMPipeline, DDPMScheduler, DiffusionPipeline
from diffusers.utils import dynamic_modules_utils
from PIL import Image
from stock_unet import stock_unet
from torch import Tensor

from mmfm.diffusion.course import course
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.errors import BadInput, MmfmError, NotHere, OutOfSpace
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.tasks import export as task
from mmfm.tasks.export import export
from mmfm.tasks.generate import Sampling, as_bytes, chosen, walk

UNET: dict[str, Any] = {
    "image_size": 8,
    "classes": 3,
    "embed": 16,
    "widths": (8, 16),
    "depths": (1, 1),
    "attention": (1,),
    "groups": 4,
    "head_dim": 8,
    "mlp": 0,
}
DIT: dict[str, Any] = {
    "image_size": 8,
    "classes": 3,
    "embed": 16,
    "kind": "dit",
    "patch": 2,
    "dim": 16,
    "depth": 2,
    "head_dim": 8,
    "mlp": 2,
}
NAMES = ("cat", "dog", "개구리")


def denoiser(sampling: dict[str, Any] | None = None, **config: Any) -> Denoiser:
    """A small network with weights everywhere."""
    settings = DenoiserConfig(**{**UNET, **config})
    names = NAMES if settings.classes == 3 else ()
    den = Denoiser(settings, names, {"sampler": "euler", "steps": 4} | (sampling or {}))
    draw = torch.Generator().manual_seed(1)
    den.reset(draw)
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=draw)
    den.name = "a-small-one"
    return den.eval()


def stock(
    folder: Path, names: tuple[str, ...] = (), betas: dict[str, Any] | None = None, **options: Any
) -> Denoiser:
    """A network of diffusers', wrapped."""
    net = stock_unet(**options)
    scheduler = DDPMScheduler(**{"num_train_timesteps": 60, "clip_sample": False, **(betas or {})})
    DDPMPipeline(net, scheduler).save_pretrained(folder)
    if names:
        index = json.loads((folder / "model_index.json").read_text())
        index["id2label"] = {str(number): name for number, name in enumerate(names)}
        (folder / "model_index.json").write_text(json.dumps(index))
    return load_denoiser(str(folder))


def noise(den: Denoiser, count: int, seed: int = 7) -> Tensor:
    return torch.randn(count, *den.config.shape, generator=torch.Generator().manual_seed(seed))


def drawn(
    den: Denoiser, x: Tensor, labels: list[int] | None = None, fresh: int = 3, **how: Any
) -> Tensor:
    """What mmfm makes of a noise; the noise of its steps comes from a generator of this seed."""
    settings = chosen(den, **how)
    way = course(den.config.schedule, settings.steps)
    random = torch.Generator().manual_seed(fresh)
    *_, last = walk(
        den,
        settings,
        way.start(x) if den.ours else x,
        way,
        None if labels is None else torch.tensor(labels),
        noise=lambda: torch.randn(x.shape, generator=random),
    )
    return last.x


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where diffusers puts the code that it is trusted to run."""
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))


def pipeline(folder: Path) -> Any:
    pipe = DiffusionPipeline.from_pretrained(folder, trust_remote_code=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def assert_same(theirs: Tensor, ours: Tensor) -> None:
    """Pictures of a pipeline, which are from 0 to 1, and what they would be without the ends."""
    torch.testing.assert_close(theirs, (ours / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-5)
    assert ((theirs > 0) & (theirs < 1)).float().mean() > 0.2, "enough is left to compare"


def blocks(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


# --- for diffusers: ours --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"join": "add", "activation": "gelu", "mlp": 2, "attention": (0, 1, 1), "middle": 2},
        {"image_size": 7, "channels": 3, "depths": (2, 1), "activation": "relu", "middle": 0},
        {"image_size": 9, "patch": 2, "classes": 0},
        {"jumps": "anywhere"},
        DIT,
        {**DIT, "image_size": 9, "channels": 2, "patch": 4},
    ],
    ids=["unet", "add", "odd", "folded", "anywhere", "dit", "dit-odd"],
)
@pytest.mark.usefixtures("modules")
def test_the_network_in_the_folder_says_what_ours_says(
    config: dict[str, Any], tmp_path: Path
) -> None:
    sampling = {"sampler": "jump"} if "jumps" in config else None
    den = denoiser(sampling, **config)
    export(den, "diffusers", tmp_path / "out")
    theirs = pipeline(tmp_path / "out").denoiser
    x, t = noise(den, 4), torch.tensor([0.0, 0.123, 0.7, 1.0])
    kinds = torch.arange(4) % (den.config.classes + 1)
    with torch.no_grad():
        for told in (kinds, None):
            torch.testing.assert_close(theirs(x, t, told)[0], den(x, t, told), rtol=0, atol=1e-5)
        if den.span is not None:
            torch.testing.assert_close(
                theirs(x, t, kinds, t / 3)[0], den(x, t, kinds, t / 3), rtol=0, atol=1e-5
            )


OTHERS = (("noise", "cosine"), ("velocity", "linear"), ("clean", "flow"))


@pytest.mark.parametrize(
    ("sampler", "objective", "schedule"),
    [(sampler, "flow", "flow") for sampler in SAMPLERS]
    + [(sampler, *other) for sampler in ("euler", "dpm++") for other in OTHERS],
)
@pytest.mark.usefixtures("modules")
def test_every_sampler_draws_from_a_noise_what_mmfm_draws(
    objective: Any, schedule: Any, sampler: str, tmp_path: Path
) -> None:
    how = {"sampler": sampler, "steps": 5, "guidance": 1.7, "interval": [0.2, 0.8], "rescale": 0.4}
    den = denoiser(how, objective=objective, schedule=schedule)
    made = export(den, "diffusers", tmp_path / "out")
    assert "trust_remote_code=True" in made.told
    pipe, x = pipeline(tmp_path / "out"), noise(den, 3)
    theirs = pipe(
        class_labels=["dog", 0, "개구리"],
        noise=x,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    ).images
    assert_same(theirs, drawn(den, x, [1, 0, 2]))


@pytest.mark.parametrize("jumps", ["anywhere", "picture"])
@pytest.mark.usefixtures("modules")
def test_what_was_made_for_few_steps_takes_few_steps_there(jumps: Any, tmp_path: Path) -> None:
    den = denoiser({"sampler": "jump", "steps": 2}, jumps=jumps)
    export(den, "diffusers", tmp_path / "out")
    pipe, x = pipeline(tmp_path / "out"), noise(den, 3)
    random = torch.Generator().manual_seed(3)
    theirs = pipe(noise=x, generator=random, output_type="pt").images
    ours = drawn(den, x, [0, 1, 2])
    assert_same(theirs, ours)
    fresh = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    assert_same(pipe(noise=[x, fresh], output_type="pt").images, ours)
    said = (tmp_path / "out" / "README.md").read_text()
    assert ("noise=[first, second, ...]" in said) == (jumps == "picture")
    with pytest.raises(ValueError, match="no sampler 'euler'; there are jump"):
        pipe(sampler="euler")


@pytest.mark.usefixtures("modules")
def test_what_a_call_says_goes_before_what_the_model_does_best(tmp_path: Path) -> None:
    den = denoiser({"guidance": 1.5})
    export(den, "diffusers", tmp_path / "out")
    pipe, x = pipeline(tmp_path / "out"), noise(den, 5)
    theirs = pipe(
        class_labels="cat",
        noise=x,
        num_inference_steps=3,
        guidance_scale=2.5,
        sampler="heun",
        output_type="pt",
    )
    ours = drawn(den, x, [0] * 5, steps=3, guidance=2.5, sampler="heun")
    assert_same(theirs.images, ours)

    pictures = pipe(noise=x, return_dict=False)[0]
    assert [picture.size for picture in pictures] == [(8, 8)] * 5
    ours = as_bytes(drawn(den, x, [0, 1, 2, 0, 1])).squeeze(-1).int()
    made = torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures]).int()
    assert (made - ours).abs().max() <= 1, "a half may be rounded either way"
    assert pipe(batch_size=4, output_type="np").images.shape == (4, 8, 8, 1)
    assert len(pipe(generator=torch.Generator().manual_seed(0)).images) == 3, "one of each label"
    for wish, says in (
        ({"class_labels": "cow"}, "no label 'cow'; there are cat, dog"),
        ({"class_labels": [3]}, "no label 3"),
        ({"class_labels": [True]}, "no label True"),
        ({"class_labels": []}, "an empty list of labels; there are cat, dog"),
        ({"num_inference_steps": 0}, "0 steps"),
        ({"num_inference_steps": 2.5}, "2.5 steps: a whole number"),
        ({"batch_size": -1}, "-1 pictures"),
        ({"guidance_scale": math.nan}, "guidance of nan"),
        ({"guidance_scale": math.inf}, "guidance of inf"),
        ({"noise": x[:, :, :7]}, "noise of"),
        ({"noise": [x, x[:1]]}, "noise of"),
        ({"noise": x * math.nan}, "noise with numbers in it that are none"),
    ):
        with pytest.raises(ValueError, match=says):
            pipe(**wish)


def test_the_folder_is_one_of_ours_as_well(tmp_path: Path) -> None:
    den = denoiser({"guidance": 1.5, "interval": [0.3, 0.9]}, join="add")
    export(den, "diffusers", tmp_path / "out")
    again = load_denoiser(str(tmp_path / "out"))
    assert (again.config, again.labels) == (den.config, den.labels)
    assert chosen(again) == chosen(den)
    x, t = noise(den, 2), torch.tensor([0.2, 0.8])
    torch.testing.assert_close(again(x, t), den(x, t), rtol=0, atol=0)


@pytest.mark.usefixtures("modules")
def test_without_trust_no_line_of_the_folder_is_run(tmp_path: Path) -> None:
    export(denoiser(), "diffusers", tmp_path / "out")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(tmp_path / "out")


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    den = denoiser().double()
    for weight in den.parameters():
        weight.data += 1e-12  # what no smaller type would keep
    before = {key: weight.clone() for key, weight in den.state_dict().items()}
    export(den, "diffusers", tmp_path / "out")
    for key, weight in den.state_dict().items():
        assert weight.dtype == torch.float64 and torch.equal(weight, before[key])


# --- for diffusers: theirs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("betas", "clip"), [("linear", False), ("squaredcos_cap_v2", True), ("sigmoid", False)]
)
def test_a_stock_network_becomes_a_stock_pipeline_again(
    betas: str, clip: bool, tmp_path: Path
) -> None:
    said = {"beta_schedule": betas, "clip_sample": clip, "prediction_type": "v_prediction"}
    den = stock(tmp_path / "in", betas={**said, "num_train_timesteps": 80})
    made = export(den, "diffusers", tmp_path / "out")
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "out")  # no code of the folder's own
    assert type(pipe) is DDIMPipeline and "of its own kinds" in made.told
    pipe.set_progress_bar_config(disable=True)
    (code,) = blocks(tmp_path / "out")
    call = re.search(r"pipe\((.*)\)\.images", code)
    assert call is not None and "num_inference_steps=40" in call[1]
    random = torch.Generator().manual_seed(7)
    wish: dict[str, Any] = {"use_clipped_model_output": True} if clip else {}
    assert ("use_clipped_model_output=True" in call[1]) == clip
    theirs = pipe(
        batch_size=2, generator=random, num_inference_steps=40, output_type="pt", **wish
    ).images
    assert_same(theirs, drawn(den, noise(den, 2)))
    again = load_denoiser(str(tmp_path / "out"))
    assert again.config.shape == den.config.shape and again.clip == den.clip
    torch.testing.assert_close(
        torch.tensor(again.config.schedule), torch.tensor(den.config.schedule), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (NAMES, {"num_class_embeds": 4}),
        ((), {"num_class_embeds": 3}),
        ((), {"out_channels": 2}),
        (NAMES, {"num_class_embeds": 4, "out_channels": 2, "sample_size": (8, 12)}),
    ],
    ids=["null", "no null", "says more", "all"],
)
@pytest.mark.usefixtures("modules")
def test_a_stock_network_that_no_stock_pipeline_asks_gets_ours(
    names: tuple[str, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    den = stock(tmp_path / "in", names, {"clip_sample": True}, **options)
    guided = bool(names)
    export(den, "diffusers", tmp_path / "out")
    assert not list(tmp_path.glob("out/denoiser/*.py")), "the network is diffusers' own"
    pipe, x = pipeline(tmp_path / "out"), noise(den, 3)
    wish: dict[str, Any] = {"class_labels": [2, 0, 1]} if den.config.classes else {}
    guidance = 2.0 if guided else 1.0
    theirs = pipe(
        noise=x, num_inference_steps=7, guidance_scale=guidance, output_type="pt", **wish
    ).images
    labels = [2, 0, 1] if den.config.classes else None
    ours = drawn(den, x, labels, steps=7, guidance=guidance if guided else None)
    assert_same(theirs, ours)
    if den.config.classes and not guided:
        with pytest.raises(ValueError, match="never drawn without a label"):
            pipe(guidance_scale=2.0)
    with pytest.raises(ValueError, match="61 steps: a whole number from 1 to 60"):
        pipe(num_inference_steps=61)
    again = load_denoiser(str(tmp_path / "out"))
    assert (again.labels, again.config.classes) == (den.labels, den.config.classes)
    assert again.config.shape == den.config.shape
    torch.testing.assert_close(drawn(again, x, labels, steps=7), drawn(den, x, labels, steps=7))


# --- without mmfm ---------------------------------------------------------------------------------

ALONE = """
import sys
import numpy as np

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(name)

FORBIDDEN = sys.argv[1].split(",")
sys.meta_path.insert(0, Nothing())
for forbidden in FORBIDDEN:
    try:
        __import__(forbidden)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{forbidden} can be imported")
"""


def alone(code: str, folder: Path, forbidden: str, *, cache: Path) -> None:
    """Run code in a folder with a Python whose path has no mmfm, nor what else is forbidden."""
    site = sysconfig.get_path("purelib")
    head = f"import sys; sys.path.append({site!r})\n"  # -S: what is installed by .pth files is not
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", head + ALONE + code, forbidden],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"HF_MODULES_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(cache)},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_python_without_mmfm_draws_the_bundled_digits(tmp_path: Path) -> None:
    den = load_denoiser("mnist-nano")
    export(den, "diffusers", tmp_path / "out")
    x = noise(den, 3)
    np.save(tmp_path / "noise.npy", x.numpy())
    (card,) = blocks(tmp_path / "out")
    code = f"""{card}
import torch
x = torch.from_numpy(np.load("../noise.npy"))
drawn = pipe(class_labels=["3", "7", "8"], noise=x, output_type="pt").images
np.save("../drawn.npy", drawn.numpy())
assert not {{"mmfm", "einops", "jaxtyping"}} & set(sys.modules)
"""
    alone(code, tmp_path / "out", "mmfm", cache=tmp_path / "cache")
    theirs = torch.from_numpy(np.load(tmp_path / "drawn.npy"))
    ours = drawn(den, x, [3, 7, 8]) / 2 + 0.5
    torch.testing.assert_close(theirs, ours.clamp(0, 1), rtol=0, atol=1e-5)
    with Image.open(tmp_path / "out" / "picture.png") as picture:
        assert picture.size == (28, 28) and np.array(picture).std() > 30
    own = Path(__file__).parents[2] / "assets" / "checkpoints" / "mnist-nano" / "README.md"
    assert (tmp_path / "out" / "MODEL.md").read_bytes() == own.read_bytes()


# --- for onnxruntime ------------------------------------------------------------------------------


def question(den: Denoiser, count: int) -> dict[str, Tensor]:
    t = torch.linspace(0.01, 1, count)
    given = {"x": noise(den, count, seed=count), "t": t}
    if den.config.classes:
        given["label"] = torch.arange(count) % den.config.classes
    if den.config.jumps == "anywhere":
        given["to"] = t / 2
    return given


BEST: dict[str, Any] = {"guidance": 1.5, "steps": 5}
JUMP: dict[str, Any] = {"sampler": "jump", "steps": 2}
KINDS: dict[str, Callable[[Path], Denoiser]] = {
    "unet": lambda _: denoiser(BEST, join="add"),
    "interval": lambda _: denoiser({**BEST, "interval": [0.2, 0.8], "rescale": 0.4}),
    "odd": lambda _: denoiser({"steps": 3}, image_size=7, classes=0, channels=3, objective="clean"),
    "noise": lambda _: denoiser(BEST, objective="noise", schedule="cosine"),
    "linear": lambda _: denoiser(BEST, objective="velocity", schedule="linear"),
    "dit": lambda _: denoiser(BEST, **DIT),
    "anywhere": lambda _: denoiser({**JUMP, "guidance": 1.2}, jumps="anywhere"),
    "consistent": lambda _: denoiser({**JUMP, "steps": 1}, jumps="picture"),
    "stock": stock,
    "labelled": lambda folder: stock(
        folder, NAMES, {"clip_sample": True}, num_class_embeds=4, out_channels=2
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_answers_as_ours_and_its_card_draws_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    den = KINDS[kind](tmp_path / "in")
    made = export(den, "onnx", tmp_path / "out")
    assert made.told.startswith("for onnxruntime")
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    model = onnxruntime.InferenceSession(tmp_path / "out" / about["file"])
    assert [given.name for given in model.get_inputs()] == list(about["inputs"])
    for count in (1, 2, 7):
        given = question(den, count)
        (theirs,) = model.run(None, {name: part.numpy() for name, part in given.items()})
        with torch.no_grad():
            ours = den(given["x"], given["t"], given.get("label"), given.get("to"))
        torch.testing.assert_close(torch.from_numpy(theirs), ours, rtol=0, atol=1e-4)

    (code,) = blocks(tmp_path / "out")
    assert all(len(line) <= 100 for line in code.splitlines())
    monkeypatch.chdir(tmp_path / "out")
    room: dict[str, Any] = {}
    exec(code, room)  # as somebody would who copies it
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, *den.config.shape)))
    labels = [0, 1] if den.config.classes else None
    with torch.no_grad():
        ours = as_bytes(drawn(den, x.float(), labels)).permute(0, 3, 1, 2).int()
    difference = (torch.from_numpy(room["pictures"]).int() - ours).abs()
    assert difference.max() <= 1 and (difference > 0).float().mean() < 0.02
    assert len(ours.unique()) > 20


def test_the_card_of_an_onnx_file_needs_neither_torch_nor_mmfm(tmp_path: Path) -> None:
    den = load_denoiser("mnist-nano")
    export(den, "onnx", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "MODEL.md",
        "README.md",
        "model.json",
        "model.onnx",
    ]
    (code,) = blocks(tmp_path / "out")
    code += 'np.save("../drawn.npy", pictures)\n'
    code += 'assert not {"mmfm", "torch", "onnx", "diffusers"} & set(sys.modules)\n'
    alone(code, tmp_path / "out", "mmfm", cache=tmp_path / "cache")
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 1, 28, 28))).float()
    ours = as_bytes(drawn(den, x, [0, 1])).permute(0, 3, 1, 2).int()
    theirs = torch.from_numpy(np.load(tmp_path / "drawn.npy")).int()
    assert (theirs - ours).abs().max() <= 1
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["labels"] == list("0123456789") and about["null"] == 10
    assert Sampling(**about["sampling"] | {"interval": (0.0, 1.0)}) == chosen(den)


def test_a_class_that_was_never_drawn_is_none_in_particular_nowhere(tmp_path: Path) -> None:
    den = denoiser()
    for guidable, null, says in (
        (True, 3, "number 3 stands for none in particular"),
        (False, None, "it has never drawn without one: leave the guidance at 1"),
    ):
        den.guidable = guidable
        for to in ("onnx", "diffusers"):
            export(den, to, tmp_path / f"{to}-{guidable}")
            card = (tmp_path / f"{to}-{guidable}" / "README.md").read_text()
            assert says in " ".join(card.split())
        about = json.loads((tmp_path / f"onnx-{guidable}" / "model.json").read_text())
        assert about["null"] == null
        folder = tmp_path / f"diffusers-{guidable}"
        assert load_denoiser(str(folder)).guidable == guidable
    with pytest.raises(ValueError, match="leave out the guidance"):
        pipeline(folder)(num_inference_steps=1, guidance_scale=2.0)


def test_the_card_says_by_how_much_answers_differ_at_most(tmp_path: Path) -> None:
    import onnxruntime

    den = denoiser()
    for weight in den.net.leave.parameters():
        weight.data *= 300  # large answers, beside which a difference looks small
    made = export(den, "onnx", tmp_path / "out")
    card = " ".join((tmp_path / "out" / "README.md").read_text().split())
    said = re.search(r"on 6 examples its answers and those of the original differ by (\S+)", card)
    assert said is not None and f"equal to {said[1]} on 6 examples" in made.told
    model = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    apart = 0.0
    for count in (1, 5):
        given = task._example(den, ["x", "t", "label"], count)
        (theirs,) = model.run(None, {name: part.numpy() for name, part in given.items()})
        with torch.no_grad():
            ours = den(given["x"], given["t"], given["label"])
        apart = max(apart, (torch.from_numpy(theirs) - ours).abs().max().item())
    assert apart <= float(said[1]) <= max(2 * apart, 1e-7)


@pytest.mark.parametrize("off", [0.01, float("nan")])
def test_a_graph_that_says_something_else_is_not_written(
    off: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = task._plain

    def wrong(den: Denoiser) -> torch.nn.Module:
        network = plain(den)
        network.net.leave.bias.data += off
        return network

    monkeypatch.setattr(task, "_plain", wrong)
    with pytest.raises(MmfmError, match="off by"):
        export(denoiser(), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- whole, or nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["diffusers", "onnx"])
def test_a_full_disk_leaves_nothing_behind(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = task.write_whole

    def full(path: Path, data: bytes | str) -> None:
        if path.suffix == ".md":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(task, "write_whole", full)
    (tmp_path / "empty").mkdir()
    for out in ("out", "empty"):
        with pytest.raises(OutOfSpace, match=f"no space left to write {tmp_path / out}") as caught:
            export(denoiser(), to, tmp_path / out)
        assert ".part" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_an_empty_folder_is_as_good_as_none_and_a_link_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    export(denoiser(), "diffusers", tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "empty" / "README.md").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link"]


@pytest.mark.parametrize(
    ("to", "out", "error", "says"),
    [
        ("torchscript", "new", BadInput, "no export to 'torchscript'; there are diffusers, onnx"),
        ("diffusers", "file", BadInput, "this is a file"),
        ("diffusers", "full", BadInput, "not empty"),
        ("onnx", "hidden", BadInput, "not empty"),
        ("onnx", "no/where", NotHere, "there is no folder"),
        ("onnx", ".", BadInput, "this is where you are"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line_and_nothing_is_touched(
    to: str,
    out: str,
    error: type[MmfmError],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = tmp_path / "empty"
    for folder in ("full", "hidden", "empty"):
        (tmp_path / folder).mkdir()
    for file in ("file", "full/somebody's", "hidden/.config"):
        (tmp_path / file).write_text("a")
    monkeypatch.chdir(empty if out == "." else tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=says) as caught:
        export(denoiser(), to, Path(out))
    assert "\n" not in str(caught.value) and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("to", ["diffusers", "onnx"])
def test_who_reads_words_is_not_exported(to: str, tmp_path: Path) -> None:
    den = denoiser(text_dim=6, text_context=12)
    with pytest.raises(BadInput, match=r"^a-small-one reads words, and its CLIP cannot") as caught:
        export(den, to, tmp_path / "out")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    with pytest.raises(NotHere, match=r'pip install "mmfm\[onnx\]"'):
        export(denoiser(), "onnx", tmp_path / "out")


def test_a_model_that_outlived_its_files_is_exported_without_their_card(tmp_path: Path) -> None:
    stock(tmp_path / "in")
    den = load_denoiser(str(tmp_path / "in"))
    shutil.rmtree(tmp_path / "in")
    export(den, "diffusers", tmp_path / "out")
    assert not (tmp_path / "out" / "MODEL.md").exists()
    assert "MODEL.md" not in (tmp_path / "out" / "README.md").read_text()
