"""Pictures out of noise: the same ones in whatever batches, of the labels that were asked for."""

import errno
import itertools
import json
import math
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import word_models
from einops import rearrange
from PIL import Image
from torch import Tensor

from mmfm import keepsakes
from mmfm.diffusion.course import course
from mmfm.diffusion.editing import inpaint
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.errors import BadInput, NotHere, OutOfSpace
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.words import Reader
from mmfm.tasks import generate as task
from mmfm.tasks.generate import generate, label_numbers, samples

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Ankle boot", "가방")


def denoiser(
    labels: tuple[str, ...] = DIGITS, sampling: dict[str, Any] | None = None, **config: Any
) -> Denoiser:
    """A small network with weights everywhere: a fresh one says nothing at all."""
    shape = {"image_size": 8, "widths": (8, 16), "depths": (1, 1), "attention": (), "embed": 16}
    den = Denoiser(DenoiserConfig(**{**shape, "classes": len(labels), **config}), labels, sampling)
    draw = torch.Generator().manual_seed(1)
    den.reset(draw)
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=draw)
    den.name = "a-small-one"
    return den.double().eval()


@pytest.fixture(scope="module")
def den() -> Denoiser:
    return denoiser()


def drawn(den: Denoiser, *arguments: Any, **wish: Any) -> Tensor:
    return torch.cat([images for _, images in samples(den, *arguments, **wish)])


# --- step by step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_step_is_shown_from_noise_to_picture(sampler: str, steps: int, den: Denoiser):
    shown = list(generate(den, labels=[3, "7"], steps=steps, sampler=sampler))
    assert len(shown) == steps
    assert all(step.x.shape == step.x0.shape == (2, 1, 8, 8) for step in shown)
    assert all(step.x.isfinite().all() for step in shown)
    times = [step.t for step in shown]
    assert times == sorted(times, reverse=True) and times[0] > 0.8


def test_the_last_picture_is_what_samples_keeps(den: Denoiser):
    *_, last = generate(den, labels=[3, 7, 7], steps=4, guidance=1.5)
    kept = drawn(den, [3, 7, 7], count=3, steps=4, guidance=1.5)
    assert torch.equal(task.as_bytes(last.x), kept)


class Knowing(Denoiser):
    """Answers as if every picture of a label were of one grey, dark for 0 and bright for 9."""

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        grey = rearrange(condition / 4.5 - 1, "b -> b 1 1 1")
        return (x - grey) / rearrange(t, "b -> b 1 1 1")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 5])
def test_the_picture_is_what_the_network_says_of_its_label(sampler: str, steps: int, den: Denoiser):
    knowing = Knowing(den.config, DIGITS).double()
    kept = drawn(knowing, ["0", 9, 3], count=5, steps=steps, sampler=sampler, batch=2)
    assert [image.unique().tolist() for image in kept] == [[0], [255], [85], [0], [255]]


@pytest.mark.parametrize("schedule", ["flow", "cosine", "linear"])
@pytest.mark.parametrize("objective", ["noise", "clean", "velocity", "flow"])
def test_whatever_the_network_was_taught_it_can_be_sampled(schedule: str, objective: str):
    den = denoiser(schedule=schedule, objective=objective)
    for sampler in SAMPLERS:
        *_, last = generate(den, [1, 2], steps=3, sampler=sampler, guidance=2, rescale=0.5)
        assert last.x.isfinite().all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_picture_is_the_same_in_batches_of_any_size(sampler: str, den: Denoiser):
    wish = {"count": 7, "steps": 4, "sampler": sampler, "guidance": 1.5, "seed": 3}
    whole = drawn(den, **wish)
    for batch in (1, 3, 7, 100):
        assert torch.equal(drawn(den, **wish, batch=batch), whole)
    *_, last = generate(den, **wish, batch=2)
    assert torch.equal(task.as_bytes(last.x), whole)
    assert torch.equal(drawn(den, **{**wish, "count": 20})[:7], whole), "more pictures change none"
    assert not torch.equal(drawn(den, **{**wish, "seed": 4}), whole)


def test_noise_is_of_the_bell_curve_and_no_two_draws_are_alike(den: Denoiser):
    asked = task.order(den, count=500, seed=5)
    numbers = torch.arange(500)
    first, second = asked.noise(numbers), asked.noise(numbers, 1)
    for noise in (first, second):
        assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert abs((first * second).mean()) < 0.02
    assert abs((first[:-1] * first[1:]).mean()) < 0.02


def test_nothing_is_computed_for_gradients_and_the_callers_mode_is_left_alone(den: Denoiser):
    for step in generate(den, labels=[1], steps=2):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        assert not step.x.requires_grad
        (step.x.clone().requires_grad_() ** 2).sum().backward()  # not so of an inference tensor


def test_progress_tells_pictures_and_never_goes_back(den: Denoiser):
    told: list[tuple[int, int]] = []
    progress: Callable[[int, int], None] = lambda *now: told.append(now)  # noqa: E731
    done = [done for done, _ in samples(den, count=7, steps=3, batch=3, progress=progress)]
    assert done == [3, 6, 7]
    assert told == sorted(told) and told[-1] == (7, 7) and len(told) == 9


def test_any_number_is_drawn_in_the_memory_of_one_batch(den: Denoiser):
    found = samples(den, count=10**15, steps=1, batch=2)
    assert [done for done, _ in itertools.islice(found, 3)] == [2, 4, 6]


# --- labels ---------------------------------------------------------------------------------------


def test_labels_are_given_by_number_by_name_or_as_a_range(den: Denoiser):
    assert label_numbers(den, None) == tuple(range(10))
    assert label_numbers(den, [3, "7", "0-2", 3]) == (3, 7, 0, 1, 2, 3)
    clothes = denoiser(CLOTHES)
    assert label_numbers(clothes, ["가방", "T-shirt/top", 1, "1", "0-2"]) == (2, 0, 1, 1, 0, 1, 2)
    assert label_numbers(clothes, [None, "Ankle boot"]) == (clothes.null, 1)
    # A name goes before what it could be read as.
    odd = denoiser(("7", "5", "5-7"))
    assert label_numbers(odd, ["5", "7", "5-7", 7, "7-7"]) == (1, 0, 2, 0, 0)
    assert label_numbers(den, 3) == label_numbers(den, "3") == (3,)
    assert (
        label_numbers(den, np.array([3, 7])) == label_numbers(den, torch.tensor([3, 7])) == (3, 7)
    )
    nameless = Denoiser(den.config)
    assert task.names_of(nameless) == DIGITS


@pytest.mark.parametrize("label", [0, 1, "0", "1", "0-3", "3-4", np.int64(0), 2.5, ""])
def test_a_number_is_no_other_digit_than_it_says(label: Any):
    few = denoiser(("3", "7"))
    assert label_numbers(few, [7, "3", np.int64(7)]) == (1, 0, 1)
    with pytest.raises(BadInput, match=r"no label .*; it knows 3, 7"):
        label_numbers(few, [label])


def test_labels_are_taken_in_turn(den: Denoiser):
    turn = drawn(den, [3, 7], count=5, steps=3)
    threes, sevens = (drawn(den, [label], count=5, steps=3) for label in (3, 7))
    assert not torch.equal(threes, sevens)
    assert torch.equal(turn[0::2], threes[0::2]) and torch.equal(turn[1::2], sevens[1::2])


@pytest.mark.parametrize(
    ("labels", "asked", "count"),
    [
        (DIGITS, None, 100),
        (DIGITS, [3], 10),
        (tuple(map(str, range(12))), None, 12),
        ((), None, 16),
    ],
)
def test_without_a_count_a_label_gets_ten_or_one_of_many(
    labels: tuple[str, ...], asked: list[int] | None, count: int
):
    assert task.order(denoiser(labels), asked).count == count


def test_generate_draws_one_picture_a_label(den: Denoiser):
    for labels, count in ((None, 10), ([3, 3, 5], 3), (["0-4"], 5)):
        assert len(next(generate(den, labels=labels, steps=1)).x) == count
    assert len(next(generate(denoiser(()), steps=1)).x) == 1


# --- guidance, and what the model samples best with -----------------------------------------------


def test_guidance_of_1_is_the_model_itself_and_of_0_is_without_a_label(den: Denoiser):
    plain = drawn(den, [3], count=2, steps=3, guidance=1)
    assert torch.equal(
        drawn(den, [None], count=2, steps=3), drawn(den, [3], count=2, guidance=0, steps=3)
    )
    assert not torch.equal(plain, drawn(den, [None], count=2, steps=3))
    strong = drawn(den, [3], count=2, steps=3, guidance=3)
    assert not torch.equal(plain, strong)
    # Of three steps one asks about a time between .5 and .8.
    between = drawn(den, [3], count=2, steps=3, guidance=3, interval=(0.5, 0.8))
    assert not torch.equal(between, plain) and not torch.equal(between, strong)
    assert torch.equal(drawn(den, [3], count=2, steps=3, guidance=3, interval=(0.7, 0.8)), plain)
    calmed = drawn(den, [3], count=2, steps=3, guidance=3, rescale=1)
    assert not torch.equal(calmed, strong) and not torch.equal(calmed, plain)


def test_what_is_not_said_is_as_the_model_samples_best(den: Denoiser):
    assert task.chosen(den) == task.Sampling()
    best = {"sampler": "heun", "steps": 5, "guidance": 1.5, "interval": [0.25, 0.75]}
    own = denoiser(sampling=best)
    how = task.chosen(own)
    assert how == task.Sampling("heun", 5, 1.5, (0.25, 0.75))
    assert task.chosen(own, steps=2, guidance=1).interval == (0.25, 0.75)
    wish = {"steps": 5, "guidance": 1.5, "interval": (0.25, 0.75), "sampler": "heun"}
    assert torch.equal(drawn(own, count=3), drawn(den, count=3, **wish))
    assert not torch.equal(drawn(own, count=3), drawn(own, count=3, sampler="euler"))


def test_a_model_without_labels_draws_and_cannot_be_guided():
    den = denoiser((), channels=3)
    assert drawn(den, count=5, steps=2).shape == (5, 8, 8, 3)
    assert task.order(den).kind(3) is None
    with pytest.raises(BadInput, match="knows no labels that it could be guided to"):
        samples(den, guidance=2.0)
    with pytest.raises(BadInput, match="was trained without any"):
        samples(den, [1])


# --- models for few steps -------------------------------------------------------------------------

JUMPS = pytest.mark.parametrize("jumps", ["anywhere", "picture"])


@JUMPS
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_model_for_few_steps_is_drawn_with_by_jumps(jumps: str, steps: int):
    den = denoiser(jumps=jumps)
    assert task.samplers_of(den) == ("jump",)
    assert task.chosen(den).sampler == "jump"
    shown = list(generate(den, [3, None], steps=steps))
    assert len(shown) == steps and all(step.x.isfinite().all() for step in shown)
    assert torch.equal(shown[-1].x, shown[-1].x0)


def test_each_jump_is_told_where_it_leads():
    told: list[tuple[float, float]] = []

    class Listening(Denoiser):
        def forward(
            self, x: Tensor, t: Tensor, condition: Tensor | None = None, to: Tensor | None = None
        ) -> Tensor:
            assert to is not None
            told.append((float(t[0]), float(to)))
            return super().forward(x, t, condition, to)

    den = Listening(denoiser(jumps="anywhere").config, DIGITS).double()
    list(generate(den, steps=2, guidance=1.5, count=3, batch=2))
    # Guidance asks about six pictures, which are three batches of two.
    assert told == [(1.0, 0.5)] * 3 + [(0.5, 0.0)] * 3


@JUMPS
def test_a_jumped_picture_is_the_same_in_batches_of_any_size(jumps: str):
    den = denoiser(jumps=jumps)
    wish = {"count": 7, "steps": 3, "guidance": 1.5, "seed": 3}
    whole = drawn(den, **wish)
    for batch in (1, 3, 100):
        assert torch.equal(drawn(den, **wish, batch=batch), whole)
    assert not torch.equal(drawn(den, **{**wish, "seed": 4}), whole)
    assert not torch.equal(drawn(den, **{**wish, "guidance": 1.0}), whole)


def test_a_consistency_model_takes_fresh_noise_at_each_further_step():
    den = denoiser(jumps="picture")
    asked = task.order(den, [1], count=2, seed=5, how=task.chosen(den, steps=2))
    first, second = asked.steps(torch.arange(2))
    kinds, half = torch.tensor([1, 1]), torch.full((2,), 0.5).double()
    with torch.no_grad():
        noise = asked.noise(torch.arange(2))
        picture = noise - den(noise, torch.ones(2).double(), kinds)
        torch.testing.assert_close(first.x, picture)
        x = 0.5 * picture + 0.5 * asked.noise(torch.arange(2), 1)
        torch.testing.assert_close(second.x, x - 0.5 * den(x, half, kinds))


def test_steps_that_a_model_for_few_was_never_taught_are_said_in_a_line():
    def said(den: Denoiser, steps: int) -> list[str]:
        lines: list[str] = []
        task.order(den, how=task.chosen(den, steps=steps), warn=lines.append)
        return lines

    den = denoiser(sampling={"steps": 2}, jumps="anywhere")
    # One of before does not say what it was taught, but what it draws best in.
    for taught, known, right, wrong in (
        (None, "1 or 2 steps", (1, 2), 4),
        ((2,), "2 steps", (2,), 1),
        ((1,), "1 step", (1,), 2),
        ((1, 2, 4, 8), "1, 2, 4 or 8 steps", (1, 2, 4, 8), 16),
    ):
        den.taught = taught
        assert [said(den, steps) for steps in right] == [[] for _ in right]
        [line] = said(den, wrong)
        assert line.startswith(f"a-small-one was taught to draw in {known}, and never in {wrong}: ")
        with pytest.warns(UserWarning, match=f"never in {wrong}"):
            generate(den, steps=wrong)
    den.taught = ()
    for free in (den, denoiser(jumps="picture"), denoiser()):
        assert said(free, 5) == []


@JUMPS
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_model_for_few_steps_refuses_other_samplers(jumps: str, sampler: str):
    with pytest.raises(BadInput, match="made for few steps, and draws by jump alone") as caught:
        generate(denoiser(jumps=jumps), sampler=sampler)
    assert "\n" not in str(caught.value)


def test_an_ordinary_model_refuses_to_jump(den: Denoiser):
    assert task.samplers_of(den) == tuple(SAMPLERS)
    for refused in (
        lambda: generate(den, sampler="jump"),
        lambda: task.order(den, how=task.Sampling("jump", 2)),
        lambda: generate(denoiser(sampling={"sampler": "jump"})),
    ):
        with pytest.raises(
            BadInput, match="only knows small steps; mmfm train few-steps"
        ) as caught:
            refused()
        assert "\n" not in str(caught.value)


def test_a_way_may_begin_anywhere_and_go_by_way_of_something_else(den: Denoiser):
    x, labels = torch.randn(2, 1, 8, 8).double(), torch.tensor([3, 4])
    how = task.Sampling("heun", 4, 1.5)
    way = course("flow", 4)
    *_, whole = task.walk(den, how, x, way, labels, noise=lambda: x)
    half = list(task.walk(den, how, x, way.last(2), labels, noise=lambda: x))
    assert len(half) == 2 and not torch.equal(half[-1].x, whole.x)
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[2:5] = True
    picture = torch.rand(2, 1, 8, 8).double()
    for one in (den, denoiser(jumps="anywhere"), denoiser(jumps="picture")):
        via = partial(inpaint, picture=picture, hidden=hidden)
        chosen = how if one is den else task.Sampling("jump", 4)
        *_, last = task.walk(one, chosen, x, way, labels, noise=lambda: x, via=via)
        assert torch.equal(last.x[..., ~hidden], picture[..., ~hidden])
        assert not torch.equal(last.x[..., hidden], picture[..., hidden])


# --- prompts --------------------------------------------------------------------------------------

PROMPTS = ("red heart", "웃는 얼굴", "cat with sunglasses")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(word_models.make_clip())


@pytest.fixture(scope="module")
def emoji(reader: Reader) -> Denoiser:
    """Draws two hands, and what it is told in words."""
    den = word_models.make_denoiser(reader).double()
    den.name = "emoji"
    return den


def test_a_prompt_is_drawn_and_others_are_drawn_otherwise(emoji: Denoiser, reader: Reader):
    *_, last = generate(emoji, prompt="red heart", reader=reader)
    assert last.x.shape == (1, 3, 16, 16) and last.x.isfinite().all()
    *_, several = generate(emoji, prompt=list(PROMPTS), reader=reader)
    assert len(several.x) == 3
    torch.testing.assert_close(several.x[:1], last.x)
    # From one noise, so that nothing differs but the words.
    *_, other = generate(emoji, prompt="blue heart", reader=reader)
    assert (other.x - last.x).abs().max() > 0.05
    *_, silent = generate(emoji, labels=[None], reader=reader)
    assert (silent.x - last.x).abs().max() > 0.05


def test_prompts_are_taken_in_turn_beside_labels(emoji: Denoiser, reader: Reader):
    wish: dict[str, Any] = {"prompt": PROMPTS, "reader": reader, "steps": 2}
    turn = drawn(emoji, **wish, count=7)
    for number, text in enumerate(PROMPTS):
        alone = drawn(emoji, prompt=text, reader=reader, steps=2, count=7)
        assert torch.equal(turn[number::3], alone[number::3])
    hands = drawn(emoji, ["noto", None], **wish, count=6)
    asked = task.order(emoji, ["noto", None], prompt=PROMPTS, reader=reader, count=6)
    told = [(asked.kind(number), asked.prompt(number)) for number in range(6)]
    assert told[:4] == [
        ("noto", "red heart"), (None, "웃는 얼굴"), ("noto", "cat with sunglasses"),
        (None, "red heart"),
    ]  # fmt: skip
    assert len(set(told)) == 6
    first = drawn(emoji, ["noto"], prompt="red heart", reader=reader, steps=2, count=1)
    assert torch.equal(hands[:1], first)


def test_each_prompt_can_be_drawn_with_each_label(emoji: Denoiser, reader: Reader):
    labels = task.crossed(emoji, ["noto", "fluent_flat"], PROMPTS[:2])
    assert labels == ("noto", "noto", "fluent_flat", "fluent_flat")
    asked = task.order(emoji, labels, prompt=PROMPTS[:2], reader=reader)
    assert asked.count == 40
    assert [(asked.kind(n), asked.prompt(n)) for n in range(4)] == [
        ("noto", "red heart"), ("noto", "웃는 얼굴"),
        ("fluent_flat", "red heart"), ("fluent_flat", "웃는 얼굴"),
    ]  # fmt: skip
    assert task.crossed(emoji, ["0-1", None], "red heart") == ("noto", "fluent_flat", None)


def test_without_a_count_a_prompt_gets_ten_pictures_or_one_of_many(emoji: Denoiser, reader: Reader):
    many = [f"red heart {number}" for number in range(11)]
    for prompt, labels, count in (
        ("red heart", None, 10),
        (PROMPTS, None, 30),
        (many, None, 11),
        (PROMPTS, ["noto", "fluent_flat"], 60),
        (None, None, 20),
    ):
        asked = task.order(emoji, labels, prompt=prompt, reader=reader)
        assert asked.count == count
    assert task.order(emoji, prompt="red heart", reader=reader).kinds == (emoji.null,)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm++sde"])
def test_what_is_drawn_of_words_is_the_same_in_batches_of_any_size(
    sampler: str, emoji: Denoiser, reader: Reader
):
    wish: dict[str, Any] = {"prompt": PROMPTS, "reader": reader, "steps": 3, "sampler": sampler}
    whole = drawn(emoji, **wish, count=5)
    for batch in (1, 2, 100):
        assert torch.equal(drawn(emoji, **wish, count=5, batch=batch), whole)
    assert torch.equal(drawn(emoji, **wish, count=8)[:5], whole)


def test_guidance_leads_away_from_silence(emoji: Denoiser, reader: Reader):
    wish: dict[str, Any] = {"count": 2, "steps": 3, "reader": reader}
    plain = drawn(emoji, ["noto"], prompt="red heart", **wish, guidance=1)
    # Guided by nothing at all it is what is drawn without words, and without a label.
    nothing = drawn(emoji, ["noto"], prompt="red heart", **wish, guidance=0)
    assert torch.equal(nothing, drawn(emoji, [None], count=2, steps=3, guidance=1))
    strong = drawn(emoji, ["noto"], prompt="red heart", **wish, guidance=3)
    assert not torch.equal(plain, strong) and not torch.equal(plain, nothing)
    asked: list[int] = []

    class Counted(Denoiser):
        def forward(self, x: Tensor, *told: Any, **more: Any) -> Tensor:
            asked.append(len(x))
            return super().forward(x, *told, **more)

    counted = Counted(emoji.config, emoji.labels).double()
    counted.load_state_dict(emoji.state_dict())
    *_, last = generate(counted, ["noto"], "red heart", **wish, guidance=3)
    assert asked == [4, 4, 4], "both answers come from one batch"
    assert torch.equal(task.as_bytes(last.x), strong)


def test_a_model_that_knows_words_and_no_labels_is_guided_by_them(reader: Reader):
    den = word_models.make_denoiser(reader)
    den = Denoiser(replace(den.config, classes=0)).double()
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    wish: dict[str, Any] = {"prompt": "red heart", "reader": reader, "count": 2, "steps": 3}
    assert not torch.equal(drawn(den, **wish, guidance=3), drawn(den, **wish))
    assert drawn(den, count=2, steps=3, guidance=3).shape == (2, 16, 16, 3)


def test_who_reads_is_found_by_the_model_itself(tmp_path: Path):
    den = load_denoiser(str(word_models.save_both(tmp_path)))
    reader = Reader(word_models.make_clip())
    own = drawn(den, prompt="red heart", count=2, steps=2)
    assert torch.equal(own, drawn(den, prompt="red heart", reader=reader, count=2, steps=2))


def test_what_is_not_read_as_it_is_meant_is_a_warning(emoji: Denoiser, reader: Reader):
    with pytest.warns(UserWarning, match="does not know the words of 'сердце'") as caught:
        generate(emoji, prompt=["сердце", "red heart"], reader=reader)
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(UserWarning, match="longer than the 12 pieces that are read; cut"):
        samples(emoji, prompt="red heart " * 9, reader=reader)
    lines: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.order(emoji, prompt="сердце", reader=reader, warn=lines.append)
        generate(emoji, prompt="red heart", reader=reader)
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "an empty prompt: say what is to be drawn"),
        ([" \n"], "an empty prompt"),
        ([], "an empty list of prompts"),
        (3, "a prompt is a text, not int: 3"),
        (["red heart", None], "a prompt is a text, not NoneType"),
        ("x" * 2001, "a prompt of 2,001 letters, 'xxx.*say it in 2,000 at most"),
        ("heart \udcff", "no text, for halves of letters are in it"),
    ],
    ids=lambda prompt: repr(prompt)[:20],
)
def test_a_prompt_that_says_nothing_is_one_line(
    prompt: Any, said: str, emoji: Denoiser, reader: Reader
):
    for function in (generate, samples, task.order):
        with pytest.raises(BadInput, match=said) as caught:
            function(emoji, prompt=prompt, reader=reader)
        assert "\n" not in str(caught.value)
        f"{caught.value}".encode()


def test_a_prompt_to_the_wrong_model_or_reader_is_one_line(
    den: Denoiser, emoji: Denoiser, reader: Reader
):
    unlabelled = denoiser(())
    other = Reader(word_models.make_clip(seed=9))
    for call, said in (
        (lambda: generate(den, prompt="cat"), "'cat': a-small-one reads no words; it knows 0, 1"),
        (lambda: generate(unlabelled, prompt="cat"), "reads no words; it has no labels either"),
        (lambda: generate(emoji, prompt="cat", reader=other), "take both from one release"),
        (lambda: generate(emoji, ["blob"], "cat", reader), "no label 'blob' in emoji"),
        (lambda: task.Order(emoji, (), 1, 0, task.chosen(emoji), ("cat",)), "prompts are read by"),
    ):
        with pytest.raises(BadInput, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(NotHere, match=r"emoji learned to read with clip-none \(.*: no model"):
        named = word_models.make_denoiser(reader, reads="clip-none")
        named.name = "emoji"
        generate(named, prompt="cat")


def test_prompts_are_remembered_by_what_is_drawn(emoji: Denoiser, reader: Reader, tmp_path: Path):
    how = task.chosen(emoji, steps=2)
    asked = task.order(emoji, ["noto"], prompt=PROMPTS[:2], reader=reader, count=6, seed=2, how=how)
    assert asked.told() == (
        "6 pictures of 'red heart', '웃는 얼굴' by emoji: euler, 2 steps, guidance 2, seed 2"
    )
    once = task.order(emoji, prompt="cat", reader=reader, how=task.chosen(emoji, steps=1))
    assert ": euler, 1 step, guidance 2" in once.told()
    task.write_grid(asked, tmp_path / "a.png")
    task.write_film(asked, tmp_path / "a.gif")
    for name in ("a.png", "a.gif"):
        about = keepsakes.about((tmp_path / name).read_bytes())
        assert about == json.loads(json.dumps(asked.about()))
        assert about["prompts"] == list(PROMPTS[:2]) and about["labels"] == ["noto"]
    with Image.open(tmp_path / "a.png") as sheet:
        kept = tiles(sheet, columns=2, side=16).flatten(0, 1)
    images = drawn(
        emoji, about["labels"], prompt=about["prompts"], reader=reader, count=6, seed=2, steps=2
    )
    assert torch.equal(kept, images), "a column a prompt"
    task.write_files(asked, tmp_path / "files")
    names = [
        "noto_red_heart-0000",
        "noto_red_heart-0002",
        "noto_red_heart-0004",
        "noto_웃는_얼굴-0001",
        "noto_웃는_얼굴-0003",
        "noto_웃는_얼굴-0005",
    ]
    assert sorted(path.stem for path in (tmp_path / "files").iterdir()) == names
    about = keepsakes.about((tmp_path / "files" / f"{names[4]}.png").read_bytes())
    assert (about["prompt"], about["label"], about["number"]) == ("웃는 얼굴", "noto", 3)
    assert "prompt" not in task.order(emoji, ["noto"]).about(0)


def test_one_prompt_with_several_labels_has_a_column_a_label(
    emoji: Denoiser, reader: Reader, tmp_path: Path
):
    asked = task.order(
        emoji, ["noto", "fluent_flat"], prompt="red heart", reader=reader, count=6,
        how=task.chosen(emoji, steps=1),
    )  # fmt: skip
    task.write_grid(asked, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        kept = tiles(sheet, columns=2, side=16)
    noto = drawn(emoji, ["noto"], prompt="red heart", reader=reader, count=6, steps=1)
    assert torch.equal(kept[:, 0], noto[::2])


def test_what_no_picture_holds_is_refused_before_it_is_drawn(tmp_path: Path):
    latents = denoiser(channels=4)
    drawing: list[tuple[int, int]] = []
    for write in (task.write_grid, task.write_film, task.write_files):
        with pytest.raises(BadInput, match="draws in 4 channels, and a picture has 1 or 3"):
            write(task.order(latents), tmp_path / "a", lambda *now: drawing.append(now))
    assert not drawing and not list(tmp_path.iterdir())


@pytest.mark.parametrize("many", ["labels", "prompts"])
def test_what_a_sheet_cannot_remember_is_refused_before_it_is_drawn(
    many: str, den: Denoiser, emoji: Denoiser, reader: Reader, tmp_path: Path
):
    drawing: list[tuple[int, int]] = []
    if many == "labels":
        asked = task.order(denoiser(tuple(f"label number {n}" for n in range(5000))))
    else:
        asked = task.order(emoji, prompt=[f"heart {n}" for n in range(10_000)], reader=reader)
    for write in (task.write_grid, task.write_film):
        with pytest.raises(BadInput, match=r"bytes of settings; .* --out DIR/") as caught:
            write(asked, tmp_path / "a", lambda *now: drawing.append(now))
        assert "\n" not in str(caught.value)
    assert not drawing and list(tmp_path.iterdir()) == []
    few = replace(asked, count=3, how=task.chosen(asked.den, steps=1))
    task.write_files(few, tmp_path / "files")
    assert len(list((tmp_path / "files").iterdir())) == 3


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"labels": [10]}, "no label 10 in a-small-one; it knows 0, 1, 2"),
        ({"labels": [-1]}, "no label -1"),
        ({"labels": ["cat"]}, "no label 'cat'"),
        ({"labels": [True]}, "no label True"),
        ({"labels": [1.0]}, r"no label 1\.0"),
        ({"labels": ["0-999999999"]}, "no label '10'"),
        ({"labels": ["9" * 5000]}, "no label '999"),
        ({"labels": ["7-3"]}, "a range goes up, 3-7"),
        ({"labels": []}, "an empty list of labels"),
        ({"seed": 1.5}, r"seed 1\.5: a whole number"),
        ({"seed": None}, "seed None: a whole number"),
        ({"count": 0}, "0 pictures: ask for one at least"),
        ({"count": -5}, "-5 pictures"),
        ({"count": 2.5}, r"2\.5 pictures: .* a whole number"),
        ({"steps": 0}, "0 steps: from 1 to 10,000"),
        ({"steps": 10**9}, "1000000000 steps"),
        ({"steps": 2.5}, r"2\.5 steps"),
        ({"sampler": "eular"}, "no sampler 'eular': there are "),
        ({"guidance": math.nan}, "guidance of nan"),
        ({"guidance": math.inf}, "guidance of inf"),
        ({"guidance": -1.0}, r"guidance of -1\.0"),
        ({"guidance": 1e30}, r"guidance of 1e\+30: it is a number from 0 to 1,000"),
        ({"interval": (0.5, 0.5)}, "the lower one first"),
        ({"interval": (math.nan, 1.0)}, r"times \(nan, 1"),
        ({"interval": (0.0, 2.0)}, r"times \(0\.0, 2"),
        ({"rescale": 2.0}, r"rescale of 2\.0"),
        ({"batch": 0}, "batches of 0"),
        ({"batch": math.nan}, "batches of nan: .* a whole number"),
    ],
)
@pytest.mark.parametrize("function", [generate, samples])
def test_a_mistake_is_one_line_before_the_first_step(
    function: Callable[..., object], wish: dict[str, Any], said: str, den: Denoiser
):
    with pytest.raises(BadInput, match=said) as caught:
        function(den, **wish)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers(den: Denoiser):
    how = task.chosen(den, steps=np.int64(2), guidance=np.float32(1.5), interval=(np.float32(0), 1))
    assert how == task.chosen(den, steps=2, guidance=1.5, interval=(0.0, 1.0))
    asked = task.order(den, [3], count=np.int64(2), seed=np.int64(1), how=how)
    assert json.loads(json.dumps(asked.about()))["guidance"] == 1.5
    assert torch.equal(drawn(den, [3], count=np.int64(2), seed=1), drawn(den, [3], count=2, seed=1))


def test_the_strongest_guidance_still_draws_numbers(den: Denoiser):
    *_, last = generate(den.float(), [3], guidance=1000.0, steps=50)
    assert last.x.isfinite().all()


@pytest.mark.parametrize(
    "sampling",
    [
        {"steps": "x"},
        {"steps": 0},
        {"interval": 5},
        {"interval": [0.5]},
        {"guidance": math.nan},
        {"guidance": True},
        {"sampler": "x"},
        {"rescale": None},
        {"shift": 2.0},
    ],
)
def test_a_damaged_setting_of_the_model_is_a_clear_line_too(sampling: dict[str, Any]):
    with pytest.raises(BadInput) as caught:
        generate(denoiser(sampling=sampling))
    assert "\n" not in str(caught.value)


# --- what is kept ---------------------------------------------------------------------------------


def test_bytes_are_rounded_cut_off_and_never_not_a_number():
    x = torch.tensor([-9.0, -1.0, 0.0, 0.5, 1.0, math.inf, -math.inf, math.nan])
    kept = task.as_bytes(rearrange(x, "x -> 1 1 1 x"))
    assert kept.shape == (1, 1, 8, 1) and kept.dtype == torch.uint8
    assert kept.flatten().tolist() == [0, 0, 128, 191, 255, 255, 0, 128]


def tiles(sheet: Image.Image, columns: int, side: int = 8) -> Tensor:
    """The pictures of a sheet again, by their place: row, column."""
    k = (sheet.width) // (columns * (side + 1) - 1)
    small = torch.from_numpy(np.array(sheet))[k // 2 :: k, k // 2 :: k]
    rows = (len(small) + 1) // (side + 1)
    assert small.shape[1] == columns * (side + 1) - 1
    return torch.stack(
        [
            torch.stack(
                [small[(side + 1) * r :, (side + 1) * c :][:side, :side] for c in range(columns)]
            )
            for r in range(rows)
        ]
    )


def test_a_grid_has_a_column_a_label_and_says_how_it_was_made(den: Denoiser, tmp_path: Path):
    asked = task.order(den, [3, 7, 5], count=12, seed=2, how=task.chosen(den, steps=2))
    task.write_grid(asked, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        note = json.loads(sheet.text["mmfm"])
        found = tiles(sheet, columns=3)
    kept = drawn(den, [3, 7, 5], count=12, seed=2, steps=2)[..., 0]
    assert torch.equal(found.flatten(0, 1), kept)
    assert torch.equal(found[:, 1], drawn(den, [7], count=12, seed=2, steps=2)[1::3, ..., 0])
    assert note["labels"] == ["3", "7", "5"] and note["seed"] == 2 and note["count"] == 12
    assert note["model"] == "a-small-one" and note["steps"] == 2


def test_one_picture_each_of_many_labels_is_no_strip(tmp_path: Path):
    many = denoiser(tuple(map(str, range(30))))
    task.write_grid(task.order(many, how=task.chosen(many, steps=1)), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        assert 0.5 < sheet.width / sheet.height < 2


def test_a_film_begins_with_noise_and_ends_with_the_grid(den: Denoiser, tmp_path: Path):
    for steps, frames in ((3, 4), (1, 2), (200, 60)):
        asked = task.order(den, [1, 2], count=4, seed=2, how=task.chosen(den, steps=steps))
        told: list[tuple[int, int]] = []
        task.write_film(asked, tmp_path / "a.gif", lambda *now: told.append(now))  # noqa: B023
        task.write_grid(asked, tmp_path / "a.png")
        with Image.open(tmp_path / "a.gif") as film, Image.open(tmp_path / "a.png") as sheet:
            assert film.n_frames == frames
            noise = task.as_bytes(asked.noise(torch.arange(4)))[..., 0]
            first = tiles(film.convert("L"), columns=2).flatten(0, 1)
            assert (first.int() - noise.int()).abs().max() <= 2  # a GIF has its own palette
            film.seek(frames - 1)
            last = np.asarray(film.convert("L"), int)
            assert np.abs(last - np.asarray(sheet.convert("L"), int)).max() <= 2
        assert told == sorted(told) and told[-1] == (4, 4)


def test_each_picture_gets_a_file_that_says_how_it_can_be_had_again(tmp_path: Path):
    clothes = denoiser(CLOTHES, channels=3)
    asked = task.order(clothes, count=4, seed=9, how=task.chosen(clothes, steps=2))
    told: list[tuple[int, int]] = []
    task.write_files(asked, tmp_path / "out", lambda *now: told.append(now))
    names = ["Ankle_boot-0001.png", "T-shirt_top-0000.png", "T-shirt_top-0003.png", "가방-0002.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert told[-1] == (4, 4)
    kept = drawn(clothes, count=4, seed=9, steps=2)
    for name in names:
        with Image.open(tmp_path / "out" / name) as picture:
            note = json.loads(picture.text["mmfm"])
            assert torch.equal(torch.from_numpy(np.array(picture)), kept[note["number"]])
        wish = {key: note[key] for key in ("seed", "steps", "sampler", "guidance")}
        again = drawn(clothes, [note["label"]], count=note["number"] + 1, **wish)[-1]
        assert torch.equal(again, kept[note["number"]])


def test_a_long_sheet_is_not_enlarged_and_no_film_is_longer_than_its_format_allows(
    den: Denoiser, tmp_path: Path
):
    asked = task.order(den, [3, 7], count=2000, how=task.chosen(den, steps=1))
    task.write_grid(asked, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (2 * 9 - 1, 1000 * 9 - 1)
    task.write_film(asked, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (17, 8999)
    long = task.order(den, [3, 7], count=16_000, how=task.chosen(den, steps=1))
    with pytest.raises(BadInput, match="16,000 pictures do not fit on one sheet of at most 14,5"):
        task.write_film(long, tmp_path / "b.gif")


def test_too_many_for_a_sheet_are_sent_to_a_folder_before_any_work(den: Denoiser, tmp_path: Path):
    asked = task.order(den, count=10**9)
    for write in (task.write_grid, task.write_film):
        with pytest.raises(BadInput, match=r"1,000,000,000 pictures do not fit .* --out DIR/"):
            write(asked, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("write", "fits"), [("grid", 0), ("film", 0), ("files", 3)])
def test_a_full_disk_leaves_nothing_half_written(
    write: str, fits: int, den: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = task.order(den, count=5, how=task.chosen(den, steps=1))
    room = iter(range(fits))
    fsync = os.fsync

    def full(handle: int) -> None:
        if stat.S_ISREG(os.fstat(handle).st_mode) and next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace, match="no space left to write"):
        getattr(task, f"write_{write}")(asked, tmp_path / "a")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == fits
    for path in files:
        with Image.open(path) as picture:
            picture.load()


def test_sheets_and_films_remember_how_they_were_made(den: Denoiser, tmp_path: Path):
    asked = task.order(den, [1, 2], count=4, seed=2, how=task.chosen(den, steps=2))
    task.write_grid(asked, tmp_path / "a.png")
    task.write_film(asked, tmp_path / "a.gif")
    for name in ("a.png", "a.gif"):
        about = keepsakes.about((tmp_path / name).read_bytes())
        assert about == json.loads(json.dumps(asked.about()))
