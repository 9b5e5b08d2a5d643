"""The Meaning Map sends what the vectors say, keeps its limits, and answers scripts."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
import visitors
from gradio_client import Client, handle_file
from mmfm.demos import app, meaning_map, patches
from mmfm.demos.meaning_map import Item, MeaningMap, Visit
from mmfm.demos.page import Context
from mmfm.demos.words_meaning_map import WORDS
from PIL import Image

from mmfm.errors import BadInput, NotHere
from mmfm.models.checkpoints import load_clip
from mmfm.tasks.classify import DEFAULTS

SMALL = meaning_map.SMALL


@pytest.fixture(scope="module")
def page() -> MeaningMap:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meaning_map, "models_here", lambda wanted, fits: [SMALL])
        return MeaningMap(Context("cpu"))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    return said


def event(**data: object) -> gr.EventData:
    return gr.EventData(None, data)


def stage(shown: Any) -> dict[str, Any]:
    assert isinstance(shown[0], Visit)
    return shown[4]


# --- words --------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        assert gaps == others or key == "unreadable", key


def test_every_set_has_a_name_and_a_sum_in_both_languages() -> None:
    for name, items in meaning_map.sets().items():
        assert len(items) >= meaning_map.LEAST
        assert all(len(item.captions) == 2 for item in items)
        for lang in ("en", "ko"):
            assert WORDS[lang][f"set_{name}"]
            assert all(meaning_map.SUMS[name][lang])


# --- what is sent to the browser ----------------------------------------------------------------


def test_the_page_opens_on_drawings_that_the_small_model_knows(page: MeaningMap) -> None:
    shown = page.show(page.first_visit())
    data = stage(shown)
    assert data["found"] == {"pictures": [12, 12], "texts": [24, 24]}
    assert data["small"]
    assert WORDS["en"]["small"] in shown[2]
    json.dumps(data)  # all of it can be sent
    now = data["space"]["steps"][data["space"]["now"]]
    assert now["amount"] == 0
    assert now["pictures"] == [12, 12]
    assert now["gap"] > 0.3
    closed = next(step for step in data["space"]["steps"] if step["amount"] == 1)
    assert closed["gap"] < 0.1
    assert closed["pile"][0] > now["pile"][0]
    # Red away, blue added: the circle that was red is now nearest to the blue one.
    strongest = data["strengths"].index(1)
    nearest = torch.tensor(data["answer"]["pictures"][strongest]).argmax()
    assert data["pictures"][nearest]["captions"] == "a blue circle | 파란 원"


def test_clip_nano_is_what_the_page_starts_with_and_it_opens_on_photographs() -> None:
    page = MeaningMap(Context("cpu"))
    assert page.names[:2] == ["clip-nano", SMALL]
    for query, name in (({}, "photos"), ({"model": SMALL}, "forms"), ({"set": "order"}, "order")):
        request: Any = SimpleNamespace(query_params={**query, "lang": "ko"}, headers={})
        visit, _, chooser, *_ = page.arrive(request)
        assert (visit.model, visit.name) == (query.get("model", "clip-nano"), name)
        key = "small" if visit.model == SMALL else "small_things"
        assert WORDS["ko"][key] in chooser
    switched = page.switch(page.first_visit("en", "photos", SMALL), "clip-nano")
    assert stage(switched)["small"] and WORDS["en"]["small_things"] in switched[2]
    assert DEFAULTS["clip-nano"] in switched[2]  # as the commands say it


def test_the_browser_gets_the_cosines_that_the_model_has(page: MeaningMap) -> None:
    visit = page.first_visit()
    data = stage(page.show(visit))
    model = load_clip(SMALL)
    images = model.encode_image([item.picture for item in visit.items])
    texts = model.encode_text([text["text"] for text in data["texts"]])
    torch.testing.assert_close(
        torch.tensor(data["cosines"]), images @ texts.T, atol=1e-4, rtol=1e-4
    )
    assert all(data["pictures"][p]["captions"].count(data["texts"][t]["text"])
               for p, t in data["pairs"])  # fmt: skip


def test_left_and_right_are_what_the_small_model_mixes_up(page: MeaningMap) -> None:
    data = stage(page.show(page.first_visit("en", "order")))
    found, asked = data["found"]["pictures"]
    assert found < asked
    worst = data["rivals"]["pictures"][0]
    assert worst["margin"] >= 0
    cosines = data["cosines"][worst["question"]]
    assert cosines[worst["wrong"]] >= cosines[worst["right"]]


def test_a_caption_that_two_pictures_share_counts_once_and_is_right_for_both() -> None:
    one = Image.new("RGB", (4, 4))
    items = (Item(one, ("a", "b")), Item(one, ("b",)), Item(one, ()))
    visit = Visit("en", SMALL, "yours", items, ("c", "a"), meaning_map.Sum(0, "", ""))
    assert meaning_map.texts_of(visit) == ["a", "b", "c"]
    assert meaning_map.pairs_of(visit).tolist() == [[0, 0], [0, 1], [1, 1]]


def test_a_set_without_any_pair_is_shown_too(page: MeaningMap) -> None:
    visit = page.first_visit()
    bare = tuple(Item(item.picture, ()) for item in visit.items[:2])
    data = stage(page.change(visit, Visit("ko", SMALL, "yours", bare, ("a", "b"), visit.sum)))
    assert data["pairs"] == []
    assert data["found"]["pictures"] == [0, 0]
    assert data["space"]["mean"]["pairs"] is None
    json.dumps(data)


def test_a_large_picture_is_kept_and_sent_small() -> None:
    large = Image.effect_noise((3000, 900), 50).convert("RGB")
    kept = meaning_map.small(large)
    assert max(kept.size) == meaning_map.LONGEST_SIDE
    assert large.size == (3000, 900)  # the examples are shared by all
    assert len(meaning_map.tile(kept)) < 40_000


# --- what visitors do ---------------------------------------------------------------------------


def test_captions_are_parted_by_bars_and_lines() -> None:
    text = " a red  circle | 빨간 원 |\n| a red circle\r\nb "
    assert meaning_map.as_captions(text) == ("a red circle", "빨간 원", "b")
    assert meaning_map.as_captions(" | ") == ()


def test_writing_and_taking_away_change_the_set(page: MeaningMap) -> None:
    visit = page.first_visit()
    sent = event(kept=[1, 3], captions=["a blue circle", "nonsense | x"], extra="y\nz", turn=4)
    shown = page.write(visit, sent)
    changed: Visit = shown[0]
    assert [item.captions for item in changed.items] == [("a blue circle",), ("nonsense", "x")]
    assert changed.items[1].picture is visit.items[3].picture
    assert changed.extra == ("y", "z")
    assert changed.name == "yours"
    assert changed.sum.start == 0
    moved = page.write(
        Visit("en", SMALL, "forms", visit.items, (), meaning_map.Sum(3, "", "")), sent
    )
    assert moved[0].sum.start == 1  # the sum stays with its picture


def test_the_same_captions_once_more_are_still_the_set(page: MeaningMap) -> None:
    visit = page.first_visit()
    said = [" | ".join(item.captions) for item in visit.items]
    shown = page.write(visit, event(kept=list(range(12)), captions=said, extra="", turn=1))
    assert shown[0] == visit


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"kept": [0], "captions": ["a | b"]}, "2"),
        ({"kept": [0, 1], "captions": ["a", ""]}, "2"),
        ({"extra": "\n".join(map(str, range(61)))}, "60"),
        ({"extra": "x" * 201}, "200"),
        ({"kept": [1, 0]}, "in their order"),
        ({"kept": [0, 12]}, "0 to 11"),
        ({"kept": "01"}, "whole numbers"),
        ({"kept": [True, 1]}, "whole numbers"),
        ({"captions": ["a"]}, "12"),
        ({"captions": [None] * 12}, "captions are texts"),
        ({"extra": None}, "captions are texts"),
    ],
)
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_what_is_too_much_is_said_and_nothing_changes(
    page: MeaningMap, warnings: list[str], change: dict[str, Any], line: str, lang: str
) -> None:
    visit = page.first_visit(lang)
    good = {"kept": list(range(12)), "captions": [f"c{n}" for n in range(12)], "extra": ""}
    shown = page.write(visit, event(**{**good, **change, "turn": 7}))
    assert len(warnings) == 1
    assert line in warnings[0]
    assert all(update == gr.skip() for update in shown[:4])
    assert shown[4].props["done"] == 7


def test_pictures_join_the_set_up_to_a_limit_and_files_that_are_none_do_not(
    page: MeaningMap, warnings: list[str], tmp_path: Path
) -> None:
    visit = page.first_visit()
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (40, 30), "teal").save(good)
    bad.write_text("no picture")
    shown = page.bring(visit, [str(good), str(bad), str(good)])
    assert len(shown[0].items) == 14
    assert shown[0].items[12].captions == ()
    assert "That did not work" in warnings.pop()
    assert page.bring(visit, [str(bad)]) == gr.skip()
    warnings.clear()
    assert page.bring(visit, [str(good)] * 13) == gr.skip()
    assert warnings == ["A set holds at most 24 pictures."]


def test_another_sum_is_answered_and_nonsense_is_refused(
    page: MeaningMap, warnings: list[str]
) -> None:
    visit = page.first_visit()
    changed, update = page.reckon(visit, event(start=2, minus=" circle ", plus="star", turn=3))
    assert (changed.sum.start, changed.sum.minus, changed.sum.plus) == (2, "circle", "star")
    assert update.props["answer"]["turn"] == 3
    assert len(update.props["answer"]["texts"]) == len(meaning_map.STRENGTHS)
    at_start = update.props["answer"]["pictures"][0]
    assert at_start.index(max(at_start)) == 2
    for wrong in (
        {"start": 12},
        {"start": -1},
        {"start": "0"},
        {"minus": None},
        {"plus": "x" * 201},
    ):
        good = {"start": 0, "minus": "", "plus": "", "turn": 4}
        same, update = page.reckon(visit, event(**{**good, **wrong}))
        assert same == gr.skip()
        assert update.props["answer"] == {"failed": True, "turn": 4}
    assert len(warnings) == 5


def test_sets_and_models_that_are_not_there_are_refused(
    page: MeaningMap, warnings: list[str]
) -> None:
    assert page.start(None, event(name="<b>none</b>")) == gr.skip()
    assert page.switch(None, "another") == gr.skip()
    assert "<b>" not in warnings[0]
    assert len(warnings) == 2
    shown = page.start(None, event(name="places"))
    assert len(stage(shown)["pictures"]) == 9


def test_another_language_keeps_what_the_visitor_wrote(page: MeaningMap) -> None:
    visit = page.first_visit("ko", "order")
    shown = page.speak(visit, event(query={"lang": "en"}))
    assert shown[0].lang == "en"
    assert shown[0].items == visit.items
    assert shown[0].sum == visit.sum
    assert page.speak(visit, event(query={"lang": "xx"}))[0].lang == "ko"


def test_a_wrong_model_is_said_before_the_first_visitor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"mmfm": 1, "model": "clip"}')
    monkeypatch.setattr(meaning_map, "models_here", lambda wanted, fits: [wanted, SMALL])
    with pytest.raises((BadInput, NotHere, KeyError)):
        MeaningMap(Context("cpu", str(tmp_path)))
    monkeypatch.setattr(meaning_map, "models_here", lambda wanted, fits: [])
    with pytest.raises(NotHere, match="no CLIP is here"):
        MeaningMap(Context("cpu"))


# --- what scripts ask ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Generator[Client]:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"patches": patches, "meaning_map": meaning_map})
        patch.setattr(meaning_map, "models_here", lambda wanted, fits: [SMALL])
        with visitors.serving(app.build(Context("cpu"))) as address:
            yield Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drawings")
    paths: list[Path] = []
    for number, item in enumerate(meaning_map.sets()["forms"][:3]):
        paths.append(folder / f"{number}.png")
        item.picture.save(paths[-1])
    return paths


def test_a_script_gets_the_models_own_cosines(client: Client, drawings: list[Path]) -> None:
    captions = "a red circle\n\n a blue circle \n노란 원\na red circle\n"
    files = [handle_file(path) for path in drawings]
    answer = client.predict(files, captions, api_name="/similarity")
    model = load_clip(SMALL)
    lines = ["a red circle", "a blue circle", "노란 원", "a red circle"]
    expected = model.encode_image(drawings) @ model.encode_text(lines).T
    torch.testing.assert_close(torch.tensor(answer), expected, atol=1e-5, rtol=1e-4)
    assert [row.index(max(row)) for row in answer] == [0, 1, 2]


def test_a_script_is_told_what_is_wrong(client: Client, drawings: list[Path]) -> None:
    file = handle_file(drawings[0])
    asks: list[tuple[Callable[[], object], str]] = [
        (lambda: client.predict([], "a", api_name="/similarity"), "At least 1 of both"),
        (lambda: client.predict([file], " \n", api_name="/similarity"), "At least 1 of both"),
        (lambda: client.predict([file] * 25, "a", api_name="/similarity"), "at most 24 pictures"),
        (lambda: client.predict([file], "a\n" * 61, api_name="/similarity"), "60 captions"),
        (lambda: client.predict([file], "a" * 201, api_name="/similarity"), "200 letters"),
        (
            lambda: client.predict(
                [{"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}],
                "a",
                api_name="/similarity",
            ),
            "Send a file, not an address",
        ),
    ]
    for ask, line in asks:
        with pytest.raises(Exception, match=line):
            ask()


def test_scripts_see_no_more_of_the_page_than_that(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert {name for name in named if name not in ("/predict", "/attention")} == {"/similarity"}
