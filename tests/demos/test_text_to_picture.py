"""Drawn from Words answers scripts, keeps within its limits, and is kind where no model reads."""

import base64
import html
import io
import json
import math
import re
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
import visitors
import word_models
from gradio_client import Client
from mmfm.demos import app, patches, text_to_picture, way
from mmfm.demos.page import Context
from mmfm.demos.parts import script
from mmfm.demos.text_to_picture import DrawnFromWords, Visit
from mmfm.demos.text_to_picture_asked import (
    LIMITS,
    LONGEST,
    MODES,
    NAMES,
    as_asked,
    from_link,
)
from mmfm.demos.text_to_picture_kept import as_look
from mmfm.demos.words import COMMON
from mmfm.demos.words_text_to_picture import WORDS
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from mmfm import keepsakes
from mmfm.errors import BadInput
from mmfm.models.checkpoints import save_clip, save_denoiser
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.words import Reader
from mmfm.tasks.draw_words import COUNT, Wish, by_word, draw, looked, tell, words_of
from mmfm.tasks.generate import as_bytes

SAY = WORDS["en"]
SIZE = 16
WISH: dict[str, Any] = {
    "mode": "one", "text": "red heart", "other": None, "hand": None, "steps": 5, "guidance": 2.0,
    "seed": 7,
}  # fmt: skip
PAIR = {**WISH, "mode": "change", "other": "blue heart"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(word_models.save_both(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="module")
def page(model: str) -> DrawnFromWords:
    return DrawnFromWords(Context("cpu", model))


@pytest.fixture
def visit(page: DrawnFromWords) -> Visit:
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


def drawn(page: DrawnFromWords, visit: Visit, turn: int = 1, **wish: Any) -> list[dict[str, Any]]:
    return news_of(page.go(visit, event(turn=turn, **{**WISH, **wish})))


def as_images(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, SIZE, SIZE, 3)


# --- words ----------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps():
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        # Where it knows the language, Korean gives no reason of English words.
        assert others == gaps or key == "unreadable", key


def test_every_word_that_is_asked_for_is_there_and_none_besides():
    code = "".join(script(f"{part}.js") for part in text_to_picture.SCRIPTS)
    asked = set(re.findall(r"\b(?:say|data\.words)\.(\w+)", code))
    assert len(asked) > 60 and asked <= SAY.keys()
    asked |= {f"{stem}_{mode}" for stem in ("mode", "text") for mode in MODES}
    asked |= {f"mode_{mode}_note" for mode in MODES} | {f"{name}_note" for name in LIMITS}
    asked |= {f"hand_{hand}" for hand in ("noto", "blob", "fluent_3d", "fluent_flat", "twemoji")}
    asked |= {f"lesson_{part}{end}" for part in text_to_picture.LESSONS for end in ("", "_text")}
    asked |= {f"{name}_name" for name in ("steps", "guidance")}
    asked |= {"view_noisy", "view_thought", *LIMITS}
    folder = Path(text_to_picture.__file__).parent
    files = [*folder.glob("text_to_picture*.py"), folder / "way.py"]
    code = "".join(file.read_text("utf-8") for file in files)
    asked |= set(re.findall(r'say\["(\w+)"\]', code))
    assert asked <= SAY.keys()
    assert SAY.keys() - COMMON["en"].keys() <= asked | {"title", "tagline", "lessons"}


# --- drawing --------------------------------------------------------------------------------------


def test_the_browser_gets_every_step_and_every_look_as_the_task_makes_them(
    page: DrawnFromWords, visit: Visit
):
    painter = page.painter(visit.model)
    den, reader = painter.den, painter.reader
    *_, last = drawn(page, visit, hand="noto")
    assert last["over"] and not last["halted"] and last["total"] == len(last["frames"]) == 5
    assert [word["text"] for word in last["words"][0]] == ["red", "heart"]
    wish = Wish("noto", steps=5, guidance=2.0, seed=7)
    moments = list(draw(den, reader, ["red heart"], wish))
    told, words = tell(den, reader, ["red heart"], "noto"), words_of(reader, "red heart")
    for frame, moment in zip(last["frames"], moments, strict=True):
        assert np.array_equal(as_images(frame["noisy"]), as_bytes(moment.noisy))
        assert np.array_equal(as_images(frame["x0"]), as_bytes(moment.x0))
        assert frame["share"] == pytest.approx(moment.share)
        (look,) = frame["looks"]
        shares = by_word(looked(den, told, moment)[0], words)
        levels = np.frombuffer(base64.b64decode(look["levels"]), np.uint8).reshape(2, 16, 16)
        assert look["grid"] == [16, 16] and (levels.reshape(2, -1).max(axis=1) == 255).all()
        least, span = (np.array(look[name])[:, None, None] for name in ("least", "span"))
        found = least + levels / 255 * span
        np.testing.assert_allclose(found, shares, atol=2e-3)
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=5e-3)
    assert np.array_equal(as_images(last["end"]), as_bytes(moments[-1].x))


def test_a_look_leads_from_the_least_to_the_most_of_each_word():
    shares = [[0.2, 0.7], [0.51, 0.5], [1, 1], [0, 0], [0.01, 0]]
    look = as_look(torch.tensor(shares)[:, None])
    levels = np.frombuffer(base64.b64decode(look["levels"]), np.uint8).reshape(-1, 2)
    assert levels.tolist() == [[0, 255], [255, 204], [255, 255], [0, 0], [51, 0]]
    least, span = (np.array(look[name])[:, None] for name in ("least", "span"))
    np.testing.assert_allclose(least + levels / 255 * span, shares, atol=1e-4)


def test_a_changed_word_is_drawn_beside_from_the_same_noise(page: DrawnFromWords, visit: Visit):
    *_, last = drawn(page, visit, **PAIR)
    first = as_images(last["frames"][0]["noisy"])
    assert len(first) == 2 and np.array_equal(first[0], first[1])
    assert [len(frame["looks"]) for frame in last["frames"]] == [2] * 5
    end = as_images(last["end"]).astype(int)
    assert np.abs(end[0] - end[1]).mean() > 2
    *_, alone = drawn(page, visit, turn=2)
    assert np.abs(as_images(alone["end"])[0] - end[0]).max() <= 1  # a rounding
    assert [[word["text"] for word in words] for words in last["words"]] == [
        ["red", "heart"],
        ["blue", "heart"],
    ]


def test_the_walk_sends_seven_pictures_and_no_looks(page: DrawnFromWords, visit: Visit):
    *_, last = drawn(page, visit, **{**PAIR, "mode": "between"})
    assert len(as_images(last["end"])) == COUNT and last["words"] == []
    for frame in last["frames"]:
        assert len(as_images(frame["noisy"])) == COUNT
        assert frame["x0"] is None and frame["looks"] == []
    ends = as_images(last["end"]).astype(int)
    *_, pair = drawn(page, visit, turn=2, **PAIR)
    two = as_images(pair["end"])
    assert np.abs(ends[[0, -1]] - two).max() <= 1


def test_no_step_is_lost_on_whoever_hears_every_other_message(
    page: DrawnFromWords, visit: Visit, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(way, "TOLD", 0.0)  # a message a step
    told = drawn(page, visit, steps=9)[1:]  # after the first, which says that it begins
    ends = [news["first"] + len(news["frames"]) for news in told]
    assert ends == [*range(1, 10), 9]
    for before, after in zip(told, told[2:], strict=False):
        assert after["first"] <= before["first"] + len(before["frames"])


class Slow(Denoiser):
    """A model that thinks for a while."""

    def forward(self, *args: Any, **more: Any) -> torch.Tensor:
        time.sleep(0.2)
        return super().forward(*args, **more)


def test_a_drawing_that_is_halted_ends_within_a_second_and_gives_the_device_back(
    page: DrawnFromWords, visit: Visit, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(page.painter(visit.model).den, "__class__", Slow)
    halted: list[float] = []

    def halt() -> None:
        halted.append(time.monotonic())
        page.halt(visit, event(turn=4))

    threading.Timer(0.7, halt).start()
    told = drawn(page, visit, turn=4, steps=50)
    assert time.monotonic() - halted[0] < 5
    assert told[-1]["over"] and told[-1]["halted"] and 1 <= len(told[-1]["frames"]) < 10
    assert 4 not in visit.ways
    monkeypatch.undo()
    assert drawn(page, visit, turn=5)[-1]["halted"] is False


def test_a_drawing_that_was_stopped_is_not_forgotten_when_a_later_one_is(
    page: DrawnFromWords, visit: Visit
):
    """Both wait for the device, and neither has looked yet."""
    for turn in (4, 5, 3):
        page.halt(visit, event(turn=turn))
    for turn in (3, 4, 5):
        *_, last = drawn(page, visit, turn, steps=50)
        assert last["halted"] and len(last["frames"]) == 1
    assert drawn(page, visit, turn=6)[-1]["halted"] is False


def test_words_that_are_not_read_as_meant_are_marked(page: DrawnFromWords, visit: Visit):
    *_, last = drawn(page, visit, text="빨간 쀍", steps=1)
    assert [word["spelled"] for word in last["words"][0]] == [False, True]
    *_, last = drawn(page, visit, turn=2, text=" ".join(["heart"] * 20), steps=1)
    unread = [word["unread"] for word in last["words"][0]]
    assert unread[0] is False and unread[19] is True


def test_the_noise_is_shown_before_anything_is_drawn(page: DrawnFromWords, visit: Visit):
    page.painter(visit.model)
    told = sent(page.bury(visit, event(seed=7)), "noise")
    *_, last = drawn(page, visit)
    assert told["seed"] == 7
    assert np.array_equal(as_images(told["noise"]), as_images(last["frames"][0]["noisy"]))
    # Another model has the device: nothing is loaded for a look.
    page.context.slot.take("another", lambda: 1)
    assert not hasattr(page.bury(visit, event(seed=7)), "props")


# --- what visitors may send -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""}, {"text": None}, {"text": " \n\t"}, {"text": 5}, {"text": ["red"]},
        {"text": "\ud800"}, {"text": "a" * (LONGEST + 1)}, {"text": "a " * 10**6},
        {"mode": "three"}, {"mode": None}, {"mode": ["one"]}, {"mode": "change"},
        {"mode": "between", "other": " "}, {"mode": "change", "other": "b" * 500},
        {"hand": "pen"}, {"hand": 0}, {"hand": "<b>"}, {"hand": {}},
        {"steps": 0}, {"steps": 51}, {"steps": 2.5}, {"steps": math.nan}, {"steps": None},
        {"steps": True}, {"steps": 10**400}, {"steps": "9"},
        {"guidance": -1}, {"guidance": 11}, {"guidance": math.inf}, {"guidance": []},
        {"seed": -1}, {"seed": 2**31}, {"seed": 0.5}, {"seed": "x"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_lies_beyond_the_limits_is_refused_in_a_line_and_nothing_is_lost(
    wrong: dict[str, Any], lang: str, page: DrawnFromWords, warnings: list[str]
):
    visit = page.first_visit(lang)
    assert drawn(page, visit, **wrong) == [{"turn": 1, "failed": True}]
    assert len(warnings) == 1 and "\n" not in warnings[0] and len(warnings[0]) < 300
    assert "<b>" not in warnings[0]
    assert any("가" <= letter <= "힣" for letter in warnings[0]) == (lang == "ko")
    assert drawn(page, visit, turn=2, steps=1)[-1]["over"]


def test_texts_are_one_line_in_one_spelling(page: DrawnFromWords, visit: Visit):
    split = "\u1107\u1161\u11af\u1100\u1161\u11ab  하트\n"  # as macOS writes 빨간
    asked = as_asked({**WISH, "text": split}, page.painter(visit.model).den, SAY)
    assert asked.text == "발간 하트"
    assert as_asked({**PAIR, "mode": "one"}, page.painter(visit.model).den, SAY).other is None


def test_settings_go_out_as_they_came_in(page: DrawnFromWords, visit: Visit):
    den = page.painter(visit.model).den
    for wish in (WISH, PAIR, {**PAIR, "mode": "between", "hand": "noto", "guidance": 0.0}):
        about = as_asked(wish, den, SAY).about("m")
        assert {name: about[name] for name in NAMES} == wish
        assert as_asked(json.loads(json.dumps(about)), den, SAY).about("m") == about


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {"mode": "one", "text": "red heart", "hand": None, "steps": 6, "guidance": 2.0,
              "seed": 0}),
        ({"mode": "change", "text": "웃는  얼굴", "other": "우는 얼굴", "hand": "noto",
          "steps": "9", "guidance": "3.5", "seed": "12"},
         {"mode": "change", "text": "웃는 얼굴", "other": "우는 얼굴", "hand": "noto", "steps": 9,
          "guidance": 3.5, "seed": 12}),
        ({"mode": "<b>", "text": "x" * 500, "hand": "pen", "steps": "0", "guidance": "nan",
          "seed": "1e9"},
         {"mode": "one", "text": "x" * LONGEST, "hand": None, "steps": 1, "guidance": 2.0,
          "seed": 0}),
        ({"steps": "999", "guidance": "99"}, {"steps": 50, "guidance": 10.0}),
        ({"seed": "2147483647", "guidance": "2.125"}, {"seed": 2**31 - 1, "guidance": 2.125}),
        ({"seed": "9" * 20, "guidance": "-1"}, {"seed": 2**31 - 1, "guidance": 0.0}),
        ({"seed": "9" * 9999, "guidance": "inf"}, {"seed": 0, "guidance": 2.0}),
    ],
)  # fmt: skip
def test_a_link_says_what_the_page_begins_with(
    query: dict[str, str], found: dict[str, Any], page: DrawnFromWords
):
    opening = page.first_visit("en", query).opening
    assert {name: opening[name] for name in found} == found


def test_what_a_link_need_not_say_is_what_is_usual_and_not_what_it_said(page: DrawnFromWords):
    stage = page.show(page.first_visit("en", {"guidance": "5"}))[4]
    assert (stage["opening"]["guidance"], stage["usual"]) == (5.0, {"guidance": 2.0})


def test_a_model_that_draws_best_beyond_the_limits_opens_the_page_within_them():
    den = word_models.make_denoiser(Reader(word_models.make_clip()))
    den.sampling |= {"steps": 1000, "guidance": 20.0}
    best, opening = way.usual(den, LIMITS), from_link({}, den, SAY)
    assert (best.steps, best.guidance) == (opening["steps"], opening["guidance"]) == (50, 10.0)
    asked = as_asked({**WISH, "steps": best.steps, "guidance": best.guidance}, den, SAY)
    assert (asked.wish.steps, asked.wish.guidance) == (50, 10.0)


# --- taking away and bringing back ----------------------------------------------------------------


def kept(page: DrawnFromWords, visit: Visit, kind: str, turn: int = 1) -> bytes:
    update = sent(page.keep(visit, event(turn=turn, kind=kind)), "kept")
    assert update["type"] == f"image/{kind}" and update["name"].endswith(f".{kind}")
    return base64.b64decode(update["data"])


def saved(folder: Path, data: bytes, name: str = "kept.png") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("mode", MODES)
def test_a_drawing_is_taken_as_png_and_gif_and_brings_everything_back(
    mode: str, page: DrawnFromWords, visit: Visit, tmp_path: Path
):
    wish = {**WISH, "mode": mode, "hand": "noto", "other": None if mode == "one" else "웃는 얼굴"}
    *_, last = drawn(page, visit, **wish)
    pictures = {"one": 1, "change": 2, "between": COUNT}[mode]
    sheet = np.asarray(Image.open(io.BytesIO(kept(page, visit, "png"))))
    times = sheet.shape[0] // SIZE
    small = sheet[times // 2 :: times, times // 2 :: times]
    assert small.shape == (SIZE, pictures * (SIZE + 1) - 1, 3)
    for number, image in enumerate(as_images(last["end"])):
        assert np.array_equal(small[:, number * (SIZE + 1) :][:, :SIZE], image)
    film = list(ImageSequence.Iterator(Image.open(io.BytesIO(kept(page, visit, "gif")))))
    assert len(film) == (2 * COUNT - 2 if mode == "between" else 6)
    for kind in ("png", "gif"):
        data = kept(page, visit, kind)
        assert keepsakes.about(data) == {"kind": "text_to_picture", "model": visit.model, **wish}
        brought = page.open(page.first_visit("en"), saved(tmp_path, data))[4]["brought"]
        assert {name: brought[name] for name in NAMES} == wish
        assert brought["note"] == SAY["restored"]
    again = {name: brought[name] for name in NAMES}
    assert drawn(page, page.first_visit("en"), **again)[-1]["frames"] == last["frames"]


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ({}, "red_heart-seed7.png"),
        ({**PAIR, "other": "../파란 하트?"}, "red_heart-to-파란_하트-seed7.png"),
        ({"text": "!?"}, "picture-seed7.png"),
    ],
)
def test_the_file_is_named_by_what_it_shows(
    wish: dict[str, Any], name: str, page: DrawnFromWords, visit: Visit
):
    drawn(page, visit, **{**wish, "steps": 1})
    assert sent(page.keep(visit, event(turn=1, kind="png")), "kept")["name"] == name


def test_only_the_last_drawings_are_remembered(
    page: DrawnFromWords, visit: Visit, warnings: list[str]
):
    for turn in range(1, way.KEPT + 3):
        drawn(page, visit, turn, steps=1)
    assert list(visit.ways) == list(range(3, way.KEPT + 3))
    for asked in (event(turn=1, kind="png"), event(turn=5, kind="exe"), event(turn=[], kind="png")):
        page.keep(visit, asked)
    page.keep(None, event(turn=1, kind="png"))
    assert warnings == [SAY["forgotten"]] * 4


def test_the_server_remembers_more_than_a_page_shows():
    """Of those that were stopped while they were being shown, the page shows none."""
    shelf = re.search(r"^const SHELF = (\d+);", script("way.js"), re.MULTILINE)
    assert shelf and int(shelf[1]) < way.KEPT


def test_settings_of_another_model_come_back_with_the_model_that_is_here(
    page: DrawnFromWords, visit: Visit, tmp_path: Path
):
    about = {"kind": "text_to_picture", "model": "<b>gone</b>", **WISH}
    file = saved(tmp_path, keepsakes.png(Image.new("RGB", (8, 8)), about))
    brought = page.open(visit, file)[4]["brought"]
    assert brought["model"] == visit.model and "<b>gone</b>" in brought["note"]


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_settings_that_do_not_fit_are_told_and_nothing_is_lost(
    lang: str,
    page: DrawnFromWords,
    warnings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    visit, say, picture = page.first_visit(lang), WORDS[lang], Image.new("RGB", (8, 8))
    good = {"kind": "text_to_picture", "model": visit.model, **WISH}
    monkeypatch.setattr(keepsakes, "VERSION", 99)
    later = keepsakes.png(picture, good)
    monkeypatch.undo()
    torn, plain, note = io.BytesIO(), io.BytesIO(), PngInfo()
    note.add_itxt("mmfm", '{"kind": "text_to_picture", ')
    picture.save(torn, "PNG", pnginfo=note)
    picture.save(plain, "PNG")
    files = {
        say["later"]: later,
        say["other_kind"]: keepsakes.png(picture, {"kind": "redraw"}),
        say["damaged"]: torn.getvalue(),
        say["unsigned"]: plain.getvalue(),
        say["empty"]: keepsakes.png(picture, {**good, "text": ""}),
        say["unreadable"].split("{")[0]: b"no picture",
    }
    monkeypatch.setattr(gr, "Warning", warnings.append)
    for number, (words, data) in enumerate(files.items()):
        shown = page.open(visit, saved(tmp_path, data, f"{number}.png"))
        assert [hasattr(part, "props") or isinstance(part, Visit) for part in shown] == [False] * 5
        assert words in html.unescape(warnings[-1])
    for value in (10**30, "<script>", [], None):
        about = {**good, "steps": value}
        page.open(visit, saved(tmp_path, keepsakes.png(picture, about), "bad.png"))
        assert say["steps"] in warnings[-1] and "<script>" not in warnings[-1]


# --- models ---------------------------------------------------------------------------------------


def test_the_page_takes_denoisers_that_read_and_nothing_else(model: str):
    settings = json.loads((Path(model) / "config.json").read_text())
    assert text_to_picture.takes(settings)
    deaf = {**settings, "config": {**settings["config"], "text_dim": 0}}
    for other in (deaf, {"model": "denoiser"}, {"model": "denoiser", "config": 5}, {}):
        assert not text_to_picture.takes(other)
    assert not text_to_picture.takes({"model": "clip", "config": {"text_dim": 3}})
    assert app._page_for(model, None, app.pages()) == "text_to_picture"


def test_a_model_whose_pictures_do_not_fit_is_refused_before_anything_is_served(tmp_path: Path):
    config = DenoiserConfig(
        image_size=128, widths=(8, 8), depths=(1, 1), attention=(1,), head_dim=8, text_dim=4,
        text_context=5,
    )  # fmt: skip
    save_denoiser(Denoiser(config), tmp_path / "large")
    with pytest.raises(BadInput, match="128x128"):
        DrawnFromWords(Context("cpu", str(tmp_path / "large")))


def test_a_model_that_is_here_and_does_not_fit_is_told_with_its_reason_and_no_clip_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clip, names = word_models.make_clip(), [str(tmp_path / "large"), str(tmp_path / "lost")]
    config = DenoiserConfig(
        image_size=128, widths=(8, 8), depths=(1, 1), attention=(1,), head_dim=8, text_dim=4,
        text_context=5,
    )  # fmt: skip
    save_denoiser(Denoiser(config), Path(names[0]))
    save_denoiser(word_models.make_denoiser(Reader(clip), reads="nowhere"), Path(names[1]))
    monkeypatch.setattr(text_to_picture, "models_here", lambda wanted, fits: names)
    page = DrawnFromWords(Context("cpu"))
    visit = page.first_visit("en")
    missing = page.show(visit)[4]["missing"]
    assert missing["kind"] == "denoiser" and "128x128" in missing["why"]
    assert page.switch(visit, names[1])[4]["missing"]["kind"] == "reader"


def test_a_model_that_is_not_on_the_page_is_refused(
    page: DrawnFromWords, visit: Visit, warnings: list[str]
):
    page.switch(visit, "<i>mine</i>")
    assert "&lt;i&gt;mine" in warnings[0] and visit.model == page.names[0]


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_where_no_model_reads_the_page_says_what_to_do_and_draws_nothing(
    lang: str, warnings: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(text_to_picture, "models_here", lambda wanted, fits: [])
    page = DrawnFromWords(Context("cpu"))
    visit = page.first_visit(lang)
    _, top, about, chosen, stage = page.show(visit)
    assert stage["missing"]["kind"] == "model" and chosen is None and about == ""
    assert WORDS[lang]["title"] in top and 'id="language"' in top
    assert drawn(page, visit) == [{"turn": 1, "failed": True}]
    picture = keepsakes.png(Image.new("RGB", (8, 8)), {"kind": "text_to_picture", **WISH})
    assert not any(hasattr(part, "props") for part in page.open(visit, saved(tmp_path, picture)))
    assert len(warnings) == 2 and all("\n" not in line for line in warnings)
    assert "mmfm train draw" in warnings[0]


def test_without_its_clip_a_model_says_whom_it_misses_and_works_once_that_is_back(
    tmp_path: Path, warnings: list[str]
):
    model = word_models.save_both(tmp_path)
    (tmp_path / "clip").rename(tmp_path / "away")
    page = DrawnFromWords(Context("cpu", str(model)))
    visit = page.first_visit("en", {"text": "green apple"})
    missing = page.show(visit)[4]["missing"]
    assert missing["kind"] == "reader" and "learned to read with" in missing["why"]
    assert drawn(page, visit) == [{"turn": 1, "failed": True}] and len(warnings) == 1
    (tmp_path / "away").rename(tmp_path / "clip")
    stage = page.show(visit)[4]
    assert stage["missing"] is None and stage["opening"]["text"] == "red heart"
    assert drawn(page, visit, turn=2)[-1]["over"]


def test_another_clip_in_its_place_is_not_taken_for_the_right_one(tmp_path: Path):
    model = word_models.save_both(tmp_path)
    save_clip(word_models.make_clip(seed=5), tmp_path / "clip")
    page = DrawnFromWords(Context("cpu", str(model)))
    missing = page.show(page.first_visit("en"))[4]["missing"]
    assert "reads the words of" in missing["why"]


def test_a_grey_model_without_hands_is_shown_as_it_is(tmp_path: Path):
    clip = word_models.make_clip()
    reader = Reader(clip)
    config = DenoiserConfig(
        image_size=12, channels=1, classes=0, widths=(8, 8), depths=(1, 1), attention=(1,),
        head_dim=8, text_dim=reader.dim, text_context=reader.context,
    )  # fmt: skip
    save_clip(clip, tmp_path / "clip")
    save_denoiser(Denoiser(config, reads=str(tmp_path / "clip")), tmp_path / "grey")
    page = DrawnFromWords(Context("cpu", str(tmp_path / "grey")))
    visit = page.first_visit("en")
    stage = page.show(visit)[4]
    assert (stage["size"], stage["channels"], stage["hands"]) == (12, 1, [])
    *_, last = drawn(page, visit)
    assert len(base64.b64decode(last["end"])) == 144 and last["frames"][0]["looks"][0]["grid"]
    for kind in ("png", "gif"):
        assert kept(page, visit, kind)


# --- scripts --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(model: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Client]:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        known = {"patches": patches, "text_to_picture": text_to_picture}
        patch.setattr(app, "pages", lambda: known)
        with visitors.serving(app.build(Context("cpu", model))) as address:
            yield Client(address, verbose=False, download_files=str(tmp_path_factory.mktemp("got")))


def test_a_script_says_words_and_gets_pictures(client: Client, model: str):
    files, settings = client.predict("red heart", "", "one", "", 5, 2, 7, api_name="/draw")
    assert settings == {"kind": "text_to_picture", "model": model, **WISH}
    assert [Path(file).suffix for file in files] == [".png", ".gif"]
    for file in files:
        assert keepsakes.about(Path(file).read_bytes()) == settings
    files, settings = client.predict(
        prompt="빨간 하트",
        other="파란 하트",
        mode="between",
        hand="noto",
        steps=None,
        guidance=None,
        api_name="/draw",
    )
    assert settings["other"] == "파란 하트" and settings["steps"] == 6 and settings["seed"] == 0
    assert "빨간_하트-to-파란_하트" in Path(files[0]).name


def test_a_script_that_says_nothing_of_it_draws_within_the_limits_with_any_model(
    page: DrawnFromWords, monkeypatch: pytest.MonkeyPatch
):
    den = page.painter(page.names[0]).den
    monkeypatch.setattr(den, "sampling", {**den.sampling, "steps": 60, "guidance": 12.0})
    ((_, settings),) = page.answer("red heart", "", "one", "", None, None, None)
    assert (settings["steps"], settings["guidance"]) == (50, 10.0)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"prompt": ""}, "Say in a word or two"), ({"prompt": "x" * 500}, "120 letters"),
        ({"mode": "change"}, "Say in a word or two"), ({"mode": "dance"}, "one, change, between"),
        ({"hand": "pen"}, "knows no hand pen"), ({"steps": 1e9}, "Steps lies"),
        ({"steps": 2.5}, "whole"), ({"guidance": -2}, "Guidance lies"), ({"seed": -1}, "Noise"),
    ],
)  # fmt: skip
def test_a_script_is_told_what_is_wrong(wish: dict[str, Any], words: str, client: Client):
    with pytest.raises(Exception) as refused:
        client.predict(
            **{"prompt": "red heart", "steps": None, "guidance": None, **wish}, api_name="/draw"
        )
    assert words in str(refused.value)
    assert "Traceback" not in str(refused.value) and "File" not in str(refused.value)


def test_only_what_is_meant_for_scripts_is_offered_to_them(client: Client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/predict", "/attention", "/draw"}
