"""Out of the Noise answers scripts, keeps within its limits, and takes nothing on trust."""

import base64
import html
import io
import json
import math
import re
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
import visitors
from diffusers import DDPMPipeline, DDPMScheduler
from gradio_client import Client, handle_file
from mmfm.demos import app, denoise, patches, way
from mmfm.demos.denoise import OutOfTheNoise, Visit
from mmfm.demos.denoise_asked import LIMITS, NAMES, as_asked, from_link, refitted
from mmfm.demos.page import Context
from mmfm.demos.parts import script
from mmfm.demos.words_denoise import WORDS
from PIL import Image, ImageDraw, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo
from stock_unet import stock_unet

from mmfm import hub, keepsakes
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.errors import BadInput, NotHere
from mmfm.models.checkpoints import load_denoiser, save_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.tasks.generate import as_bytes
from mmfm.tasks.redraw import Wish, drawing_of, redraw

SAY = WORDS["en"]


def seven() -> Image.Image:
    """A seven, dark on bright paper."""
    picture = Image.new("RGB", (280, 280), "white")
    line = [(80, 60), (200, 56), (140, 230)]
    ImageDraw.Draw(picture).line(line, fill="black", width=18, joint="curve")
    return picture


def text64(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=np.uint8).tobytes()).decode()


SEVEN = text64(drawing_of(seven()).numpy())
ERASED = np.zeros((28, 28), bool)
ERASED[16:] = True
USUAL = load_denoiser("mnist-nano").sampling["guidance"]  # of the model that the page begins with
WISH: dict[str, Any] = {
    "drawing": SEVEN, "hidden": None, "noise": 0.4, "label": None, "label_after": None,
    "switch_at": None, "steps": 6, "sampler": "euler", "guidance": USUAL, "seed": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def page() -> OutOfTheNoise:
    return OutOfTheNoise(Context("cpu"))


@pytest.fixture
def visit(page: OutOfTheNoise) -> Visit:
    return page.first_visit("en")


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What visitors are told."""
    heard: list[str] = []
    monkeypatch.setattr(gr, "Warning", heard.append)
    return heard


def event(**data: Any) -> Any:
    return SimpleNamespace(**data)


def sent(update: Any, name: str) -> Any:
    """What one part of the stage is sent, as JSON would carry it."""
    return json.loads(json.dumps(update.props[name]))


def news_of(shown: Iterator[Any]) -> list[dict[str, Any]]:
    updates = [part for _, part in shown]
    return [sent(part, "news") for part in updates if hasattr(part, "props")]


def walked(page: OutOfTheNoise, visit: Visit, turn: int = 1, **wish: Any) -> list[dict[str, Any]]:
    return news_of(page.go(visit, event(turn=turn, **{**WISH, **wish})))


def as_image(text: str, channels: int = 1) -> np.ndarray[Any, Any]:
    values = np.frombuffer(base64.b64decode(text), np.uint8)
    side = math.isqrt(len(values) // channels)
    return values.reshape(side, side, channels)


# --- words ----------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps():
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        assert others <= gaps, key
        # Korean has no article, and where it knows the language, no reason of English words.
        assert gaps - others <= {"a"} or key == "unreadable", key


def test_every_word_that_is_asked_for_is_there():
    code = "".join(script(f"{part}.js") for part in denoise.SCRIPTS)
    asked = set(re.findall(r"\b(?:say|data\.words)\.(\w+)", code))
    assert len(asked) > 60 and asked <= SAY.keys()
    assert LIMITS.keys() <= SAY.keys()
    assert {f"sampler_{name}" for name in (*SAMPLERS, "jump")} <= SAY.keys()


# --- a way ----------------------------------------------------------------------------------------


def test_the_browser_gets_every_step_as_the_task_walks_it(page: OutOfTheNoise, visit: Visit):
    den = page.den("mnist-nano")
    *_, last = walked(page, visit)
    assert last["over"] and not last["halted"] and last["total"] == 6
    drawing = drawing_of(seven()).float()[None, None] / 127.5 - 1
    wish = Wish(noise=0.4, steps=6, sampler="euler", guidance=1.15, seed=5)
    moments = list(redraw(den, drawing, wish))
    assert len(last["frames"]) == len(moments) == 6
    assert np.array_equal(as_image(last["frames"][0]["noisy"]), as_bytes(moments[0].noisy)[0])
    for frame, moment in zip(last["frames"], moments, strict=True):
        assert np.array_equal(as_image(frame["noisy"]), as_bytes(moment.noisy)[0])
        assert np.array_equal(as_image(frame["x0"]), as_bytes(moment.x0)[0])
        change = as_image(frame["removed"]).view(np.int8)[..., 0].astype(float)
        gone = moment.removed[0, 0].numpy()
        assert np.corrcoef(change.ravel(), gone.ravel())[0, 1] > 0.98
        assert np.abs(change).max() == 127
        assert frame["share"] == pytest.approx(moment.share) and frame["label"] is None
    assert last["result"][0] == "7" and last["result"][1] > 0.8
    assert last["frames"][-1]["reads"][0] == "7"


def test_no_step_is_lost_on_whoever_hears_every_other_message(
    page: OutOfTheNoise, visit: Visit, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(way, "TOLD", 0.0)  # a message a step
    told = walked(page, visit, steps=9)[1:]  # after the first, which says that it begins
    assert len(told) == 10
    ends = [news["first"] + len(news["frames"]) for news in told]
    assert ends == [*range(1, 10), 9]
    for before, after in zip(told, told[2:], strict=False):
        assert after["first"] <= before["first"] + len(before["frames"])


def test_a_switched_label_and_an_erased_part_are_told_and_kept(page: OutOfTheNoise, visit: Visit):
    *_, last = walked(page, visit, label="7", label_after="3", switch_at=0.5, noise=1)
    assert [frame["label"] for frame in last["frames"]] == ["7"] * 3 + ["3"] * 3
    *_, last = walked(page, visit, turn=2, hidden=text64(np.packbits(ERASED)), noise=1)
    assert np.array_equal(as_image(last["end"])[:16, :, 0], as_image(SEVEN)[:16, :, 0])
    assert not np.array_equal(as_image(last["end"])[16:], as_image(SEVEN)[16:])


class Slow(Denoiser):
    """A model that thinks for a while."""

    def forward(self, *args: Any, **more: Any) -> torch.Tensor:
        time.sleep(0.2)
        return super().forward(*args, **more)


def test_a_way_that_is_halted_ends_within_a_second_and_gives_the_device_back(
    page: OutOfTheNoise, visit: Visit, monkeypatch: pytest.MonkeyPatch
):
    den = page.den("mnist-nano")
    monkeypatch.setattr(den, "__class__", Slow)
    halted: list[float] = []

    def halt() -> None:
        halted.append(time.monotonic())
        page.halt(visit, event(turn=4))

    threading.Timer(0.7, halt).start()
    told = walked(page, visit, turn=4, steps=100)
    assert time.monotonic() - halted[0] < 5
    assert told[-1]["over"] and told[-1]["halted"] and 1 <= len(told[-1]["frames"]) < 10
    assert 4 not in visit.ways
    monkeypatch.undo()
    assert walked(page, visit, turn=5)[-1]["halted"] is False


def test_a_way_that_was_stopped_is_not_forgotten_when_a_later_one_is(
    page: OutOfTheNoise, visit: Visit
):
    """Both wait for the device, and neither has looked yet."""
    for turn in (4, 5, 3):
        page.halt(visit, event(turn=turn))
    for turn in (3, 4, 5):
        *_, last = walked(page, visit, turn, steps=50)
        assert last["halted"] and len(last["frames"]) == 1
    assert walked(page, visit, turn=6)[-1]["halted"] is False


# --- what visitors may send -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise": math.nan}, {"noise": math.inf}, {"noise": 0}, {"noise": -1}, {"noise": 1.5},
        {"noise": None}, {"noise": "0.5"}, {"noise": True}, {"noise": 10**400},
        {"steps": 0}, {"steps": 101}, {"steps": 2.5}, {"steps": math.nan}, {"steps": None},
        {"guidance": -1}, {"guidance": 9}, {"guidance": math.nan}, {"guidance": []},
        {"seed": -1}, {"seed": 2**31}, {"seed": 0.5}, {"seed": "x"},
        {"switch_at": 2}, {"switch_at": math.nan}, {"switch_at": {}},
        {"switch_at": 0.5, "steps": 1},
        {"label": "ten"}, {"label": 7}, {"label": ["7"]}, {"label_after": "<b>"},
        {"sampler": "guess"}, {"sampler": None}, {"sampler": ["euler"]},
        {"drawing": None}, {"drawing": ""}, {"drawing": SEVEN[:-4]}, {"drawing": "%" * len(SEVEN)},
        {"drawing": "é" * len(SEVEN)}, {"drawing": SEVEN * 10_000}, {"drawing": [1, 2, 3]},
        {"hidden": ""}, {"hidden": "AAAA"}, {"hidden": 5},
    ],
)  # fmt: skip
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_lies_beyond_the_limits_is_refused_in_a_line_and_nothing_is_lost(
    wrong: dict[str, Any], lang: str, page: OutOfTheNoise, warnings: list[str]
):
    visit = page.first_visit(lang)
    told = walked(page, visit, **wrong)
    assert told == [{"turn": 1, "failed": True}]
    assert len(warnings) == 1 and "\n" not in warnings[0] and len(warnings[0]) < 300
    assert "<b>" not in warnings[0]
    assert any("가" <= letter <= "힣" for letter in warnings[0]) == (lang == "ko")
    assert walked(page, visit, turn=2)[-1]["over"]


def test_an_empty_and_a_full_pad_are_told_apart(
    page: OutOfTheNoise, visit: Visit, warnings: list[str]
):
    empty, full = text64(np.zeros((28, 28))), text64(np.full((28, 28), 255))
    assert walked(page, visit, drawing=empty)[-1] == {"turn": 1, "failed": True}
    assert walked(page, visit, drawing=full)[-1] == {"turn": 1, "failed": True}
    bottom = text64(np.packbits(ERASED))
    assert walked(page, visit, drawing=full, hidden=bottom, noise=1)[-1].get("failed")
    assert warnings == [SAY["empty"], SAY["full"], SAY["full"]]
    # Nothing but noise needs no drawing.
    for drawing in (empty, full):
        assert walked(page, visit, drawing=drawing, noise=1)[-1]["over"]


def test_settings_go_out_as_they_came_in(page: OutOfTheNoise):
    den = page.den("mnist-nano")
    for more in ({}, {"label": "3", "label_after": "8", "switch_at": 0.25},
                 {"hidden": text64(np.packbits(ERASED)), "noise": 1.0}):  # fmt: skip
        wish = {**WISH, **more}
        about = as_asked(wish, den, SAY).about("mnist-nano")
        assert {name: about[name] for name in NAMES} == wish
        assert as_asked(json.loads(json.dumps(about)), den, SAY).about("mnist-nano") == about
    nothing = as_asked({**WISH, "hidden": text64(np.zeros(98))}, den, SAY)
    assert nothing.hidden is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"digit": 7, "noise": 0.6, "seed": 0, "label": None, "switch_at": None, "steps": 20}),
        ({"digit": "3", "noise": "85", "seed": "12", "steps": "9", "sampler": "heun"},
         {"digit": 3, "noise": 0.85, "seed": 12, "steps": 9, "sampler": "heun"}),
        ({"label": "4", "after": "9", "when": "30"},
         {"label": "4", "label_after": "9", "switch_at": 0.3}),
        ({"after": ""}, {"label_after": None, "switch_at": 0.5}),
        ({"guidance": "2.5"}, {"guidance": 2.5}),
        ({"digit": "x", "noise": "-3", "seed": "1e9", "label": "<b>", "sampler": "?", "steps": "0",
          "guidance": "nan", "when": "500", "after": "11"},
         {"digit": 7, "noise": 0.6, "seed": 0, "label": None, "label_after": None, "steps": 1,
          "guidance": USUAL, "sampler": "euler", "switch_at": 1.0}),
        ({"noise": "999", "guidance": "9"}, {"noise": 1.0, "guidance": 8.0}),
        ({"seed": "2147483647", "guidance": "2.125"}, {"seed": 2**31 - 1, "guidance": 2.125}),
    ],
)  # fmt: skip
def test_a_link_says_what_the_page_begins_with(
    query: dict[str, str], found: dict[str, Any], page: OutOfTheNoise
):
    opening = page.first_visit("en", query).opening
    assert {name: opening[name] for name in found} == found


def test_what_a_link_need_not_say_is_what_is_usual_and_not_what_it_said(page: OutOfTheNoise):
    stage = page.show(page.first_visit("en", {"guidance": "5"}))[4]
    assert (stage["opening"]["guidance"], stage["usual"]) == (5.0, {"guidance": USUAL})


def test_a_model_that_draws_best_beyond_the_limits_opens_the_page_within_them():
    config = DenoiserConfig(image_size=8, widths=(8, 8), depths=(1, 1), attention=())
    den = Denoiser(config, sampling={"steps": 1000, "guidance": 20.0})
    best, opening = way.usual(den, LIMITS), from_link({}, den)
    assert (best.steps, best.guidance) == (opening["steps"], opening["guidance"]) == (100, 8.0)
    wish = {**WISH, "drawing": text64(np.eye(8) * 255), "steps": best.steps, "noise": 0.5}
    assert as_asked({**wish, "guidance": best.guidance}, den, SAY).wish.steps == 100


# --- reading beforehand ---------------------------------------------------------------------------


def test_a_drawing_is_read_and_the_noise_that_will_bury_it_is_shown(
    page: OutOfTheNoise, visit: Visit
):
    page.den("mnist-nano")
    read = sent(page.read(visit, event(turn=3, drawing=SEVEN, seed=5)), "read")
    assert read["turn"] == 3 and read["reads"][0] == "7"
    noise = as_image(read["noise"]).view(np.int8)[..., 0] / 32
    ink = as_image(SEVEN)[..., 0] / 127.5 - 1
    mixed = np.clip(0.6 * ink + 0.4 * noise, -1, 1)
    start = as_image(walked(page, visit)[-1]["frames"][0]["noisy"])[..., 0] / 127.5 - 1
    np.testing.assert_allclose(mixed, start, atol=0.02)
    empty = sent(page.read(visit, event(drawing=text64(np.zeros(784)), seed=5)), "read")
    assert empty["reads"] is None
    # Another model has the device: nothing is loaded for a look.
    page.context.slot.take("another", lambda: 1)
    assert sent(page.read(visit, event(drawing=SEVEN, seed=5)), "read")["noise"] is None


def test_a_model_that_draws_no_digits_is_not_read_by_the_reader_of_digits(
    tmp_path: Path, page: OutOfTheNoise
):
    config = DenoiserConfig(
        image_size=12, channels=3, classes=2, widths=(8, 8), depths=(1, 1), attention=(),
        objective="velocity", schedule="cosine",
    )  # fmt: skip
    save_denoiser(Denoiser(config, ("red", "blue")), tmp_path / "colours")
    other = OutOfTheNoise(Context("cpu", str(tmp_path / "colours")))
    assert other.names[0] == str(tmp_path / "colours")
    visit = other.first_visit("en")
    drawing = text64(np.eye(12) * 255)
    *_, last = walked(other, visit, drawing=drawing, label="blue", guidance=2.0)
    assert last["result"] is None and last["frames"][0]["reads"] is None
    assert as_image(last["end"], 3).shape == (12, 12, 3)
    for kind in ("png", "gif"):
        assert other.keep(visit, event(turn=1, kind=kind)) is not None
    stage = other.show(visit)[4]
    assert (stage["size"], stage["channels"], stage["straight"]) == (12, 3, False)
    assert stage["labels"] == ["red", "blue"] and not stage["reader"]


def stock(folder: Path, **options: Any) -> OutOfTheNoise:
    """The page with a small network of diffusers', as it is saved there."""
    net = stock_unet(sample_size=28, **options)
    DDPMPipeline(net, DDPMScheduler()).save_pretrained(folder)
    page = OutOfTheNoise(Context("cpu", str(folder)))
    assert page.names[0] == str(folder)
    return page


def test_a_network_of_diffusers_is_walked_and_taken_away_as_ours_are(tmp_path: Path):
    other = stock(tmp_path / "stock")
    visit = other.first_visit("en")
    stage = other.show(visit)[4]
    assert stage["size"] == 28 and stage["labels"] == [] and not stage["leaps"]
    with pytest.raises(gr.Error, match="trained without any labels, so it can't be told 9"):
        list(other.answer(None, 1, "9", "", None, 3, "", None, 0, None))
    with pytest.raises(gr.Error, match=r"guidance of 3.*: .* knows no labels that it could be"):
        list(other.answer(None, 1, "", "", None, 3, "", 3, 0, None))
    for turn, (noise, sampler) in enumerate([(0.4, "ddim"), (1, "heun")], start=1):
        *_, last = walked(other, visit, turn, noise=noise, sampler=sampler, guidance=None, steps=5)
        assert last["over"] and len(last["frames"]) == 5
        assert last["frames"][0]["share"] == pytest.approx(noise, abs=0.01)
        assert as_image(last["end"]).shape == (28, 28, 1)
        for kind in ("png", "gif"):
            assert keepsakes.about(kept(other, visit, kind, turn))["noise"] == noise


def always_told(folder: Path) -> OutOfTheNoise:
    """The page with a network of ours that was told a label whenever it learned."""
    config = DenoiserConfig(classes=3, widths=(8, 8), depths=(1, 1), attention=())
    save_denoiser(Denoiser(config, guidable=False), folder)
    return OutOfTheNoise(Context("cpu", str(folder)))


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("make", [partial(stock, num_class_embeds=3), always_told])
def test_a_model_that_never_drew_untold_is_always_told_a_label_and_never_guided(
    make: Callable[[Path], OutOfTheNoise], lang: str, tmp_path: Path, warnings: list[str]
):
    """A network of labels without one that stands for none in particular."""
    other, say = make(tmp_path / "told"), WORDS[lang]
    visit = other.first_visit(lang, {"guidance": "3", "after": "", "label": "9"})
    stage = other.show(visit)[4]
    assert (stage["labels"], stage["untold"], stage["guidable"]) == (["0", "1", "2"], "0", False)
    opening = visit.opening
    assert (opening["label"], opening["label_after"], opening["guidance"]) == ("0", "0", 1.0)
    good = {"sampler": "ddim", "steps": 2, "label": "1", "guidance": 1.0}
    *_, last = walked(other, visit, **good)
    assert last["over"] and [frame["label"] for frame in last["frames"]] == ["1", "1"]
    switched = {**good, "label_after": "2", "switch_at": 0.5}
    *_, last = walked(other, visit, turn=2, **switched)
    assert [frame["label"] for frame in last["frames"]] == ["1", "2"]
    must = say["must_tell"].format(labels="0, 1, 2")
    for wrong, words in (
        ({"guidance": 1.5}, say["no_guidance"]),
        ({"label": None}, must),
        ({"switch_at": 0.5}, must),
    ):
        assert walked(other, visit, turn=3, **{**good, **wrong})[-1] == {"turn": 3, "failed": True}
        assert warnings[-1] == words
    # What a model drew that can be told nothing comes back as far as this one can draw it.
    den = other.den(other.names[0])
    fitted = as_asked(refitted({**WISH, "model": "gone", "guidance": 2.0}, den), den, say).wish
    assert (fitted.label, fitted.guidance) == ("0", 1.0)
    _, told = next(other.answer(None, 1, "", "", None, 2, "", None, 0, None))
    assert (told["label"], told["guidance"]) == ("0", 1.0)


# --- models for few steps -------------------------------------------------------------------------


def quick(folder: Path, **config: Any) -> OutOfTheNoise:
    """The page with a model that was made for two steps, of random weights."""
    shape = {"widths": (8, 8), "depths": (1, 1), "attention": (), "embed": 16}
    den = Denoiser(
        DenoiserConfig(**{**shape, "jumps": "anywhere", **config}),
        tuple("0123456789"),
        {"sampler": "jump", "steps": 2},
    )
    draw = torch.Generator().manual_seed(1)
    for weight in den.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=draw)
    save_denoiser(den, folder)
    return OutOfTheNoise(Context("cpu", str(folder)))


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> OutOfTheNoise:
    return quick(tmp_path_factory.mktemp("models") / "fast")


LEAP: dict[str, Any] = {"sampler": "jump", "steps": 2, "noise": 1, "guidance": 1.0}


def test_a_model_for_few_steps_goes_the_ways_that_it_was_taught(fast: OutOfTheNoise):
    visit = fast.first_visit("en")
    stage = fast.show(visit)[4]
    assert (stage["leaps"], stage["jumps"], stage["samplers"]) == (2, "anywhere", ["jump"])
    for turn, (noise, steps, shares) in enumerate(
        [(1, 2, [1, 0.5]), (1, 1, [1]), (0.5, 1, [0.5])], start=1
    ):
        *_, last = walked(fast, visit, turn, **{**LEAP, "noise": noise, "steps": steps})
        assert [frame["share"] for frame in last["frames"]] == pytest.approx(shares)
        assert as_image(last["end"]).shape == (28, 28, 1)
        for kind in ("png", "gif"):
            assert keepsakes.about(kept(fast, visit, kind, turn))["noise"] == noise


def test_a_model_for_few_steps_is_told_guided_and_fills_in_as_others_are(fast: OutOfTheNoise):
    visit = fast.first_visit("en")
    told = {**LEAP, "label": "7", "label_after": "3", "switch_at": 0.5}
    *_, last = walked(fast, visit, **told)
    assert [frame["label"] for frame in last["frames"]] == ["7", "3"]
    # It was taught by a model that was guided; guided once more it draws something else.
    *_, again = walked(fast, visit, turn=2, **{**told, "guidance": 3.0})
    assert again["over"] and again["end"] != last["end"]
    *_, filled = walked(fast, visit, turn=3, **{**LEAP, "hidden": text64(np.packbits(ERASED))})
    assert np.array_equal(as_image(filled["end"])[:16, :, 0], as_image(SEVEN)[:16, :, 0])
    assert not np.array_equal(as_image(filled["end"])[16:], as_image(SEVEN)[16:])


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize(
    ("wrong", "key", "values"),
    [
        ({"noise": 0.6}, "wrong_leap", {"most": 2, "share": "50%", "value": "60.0%"}),
        ({"steps": 20}, "wrong_steps", {"share": "100%", "steps": "1, 2", "value": 20}),
        ({"noise": 0.5}, "wrong_steps", {"share": "50%", "steps": "1", "value": 2}),
        ({"steps": 1, "switch_at": 0.5}, "switch_one", {}),
        ({"sampler": "ddim"}, "no_sampler", {"name": "ddim", "samplers": "jump"}),
    ],
)
def test_what_a_model_for_few_steps_was_not_taught_is_refused_in_words(
    wrong: dict[str, Any],
    key: str,
    values: dict[str, Any],
    lang: str,
    fast: OutOfTheNoise,
    warnings: list[str],
):
    visit = fast.first_visit(lang)
    assert walked(fast, visit, **{**LEAP, **wrong}) == [{"turn": 1, "failed": True}]
    assert warnings == [WORDS[lang][key].format(**values)]


def test_what_others_drew_comes_back_by_a_way_that_a_model_for_few_steps_was_taught(
    fast: OutOfTheNoise, tmp_path: Path
):
    den = fast.den(fast.names[0])
    told = {**WISH, "noise": 0.6, "steps": 20, "label": "7", "label_after": "3", "switch_at": 0.5}
    wish = as_asked(refitted(told, den), den, SAY).wish
    assert (wish.noise, wish.steps, wish.sampler, wish.switch_at) == (0.5, 1, "jump", None)
    wish = as_asked(refitted({**told, "noise": 1.0}, den), den, SAY).wish
    assert (wish.noise, wish.steps, wish.switch_at) == (1.0, 2, 0.5)
    seven().save(tmp_path / "seven.png")
    for noise, steps in ((1, 2), (0.5, 1)):  # a script need not say the steps
        asked = [str(tmp_path / "seven.png"), noise, "3", "", None, None, "", None, 0, None]
        assert next(fast.answer(*asked))[1]["steps"] == steps
    with pytest.raises(gr.Error, match="50%, not 60"):
        next(fast.answer(str(tmp_path / "seven.png"), 0.6, "", "", None, None, "", None, 0, None))


def test_a_third_of_the_noise_may_be_said_in_whole_per_cents(tmp_path: Path):
    other = quick(tmp_path / "thirds")
    den = other.den(other.names[0])
    den.sampling["steps"] = 3
    wish = as_asked({**WISH, **LEAP, "noise": 0.67}, den, SAY).wish
    assert (wish.noise, wish.steps) == (2 / 3, 2)


def test_a_consistency_model_goes_from_anywhere_in_as_many_steps_as_one_likes(tmp_path: Path):
    other = quick(tmp_path / "consistent", jumps="picture")
    visit = other.first_visit("en")
    assert other.show(visit)[4]["leaps"] == 0
    *_, last = walked(other, visit, **{**LEAP, "noise": 0.6, "steps": 5})
    assert last["over"] and len(last["frames"]) == 5
    assert last["frames"][0]["share"] == pytest.approx(0.6)


def test_a_model_whose_pictures_do_not_fit_is_refused_before_anything_is_served(tmp_path: Path):
    config = DenoiserConfig(image_size=128, widths=(8, 8), depths=(1, 1), attention=())
    save_denoiser(Denoiser(config), tmp_path / "large")
    with pytest.raises(BadInput, match="128x128"):
        OutOfTheNoise(Context("cpu", str(tmp_path / "large")))


# --- taking away and bringing back ----------------------------------------------------------------


def kept(page: OutOfTheNoise, visit: Visit, kind: str, turn: int = 1) -> bytes:
    update = sent(page.keep(visit, event(turn=turn, kind=kind)), "kept")
    assert update["type"] == f"image/{kind}" and update["name"].endswith(f".{kind}")
    return base64.b64decode(update["data"])


def test_a_result_is_taken_as_png_and_as_gif_with_all_settings_inside(
    page: OutOfTheNoise, visit: Visit
):
    *_, last = walked(page, visit, label="7", label_after="3", switch_at=0.5)
    expected = {**WISH, "label": "7", "label_after": "3", "switch_at": 0.5}
    for kind in ("png", "gif"):
        about = keepsakes.about(kept(page, visit, kind))
        assert about == {"kind": "redraw", "model": "mnist-nano", **expected}
    png = np.asarray(Image.open(io.BytesIO(kept(page, visit, "png"))).convert("L"))
    times = png.shape[0] // 28
    small = png[times // 2 :: times, times // 2 :: times]
    assert small.shape == (28, 86)  # three pictures, and a gap of a pixel between two
    assert np.array_equal(small[:, :28], as_image(SEVEN)[..., 0])
    assert np.array_equal(small[:, 29:57], as_image(last["frames"][0]["noisy"])[..., 0])
    assert np.array_equal(small[:, 58:], as_image(last["end"])[..., 0])
    film = list(ImageSequence.Iterator(Image.open(io.BytesIO(kept(page, visit, "gif")))))
    assert len(film) == 7


def test_the_file_is_named_by_what_it_shows(page: OutOfTheNoise, visit: Visit):
    walked(page, visit, label="7", label_after="3", switch_at=0.5, noise=0.85, seed=12)
    name = visit.ways[1].file_name("png")
    assert name == "7-to-3-noise85-seed12.png"


def test_only_the_last_results_are_remembered(
    page: OutOfTheNoise, visit: Visit, warnings: list[str]
):
    for turn in range(1, way.KEPT + 3):
        walked(page, visit, turn, steps=1)
    assert list(visit.ways) == list(range(3, way.KEPT + 3))
    for asked in (event(turn=1, kind="png"), event(turn=5, kind="exe"), event(turn=[], kind="png")):
        page.keep(visit, asked)
    page.keep(None, event(turn=1, kind="png"))
    assert warnings == [SAY["forgotten"]] * 4


def saved(folder: Path, data: bytes, name: str = "kept.png") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def test_a_picture_that_was_taken_away_brings_everything_back(
    page: OutOfTheNoise, visit: Visit, tmp_path: Path
):
    wishes = {"hidden": text64(np.packbits(ERASED)), "noise": 1.0, "label": "7", "seed": 77}
    first = walked(page, visit, **wishes)[-1]
    for kind in ("png", "gif"):
        file = saved(tmp_path, kept(page, visit, kind), f"kept.{kind}")
        brought = page.open(page.first_visit("en"), file)[4]["brought"]
        assert {name: brought[name] for name in NAMES} == {**WISH, **wishes}
        assert brought["note"] == SAY["restored"]
        again = {name: brought[name] for name in NAMES}
        came = walked(page, page.first_visit("en"), **again)[-1]["frames"]
        for frame in (*came, *first["frames"]):
            frame["reads"] = None  # how many are read at once hangs on the clock
        assert came == first["frames"]


def test_a_plain_picture_becomes_the_drawing_and_changes_no_setting(
    page: OutOfTheNoise, visit: Visit, tmp_path: Path
):
    for ending in ("png", "jpg"):
        seven().save(tmp_path / f"seven.{ending}")
        brought = page.open(visit, str(tmp_path / f"seven.{ending}"))[4]["brought"]
        assert brought.keys() == {"drawing", "hidden", "note"}
        assert brought["note"] == SAY["taken"]
        differ = as_image(brought["drawing"]).astype(int) - as_image(SEVEN)
        assert np.abs(differ).mean() < 3


def test_settings_of_another_model_come_back_with_the_model_that_is_here(
    page: OutOfTheNoise, visit: Visit, tmp_path: Path
):
    about = {"kind": "redraw", "model": "<b>gone</b>", **WISH}
    file = saved(tmp_path, keepsakes.png(seven(), about))
    brought = page.open(visit, file)[4]["brought"]
    assert brought["model"] == "mnist-nano" and "<b>gone</b>" in brought["note"]


def test_what_a_model_drew_that_is_not_here_comes_back_as_far_as_another_one_can_draw_it(
    page: OutOfTheNoise, visit: Visit, tmp_path: Path
):
    ink = np.zeros((12, 12))
    ink[2:10, 6] = 255
    erased = np.zeros((12, 12), bool)
    erased[6:] = True
    about = {
        "kind": "redraw", "model": "few-of-twelve", **WISH, "noise": 1.0,
        "drawing": text64(ink), "hidden": text64(np.packbits(erased)),
        "label": "red", "label_after": "7", "switch_at": 0.5,
        "sampler": "jump", "steps": 2, "guidance": None,
    }  # fmt: skip
    brought = page.open(visit, saved(tmp_path, keepsakes.png(seven(), about)))[4]["brought"]
    assert "few-of-twelve" in brought["note"] and brought["model"] == "mnist-nano"
    assert (brought["label"], brought["label_after"], brought["switch_at"]) == (None, "7", 0.5)
    best = way.usual(page.den("mnist-nano"), LIMITS)
    drawn = (brought["sampler"], brought["steps"], brought["guidance"])
    assert drawn == (best.sampler, best.steps, best.guidance)
    drawing = as_image(brought["drawing"])[..., 0]
    assert drawing.shape == (28, 28) and drawing[10, 15] > 200 and drawing[:, :9].max() == 0
    bits = np.unpackbits(np.frombuffer(base64.b64decode(brought["hidden"]), np.uint8), count=784)
    assert np.array_equal(bits.reshape(28, 28).any(axis=1), np.arange(28) >= 14)
    again = {name: brought[name] for name in NAMES}
    assert walked(page, visit, **again)[-1]["over"]


@pytest.mark.parametrize("drawing", [None, "", "====", "%" * 64, text64(np.zeros(50)), [1]])
def test_a_drawing_of_another_model_that_is_none_is_still_refused(
    page: OutOfTheNoise, drawing: object
):
    den = page.den("mnist-nano")
    told = {**WISH, "model": "gone", "drawing": drawing}
    with pytest.raises(way.Told, match="28 × 28"):
        as_asked(refitted(told, den), den, SAY)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_settings_that_do_not_fit_are_told_and_nothing_is_lost(
    lang: str,
    page: OutOfTheNoise,
    warnings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    visit = page.first_visit(lang)
    say = WORDS[lang]
    good = {"kind": "redraw", "model": "mnist-nano", **WISH}
    monkeypatch.setattr(keepsakes, "VERSION", 99)
    later = keepsakes.png(seven(), good)
    monkeypatch.undo()
    torn, note = io.BytesIO(), PngInfo()
    note.add_itxt("mmfm", '{"kind": "redraw", ')
    seven().save(torn, "PNG", pnginfo=note)
    files = {
        say["later"]: later,
        say["other_kind"]: keepsakes.png(seven(), {"kind": "studio"}),
        say["damaged"]: torn.getvalue(),
        say["no_drawing"].format(size=28): keepsakes.png(seven(), {**good, "drawing": "AAAA"}),
        say["unreadable"].split("{")[0]: b"no picture",
    }
    monkeypatch.setattr(gr, "Warning", warnings.append)
    blank = io.BytesIO()
    Image.new("L", (60, 60), 255).save(blank, "PNG")
    files[say["blank"]] = blank.getvalue()
    for number, (words, data) in enumerate(files.items()):
        shown = page.open(visit, saved(tmp_path, data, f"{number}.png"))
        assert [hasattr(part, "props") or isinstance(part, Visit) for part in shown] == [False] * 5
        assert words in html.unescape(warnings[-1])
    for value in (math.inf, 10**30, "<script>", [], None):
        about = {**good, "steps": 10**9 if value == math.inf else value}
        page.open(visit, saved(tmp_path, keepsakes.png(seven(), about), "bad.png"))
        assert say["steps"] in warnings[-1] and "<script>" not in warnings[-1]
    assert visit.model == "mnist-nano" and visit.ways == {}


def test_settings_of_the_plane_are_handed_on(page: OutOfTheNoise, visit: Visit, tmp_path: Path):
    about = {"kind": denoise.denoise_plane.KIND, "shape": "moons"}
    assert page.open(visit, saved(tmp_path, keepsakes.png(seven(), about))) == about


# --- models ---------------------------------------------------------------------------------------


def test_the_page_takes_denoisers_and_nothing_else():
    assert denoise.takes({"model": "denoiser"})
    assert not denoise.takes({"model": "denoiser", "config": {"text_dim": 24}})
    assert not denoise.takes({"model": "clip"}) and not denoise.takes({"model": "ruler"})
    assert not denoise.takes({})
    assert denoise.takes(
        {"model": "denoiser", "config": ["nonsense"]}
    )  # opening it says what is wrong


def test_the_page_begins_with_many_steps_where_a_model_for_few_is_bundled_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shelf, there = tmp_path / "mmfm.assets" / "checkpoints", hub.bundled()
    for name, like in (("mnist-fast", "mnist-nano"), ("mnist-nano",) * 2, ("mnist-ruler",) * 2):
        shutil.copytree(there[like], shelf / name)
    monkeypatch.setattr(hub, "files", lambda package: tmp_path / package)
    page = OutOfTheNoise(Context("cpu"))
    assert page.names[:2] == ["mnist-nano", "mnist-fast"]


def test_a_model_that_is_not_on_the_page_is_refused(
    page: OutOfTheNoise, visit: Visit, warnings: list[str]
):
    shown = page.switch(visit, "<i>mine</i>")
    assert "&lt;i&gt;mine" in warnings[0] and visit.model == "mnist-nano"
    assert shown[3] == "mnist-nano"  # so that the list does not name what does not draw


def test_of_a_model_that_cannot_be_shown_the_list_says_who_draws_instead(
    page: OutOfTheNoise, visit: Visit, warnings: list[str], monkeypatch: pytest.MonkeyPatch
):
    def gone(name: str, device: str) -> Denoiser:
        raise NotHere(f"{name} was here when the page was opened")

    monkeypatch.setattr(page, "names", [*page.names, "removed"])
    page.den("mnist-nano")
    monkeypatch.setattr(denoise, "drawable", gone)
    assert page.switch(visit, "removed")[3] == "mnist-nano" == visit.model
    assert len(warnings) == 1


# --- scripts --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Generator[Client]:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"patches": patches, "denoise": denoise})
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("got")))


def test_a_script_sends_a_drawing_and_gets_pictures(
    client: Client, page: OutOfTheNoise, tmp_path: Path
):
    seven().save(tmp_path / "seven.png")
    files, settings = client.predict(
        picture=handle_file(str(tmp_path / "seven.png")),
        noise=0.4, label="", label_after="", switch_at=None, steps=6, sampler="", guidance=None,
        seed=5, mask=None, api_name="/redraw",
    )  # fmt: skip
    assert settings.pop("reads")[0] == "7"
    assert settings == {"kind": "redraw", "model": "mnist-nano", **WISH}
    assert [Path(file).suffix for file in files] == [".png", ".gif"]
    for file in files:
        assert keepsakes.about(Path(file).read_bytes()) == settings


def test_a_script_needs_no_picture_for_pure_noise_and_may_send_a_mask(
    client: Client, tmp_path: Path
):
    _, settings = client.predict(None, 1, "3", "", None, 8, "heun", 2, 0, None, api_name="/redraw")
    assert settings["label"] == settings["reads"][0] == "3"
    seven().save(tmp_path / "seven.png")
    mask = Image.new("L", (56, 56), 0)
    mask.paste(255, (0, 32, 56, 56))
    mask.save(tmp_path / "mask.png")
    sent = [handle_file(str(tmp_path / name)) for name in ("seven.png", "mask.png")]
    _, settings = client.predict(
        sent[0], 1, "7", "", None, 8, "", None, 0, sent[1], api_name="/redraw"
    )
    bits = np.unpackbits(np.frombuffer(base64.b64decode(settings["hidden"]), np.uint8), count=784)
    assert np.array_equal(bits.reshape(28, 28), ERASED)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (1, 0, "Noise lies between"), (1, 7, "Noise lies between"),
        (1, "NaN", "Noise lies between"),
        (2, "ten", "knows no ten"), (4, 3, "change"), (5, 1e9, "Steps lies"), (5, 2.5, "whole"),
        (6, "guess", "no sampler guess"), (7, -2, "Guidance lies"), (8, -1, "Noise number"),
        (0, None, "no picture was sent"),
    ],
)  # fmt: skip
def test_a_script_is_told_what_is_wrong(
    place: int, value: Any, words: str, client: Client, tmp_path: Path
):
    seven().save(tmp_path / "seven.png")
    asked = [handle_file(str(tmp_path / "seven.png")), 0.5, "", "", None, 4, "", None, 0, None]
    asked[place] = value
    with pytest.raises(Exception) as refused:
        client.predict(*asked, api_name="/redraw")
    assert words in str(refused.value)
    assert "Traceback" not in str(refused.value) and "File" not in str(refused.value)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (Image.new("L", (60, 40), 255), "nothing is drawn"),
        (Image.new("L", (28, 28), 255), "nothing is drawn"),
        (ImageOps.expand(Image.new("L", (26, 26), 255), 1), "full of ink"),
        (Image.new("RGB", (1, 1)), "nothing is drawn"),
    ],
    ids=["paper", "ink", "nearly all ink", "a speck"],
)
def test_a_script_is_told_that_a_picture_is_empty_or_full(
    picture: Image.Image, words: str, client: Client, tmp_path: Path
):
    picture.save(tmp_path / "sent.png")
    asked = [handle_file(str(tmp_path / "sent.png")), 0.5, "", "", None, 4, "", None, 0, None]
    with pytest.raises(Exception, match=words):
        client.predict(*asked, api_name="/redraw")


def test_only_what_is_meant_for_scripts_is_offered_to_them(client: Client):
    offered = client.view_api(return_format="dict")
    assert "/redraw" in offered["named_endpoints"]
    assert all(
        name in ("/predict", "/attention", "/redraw", "/plane")
        for name in offered["named_endpoints"]
    )
