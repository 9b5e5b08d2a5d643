"""A drawing under noise comes back: as the model knows it, as it is told, where it was erased."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from einops import rearrange
from jaxtyping import Float
from PIL import Image, ImageDraw
from stock_unet import stock_unet
from torch import Tensor

from mmfm.diffusion.schedules import SCHEDULES
from mmfm.errors import BadInput
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.ruler import load_ruler, look
from mmfm.tasks.generate import as_bytes, generate, samplers_of
from mmfm.tasks.redraw import Moment, Wish, drawing_of, noise_of, redraw

DIGITS = tuple("0123456789")
SAMPLERS = ["ddpm", "ddim", "dpm++", "dpm++sde", "euler", "heun"]


def denoiser(labels: tuple[str, ...] = DIGITS, **config: Any) -> Denoiser:
    """A small network with weights everywhere: a fresh one says nothing at all."""
    shape = {"image_size": 8, "widths": (8, 16), "depths": (1, 1), "attention": (), "embed": 16}
    den = Denoiser(DenoiserConfig(**{**shape, "classes": len(labels), **config}), labels)
    draw = torch.Generator().manual_seed(1)
    den.reset(draw)
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=draw)
    return den.double().eval()


class Knowing(Denoiser):
    """Answers as if every picture of a label were of one grey, dark for 0 and bright for 9."""

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        assert condition is not None
        grey = rearrange(condition / 4.5 - 1, "b -> b 1 1 1")
        return (x - grey) / rearrange(t, "b -> b 1 1 1")


@pytest.fixture(scope="module")
def den() -> Denoiser:
    return denoiser()


@pytest.fixture(scope="module")
def knowing() -> Denoiser:
    return Knowing(denoiser().config, DIGITS).double()


def sketch(seed: int = 0, count: int = 1) -> Float[Tensor, "b 1 8 8"]:
    """Some drawings."""
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1, 8, 8, generator=draw, dtype=torch.float64) - 1


def walked(den: Denoiser, drawing: Tensor, **wish: Any) -> list[Moment]:
    return list(redraw(den, drawing, Wish(**{"steps": 6, **wish})))


# --- the way --------------------------------------------------------------------------------------


def test_the_samplers_that_are_tested_are_all_that_there_are(den: Denoiser):
    assert sorted(samplers_of(den)) == sorted(SAMPLERS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_under_nothing_but_noise_it_is_what_generate_draws(sampler: str, den: Denoiser):
    how = {"steps": 5, "sampler": sampler, "guidance": 1.5, "seed": 3}
    drawn = list(generate(den, labels=["4"], **how))
    again = walked(den, sketch(), noise=1, label="4", **how)
    for step, moment in zip(drawn, again, strict=True):
        assert torch.equal(step.x, moment.x) and torch.equal(step.x0, moment.x0)
        assert step.t == moment.t


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_under_nothing_but_noise_no_trace_of_the_drawing_is_left(schedule: str):
    den = denoiser(schedule=schedule)
    first, other = (walked(den, sketch(seed), noise=1)[-1].x for seed in (0, 1))
    assert torch.equal(first, other)
    *_, drawn = generate(den, labels=[None], steps=6, guidance=1.0)
    assert torch.equal(first, drawn.x)


def test_a_network_of_diffusers_begins_as_generate_has_it_begin(tmp_path: Path):
    net = stock_unet()
    DDPMPipeline(net, DDPMScheduler(num_train_timesteps=60)).save_pretrained(tmp_path)
    den = load_denoiser(str(tmp_path))
    *_, drawn = generate(den, count=1, steps=6, seed=3)
    last = walked(den, sketch().float(), noise=1, seed=3)[-1]
    assert torch.equal(last.x, drawn.x)
    shown = walked(den, sketch().float(), noise=0.4, seed=3)
    assert shown[0].share == pytest.approx(0.4, abs=1e-4) and len(shown) == 6


@pytest.mark.parametrize("schedule", ["flow", "cosine", "linear"])
def test_the_way_begins_with_as_much_noise_as_was_wished_for(schedule: str):
    den, drawing = denoiser(schedule=schedule), sketch()
    moments = walked(den, drawing, noise=0.4, seed=7)
    assert len(moments) == 6
    shares = [moment.share for moment in moments]
    assert shares == sorted(shares, reverse=True) and shares[0] == pytest.approx(0.4)
    alpha, sigma = (
        (0.6, 0.4)
        if schedule == "flow"
        else (0.6 / math.hypot(0.6, 0.4), 0.4 / math.hypot(0.6, 0.4))
    )
    start = alpha * drawing + sigma * noise_of(den, 7)
    torch.testing.assert_close(moments[0].noisy, start)


def test_what_the_steps_remove_is_the_way(den: Denoiser):
    moments = walked(den, sketch(count=2), sampler="ddpm", noise=0.7)
    for before, after in itertools.pairwise(moments):
        assert torch.equal(before.x, after.noisy)
    gone = sum(moment.removed for moment in moments)
    torch.testing.assert_close(moments[0].noisy - gone, moments[-1].x)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("noise", [0.01, 0.5, 0.99, 1])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_network_that_knows_the_picture_finds_it(
    sampler: str, noise: float, steps: int, knowing: Denoiser
):
    moments = walked(knowing, sketch(), sampler=sampler, noise=noise, steps=steps, label="3")
    grey = torch.full((1, 1, 8, 8), 3 / 4.5 - 1, dtype=torch.float64)
    for moment in moments:
        torch.testing.assert_close(moment.x0, grey)
    torch.testing.assert_close(moments[-1].x, grey)


def test_a_drawing_is_the_same_in_whatever_company(den: Denoiser):
    several = walked(den, sketch(count=3), sampler="dpm++sde", noise=0.6)[-1].x
    alone = walked(den, sketch(count=3)[:1], sampler="dpm++sde", noise=0.6)[-1].x
    torch.testing.assert_close(several[:1], alone)
    other = walked(den, sketch(count=3)[:1], sampler="dpm++sde", noise=0.6, seed=1)[-1].x
    assert not torch.allclose(alone, other)


# --- what it is told ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("switch_at", "steps_before"), [(0, 0), (0.5, 3), (0.7, 4), (1, 6)])
def test_it_is_told_another_label_on_the_way(
    sampler: str, switch_at: float, steps_before: int, knowing: Denoiser
):
    told = {"label": "0", "label_after": "9", "switch_at": switch_at}
    moments = walked(knowing, sketch(), sampler=sampler, noise=0.8, **told)
    assert [moment.label for moment in moments] == ["0"] * steps_before + ["9"] * (6 - steps_before)
    for moment in moments:
        grey = -1.0 if moment.label == "0" else 1.0
        torch.testing.assert_close(moment.x0, torch.full_like(moment.x0, grey))


def test_it_may_be_told_nothing_and_later_something(knowing: Denoiser):
    moments = walked(knowing, sketch(), label_after=2, switch_at=0.5)
    assert [moment.label for moment in moments] == [None] * 3 + ["2"] * 3


def test_guidance_acts_when_something_is_told(den: Denoiser):
    def last(**wish: Any) -> Tensor:
        return walked(den, sketch(), noise=0.6, **wish)[-1].x

    assert torch.equal(last(guidance=4.0), last(guidance=1.0))
    assert not torch.allclose(last(guidance=4.0, label="4"), last(guidance=1.0, label="4"))
    late = {"label_after": "4", "switch_at": 0.5}
    assert not torch.allclose(last(guidance=4.0, **late), last(guidance=1.0, **late))


def test_a_model_without_labels_redraws_too():
    moments = walked(denoiser(labels=()), sketch())
    assert len(moments) == 6 and all(moment.label is None for moment in moments)


def test_a_model_that_reads_redraws_in_silence():
    reads = denoiser(attention=(1,), head_dim=8, text_dim=6, text_context=12)
    *_, drawn = generate(reads, labels=[3], steps=3, seed=5)
    *_, redrawn = redraw(reads, sketch(), Wish(noise=1, label=3, steps=3, seed=5))
    torch.testing.assert_close(redrawn.x, drawn.x)
    *_, untold = redraw(reads, sketch(), Wish(noise=1, steps=3, seed=5))
    assert not torch.allclose(untold.x, drawn.x)


# --- a part that is hidden ------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("noise", [0.5, 1])
def test_what_is_hidden_is_painted_anew_and_the_rest_stays(
    sampler: str, noise: float, knowing: Denoiser
):
    drawing, hidden = sketch(), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    hidden[..., 2:5, 3:] = True
    *_, last = walked(knowing, drawing, sampler=sampler, noise=noise, hidden=hidden, label="9")
    torch.testing.assert_close(last.x, torch.where(hidden, 1.0, drawing))


# --- models for few steps -------------------------------------------------------------------------


@pytest.mark.parametrize("jumps", ["anywhere", "picture"])
def test_a_model_that_jumps_redraws_by_jumps(jumps: str):
    den = denoiser(jumps=jumps)
    how = {"steps": 3, "guidance": 1.5, "seed": 3}
    drawn = list(generate(den, labels=["4"], **how))
    again = walked(den, sketch(), noise=1, label="4", **how)
    for step, moment in zip(drawn, again, strict=True):
        assert torch.equal(step.x, moment.x) and torch.equal(step.x0, moment.x0)
    drawing, hidden = sketch(), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    hidden[..., 4:, :] = True
    told = {"label": "4", "label_after": "5", "switch_at": 0.5}
    moments = walked(den, drawing, noise=0.7, hidden=hidden, **told)
    assert torch.equal(moments[-1].x[..., :4, :], drawing[..., :4, :])
    # What it is shown has as much noise on it as is said, also where its steps end in pictures.
    for moment in moments:
        known = (1 - moment.share) * drawing[..., :4, :]
        assert (moment.noisy[..., :4, :] - known).std() == pytest.approx(moment.share, rel=0.4)
    with pytest.raises(BadInput, match="jump"):
        redraw(den, sketch(), Wish(sampler="euler"))


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise": math.nan}, {"noise": 0}, {"noise": 1.01}, {"noise": True}, {"noise": "0.5"},
        {"noise": None}, {"switch_at": 2}, {"switch_at": math.nan}, {"seed": 1.5}, {"seed": True},
        {"label": "ten"}, {"label": 10}, {"label": "0-3"}, {"label_after": "x", "switch_at": 0.5},
        {"steps": 0}, {"steps": 2.5}, {"sampler": "guess"}, {"guidance": math.inf},
        {"hidden": torch.ones(1, 1, 8, 8)}, {"hidden": torch.ones(1, 1, 9, 9) > 0},
    ],
)  # fmt: skip
def test_a_wrong_wish_is_refused_at_once_in_one_line(wrong: dict[str, Any], den: Denoiser):
    with pytest.raises(BadInput) as refused:
        redraw(den, sketch(), Wish(**{"steps": 4, **wrong}))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "drawing",
    [
        sketch()[0], sketch()[..., :7], sketch()[:0], sketch() * 3, sketch() * math.nan,
        torch.full((1, 1, 8, 8), -1.0), torch.ones(1, 1, 8, 8),
        torch.cat([sketch(), torch.zeros(1, 1, 8, 8)]),
    ],
)  # fmt: skip
def test_a_wrong_or_empty_or_full_drawing_is_refused(drawing: Tensor, den: Denoiser):
    with pytest.raises(BadInput):
        redraw(den, drawing, Wish(steps=4))


def test_nothing_but_noise_needs_no_drawing(den: Denoiser):
    assert len(walked(den, torch.full((1, 1, 8, 8), -1.0), noise=1)) == 6


# --- from a picture -------------------------------------------------------------------------------


def seven(size: int = 280, ink: str = "black", paper: str = "white") -> Image.Image:
    """A seven as somebody draws it, in the upper left corner."""
    picture = Image.new("RGB", (size, size), paper)
    s = size / 280
    line = [(40 * s, 40 * s), (140 * s, 36 * s), (80 * s, 190 * s)]
    ImageDraw.Draw(picture).line(line, fill=ink, width=round(18 * s), joint="curve")
    return picture


@pytest.mark.parametrize(
    "picture", [seven(), seven(ink="white", paper="black"), seven(900, "#204080", "#f0e8d0")]
)
def test_a_picture_becomes_a_drawing_as_mnist_has_them(picture: Image.Image):
    drawing = drawing_of(picture).float().numpy()
    assert drawing.shape == (28, 28) and drawing.max() == 255
    rows, columns = np.nonzero(drawing > 40)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)
    weights = drawing / drawing.sum()
    middle = [(weights.sum(axis=axis) * (np.arange(28) + 0.5)).sum() for axis in (0, 1)]
    assert np.abs(np.array(middle) - 14).max() < 1
    assert (drawing[0].max(), drawing[-1].max()) == (0, 0)


def test_a_drawing_of_the_right_size_stays_as_it_is():
    drawing = drawing_of(seven())
    again = drawing_of(Image.fromarray(drawing.numpy()).convert("RGB"))
    assert torch.equal(again, drawing)
    assert drawing_of(seven(), 32).shape == (32, 32)


@pytest.mark.parametrize("points", [[(3, 3)], [(0, 0), (1999, 1999)], [(5, 100), (1900, 100)]])
def test_specks_and_lines_do_not_get_lost(points: list[tuple[int, int]]):
    picture = Image.new("L", (2000, 2000), 255)
    for point in points:
        picture.putpixel(point, 0)
    assert drawing_of(picture).max() == 255


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_picture_of_nothing_is_refused(grey: int):
    with pytest.raises(BadInput, match="nothing is drawn"):
        drawing_of(Image.new("L", (60, 40), grey))


# --- the model that comes with the package --------------------------------------------------------


@pytest.fixture(scope="module")
def nano() -> Denoiser:
    return load_denoiser("mnist-nano")


def as_read(moment: Moment) -> str:
    ruler = load_ruler("mnist-ruler")
    return ruler.labels[int(look(ruler, as_bytes(moment.x)).logits.argmax())]


def test_a_seven_comes_back_from_some_noise_and_becomes_what_it_is_told_from_much(nano: Denoiser):
    drawing = rearrange(drawing_of(seven()).float() / 127.5 - 1, "y x -> 1 1 y x")
    assert as_read(walked(nano, drawing, noise=0.4)[-1]) == "7"
    assert as_read(walked(nano, drawing, noise=0.95, label="3", steps=12)[-1]) == "3"
    switched = {"label": "7", "label_after": "0", "switch_at": 0.1, "guidance": 2.0}
    assert as_read(walked(nano, drawing, noise=1, steps=12, **switched)[-1]) == "0"


def test_an_erased_half_is_filled_in_so_that_it_is_a_digit(nano: Denoiser):
    drawing = rearrange(drawing_of(seven()).float() / 127.5 - 1, "y x -> 1 1 y x")
    hidden = torch.zeros(28, 28, dtype=torch.bool)
    hidden[15:] = True
    end = walked(nano, drawing, noise=1, label="7", hidden=hidden, steps=20)[-1]
    assert as_read(end) == "7"
    assert torch.equal(end.x[..., :15, :], drawing[..., :15, :])
    assert end.x[..., 15:, :].max() > 0.5
