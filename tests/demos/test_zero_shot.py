"""Why, CLIP? answers scripts, keeps within its limits, and sends the browser what is so."""

import base64
from collections.abc import Generator
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
import visitors
from gradio_client import Client, handle_file
from mmfm.demos import app, patches, zero_shot
from mmfm.demos.page import Context
from mmfm.demos.words_zero_shot import WORDS
from mmfm.demos.zero_shot import Question, Visit, WhyClip
from PIL import Image

from mmfm.errors import BadInput, NotHere
from mmfm.models.checkpoints import load_clip, save_clip
from mmfm.models.clip import CLIP, TwoTowers
from mmfm.tasks.classify import DEFAULTS, ZeroShotClassifier
from mmfm.tasks.explain import explain

LABELS = ["red circle", "blue star", "yellow heart"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Label vectors of the tests are kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("MMFM_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def page(own_cache: Path) -> WhyClip:
    return WhyClip(Context("cpu", "clip-shapes"))


@pytest.fixture(scope="module")
def clip(page: WhyClip) -> TwoTowers:
    return page.clip("clip-shapes")


@pytest.fixture
def visit(page: WhyClip) -> Visit:
    return page.first_visit("en")


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What visitors are told."""
    heard: list[str] = []
    monkeypatch.setattr(gr, "Warning", heard.append)
    return heard


def event(**data: Any) -> Any:
    return SimpleNamespace(**data)


def asked(labels: str, template: str = "default", none: bool = False, multi: bool = False) -> Any:
    return event(labels=labels, template=template, none=none, multi=multi)


def said(answer: dict[str, Any], table: str = "answers", step: int | None = None) -> list[str]:
    """The answer of each picture, as the browser reads it."""
    numbers = np.frombuffer(base64.b64decode(answer[table]), np.int8)
    column = numbers.reshape(-1, len(answer["scales"]))[:, answer["own"] if step is None else step]
    return ["-" if number < 0 else answer["labels"][number] for number in column]


def scores(answer: dict[str, Any]) -> np.ndarray[Any, Any]:
    numbers = np.frombuffer(base64.b64decode(answer["scores"]), "<u2") / 65535
    return numbers.reshape(-1, len(answer["scales"]), len(answer["labels"]) + 1)


def answer_of(shown: list[Any]) -> dict[str, Any]:
    stage = shown[4]
    return stage["answer"] if isinstance(stage, dict) and "tiles" in stage else sent(stage)


def sent(update: Any, name: str = "answer") -> dict[str, Any]:
    return update.props[name] if hasattr(update, "props") else update[name]


# --- words --------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    english, korean = WORDS["en"], WORDS["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        assert others <= gaps or key == "own_start", key
        assert gaps == others or key in ("unreadable", "own_start"), key


def test_every_score_that_the_page_can_show_says_what_it_is(clip: TwoTowers) -> None:
    for multi in (False, True):
        clf = zero_shot.asked(clip, Question("red circle,ring", multi=multi), WORDS["en"])
        assert f"kind_{clf.score_kind}" in WORDS["en"]
        clf.bias = -10.0  # of a model with the sigmoid loss
        assert f"kind_{clf.score_kind}" in WORDS["en"]


# --- what is sent to the browser ----------------------------------------------------------------


@pytest.mark.parametrize(("none", "multi"), [(False, False), (True, False), (True, True)])
def test_the_browser_gets_the_scores_of_the_classifier_at_every_scale(
    page: WhyClip, visit: Visit, clip: TwoTowers, none: bool, multi: bool
) -> None:
    answer = answer_of(page.ask(visit, asked(",".join(LABELS), "default", none, multi)))
    clf = ZeroShotClassifier(clip, LABELS, none_of_these=none, multi_label=multi)
    rows = torch.stack([tile.vector for tile in visit.tiles])
    assert answer["scales"][answer["own"]] == clf.scale
    np.testing.assert_allclose(answer["cosines"], clf.cosines(rows), atol=1e-4)
    for step in (0, answer["own"], len(answer["scales"]) - 1):
        clf.scale = answer["scales"][step]
        expected = clf.judge(rows)
        assert said(answer, step=step) == [p.label or "-" for p in expected]
        for row, p in zip(scores(answer)[:, step], expected, strict=True):
            assert row[:-1] == pytest.approx([p.scores[name] for name in LABELS], abs=1e-4)
        if none:
            known = clf.known(rows).numpy()
            np.testing.assert_allclose(scores(answer)[:, step, -1], known, atol=1e-4)


def test_the_nearest_general_text_is_named(page: WhyClip, visit: Visit, clip: TwoTowers) -> None:
    answer = answer_of(page.ask(visit, asked(",".join(LABELS), none=True)))
    clf = ZeroShotClassifier(clip, LABELS, none_of_these=True)
    rows = torch.stack([tile.vector for tile in visit.tiles])
    assert answer["bank"] == len(clf.bank) == len(clf.bank_texts)
    for near, row in zip(answer["near"], rows, strict=True):
        number = clf.bank_texts.index(near["text"])
        assert near["cosine"] == pytest.approx(float(clf.bank[number] @ row), abs=1e-5)
        assert near["cosine"] == pytest.approx(float((clf.bank @ row).max()), abs=1e-5)


def test_other_labels_are_read_again_and_pictures_are_not(
    page: WhyClip, visit: Visit, clip: TwoTowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    monkeypatch.setattr(clip, "encode_image", lambda *a, **k: encoded.append(1))
    answer = answer_of(page.ask(visit, asked("yellow pentagon, black crescent\nred ring")))
    assert answer["labels"] == ["yellow pentagon", "black crescent", "red ring"]
    assert encoded == []


def test_the_sentences_that_are_read_are_shown(page: WhyClip, visit: Visit) -> None:
    answer = answer_of(page.ask(visit, asked("owl=부엉이|owl, cat", "a drawing of {a} {name}")))
    texts = [[text for text, _ in label["some"]] for label in answer["sentences"]]
    assert texts == [["a drawing of a 부엉이", "a drawing of an owl"], ["a drawing of a cat"]]
    long = answer_of(page.ask(visit, asked("cat, " + "very " * 40 + "dog")))
    assert long["unread"] == [long["labels"][1]]


def test_evidence_is_that_of_explain(page: WhyClip, visit: Visit, clip: TwoTowers) -> None:
    heat = sent(page.explain(visit, event(picture="circle")), "heat")
    clf = zero_shot.asked(clip, visit.question, WORDS["en"])
    texts = [label.sentences(clf.templates)[0] for label in clf.all_labels]
    found = explain(clip, visit.tiles[0].picture, clf.labels, clf.vectors, texts).labels[0]
    assert found.label == "red circle"
    one = heat["labels"][str(found.number)]
    relevance = np.frombuffer(base64.b64decode(one["relevance"]), np.uint8).reshape(heat["grid"])
    expected = (found.relevance / found.relevance.max()).numpy()
    np.testing.assert_allclose(relevance / 255, expected, atol=0.003)
    assert [word["text"] for word in one["words"]] == texts[found.number].split()
    # Its evidence lies where it is drawn: in the middle.
    assert relevance[2:4, 2:4].mean() > 3 * relevance.mean() / 2


def test_a_model_that_hides_its_attention_says_so(
    page: WhyClip, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BadInput("hands out no attention")

    monkeypatch.setattr(zero_shot, "explain", refuse)
    heat = sent(page.explain(visit, event(picture="circle")), "heat")
    assert "hands out no attention" in heat["reason"]
    gone = sent(page.explain(visit, event(picture="nope")), "heat")
    assert "not on the page" in gone["reason"]


# --- examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "label"), [("en", "pentagon"), ("ko", "오각형")])
def test_one_example_changes_the_answers_to_pictures_like_it_and_no_others(
    page: WhyClip, lang: str, label: str
) -> None:
    visit = page.first_visit(lang)
    before = answer_of(page.show(visit))
    names = [tile.id for tile in visit.tiles]
    pentagons = [i for i, name in enumerate(names) if name.startswith("pentagon")]
    assert all(said(before)[i] != label for i in pentagons)
    shown = page.teach(visit, event(picture="pentagon-2", label=label))
    after = answer_of(shown)
    assert all(said(after)[i] == label for i in pentagons)
    others = [i for i in range(len(names)) if i not in pentagons and names[i] != "cat"]
    assert [said(after)[i] for i in others] == [said(before)[i] for i in others]
    assert said(after, "plain") == said(before)  # what the page marks as changed
    again = answer_of(page.forget(shown[0], event(picture="pentagon-2")))
    assert said(again) == said(before)
    assert again["examples"] == []


def test_an_example_counts_with_none_of_these_too(page: WhyClip, visit: Visit) -> None:
    asking = page.ask(visit, asked(visit.question.labels, none=True))
    number = [tile.id for tile in visit.tiles].index("pentagon-1")
    assert said(answer_of(asking))[number] == "-"
    told = answer_of(page.teach(asking[0], event(picture="pentagon-1", label="pentagon")))
    assert said(told)[number] == "pentagon"


def test_an_example_sleeps_while_its_label_is_not_asked_for(page: WhyClip, visit: Visit) -> None:
    taught = page.teach(visit, event(picture="pentagon-1", label="pentagon"))[0]
    away = page.ask(taught, asked("red circle, blue star"))
    assert [one["used"] for one in answer_of(away)["examples"]] == [False]
    assert answer_of(away)["weight"] is None
    back = answer_of(page.ask(away[0], asked("red circle, pentagon")))
    assert [one["used"] for one in back["examples"]] == [True]


def test_a_picture_that_is_told_twice_is_one_example(page: WhyClip, visit: Visit) -> None:
    first = page.teach(visit, event(picture="circle", label="pentagon"))[0]
    second = page.teach(first, event(picture="circle", label="yellow heart"))[0]
    assert [(one.tile.id, one.label) for one in second.examples] == [("circle", "yellow heart")]
    # It stays when its picture is taken away.
    assert page.remove(second, event(picture="circle"))[0].examples == second.examples


# --- limits -------------------------------------------------------------------------------------


def test_what_cannot_be_asked_is_said_and_the_page_stays(
    page: WhyClip, visit: Visit, warnings: list[str]
) -> None:
    for wish, line in (
        (asked(""), "no labels"),
        (asked("a, a"), "there twice"),
        (asked(",".join(f"label {i}" for i in range(25))), "25 labels"),
        (asked("x" * 1001), "1001 letters"),
        (asked("cat", "{name} " * 40), "280 letters"),
        (asked("cat", "/etc/passwd"), "your own sentence needs"),
        (asked("cat", "{name} {x}"), "a template may hold"),
        (event(), "no labels"),
    ):
        shown = page.ask(visit, wish)
        assert sent(shown[4])["failed"] is True
        assert not isinstance(shown[0], Visit)
        assert line in warnings[-1].replace("&#x27;", "'"), wish
    for wish in (event(picture="nope", label="pentagon"), event(picture="circle", label="<b>")):
        assert sent(page.teach(visit, wish)[4])["failed"] is True
    assert "&lt;b&gt;" in warnings[-1]
    page.ask(page.first_visit("ko"), asked("x" * 1001))
    assert "1001자" in warnings[-1]


def test_labels_are_never_the_name_of_a_file(page: WhyClip, visit: Visit, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret one\nsecret two\n")
    assert answer_of(page.ask(visit, asked(f"@{secret}")))["labels"] == [f"@{secret}"]


def test_pictures_come_until_the_page_is_full(
    page: WhyClip, visit: Visit, tmp_path: Path, warnings: list[str]
) -> None:
    files: list[str] = []
    for number in range(20):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (20 + number, 30), "teal").save(path)
        files.append(str(path))
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    shown = page.bring(visit, [str(broken), *files])
    assert "24 pictures" in warnings[0]
    assert "no picture that can be read" in warnings[1]
    room = zero_shot.MOST_PICTURES - len(visit.tiles)
    assert [tile.id for tile in shown[0].tiles][9:] == [f"own-{i}" for i in range(1, room)]
    more = page.bring(shown[0], files[:1])
    assert more[0].tiles[-1].id == f"own-{room}"
    assert len(answer_of(more)["cosines"]) == zero_shot.MOST_PICTURES


def test_a_visit_remembers_few_pixels_of_a_large_picture(page: WhyClip, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (2000, 500)).save(path)
    tile = page.bring(page.first_visit(), [str(path)])[0].tiles[-1]
    assert tile.picture.width * tile.picture.height <= 1.01 * zero_shot.KEPT_PIXELS
    assert tile.picture.width == pytest.approx(4 * tile.picture.height, rel=0.01)


def test_a_page_without_pictures_still_asks(page: WhyClip, visit: Visit) -> None:
    for tile in visit.tiles:
        visit = page.remove(visit, event(picture=tile.id))[0]
    assert visit.tiles == ()
    assert answer_of(page.ask(visit, asked("cat, dog", none=True)))["cosines"] == []
    assert len(page.restore(visit)[0].tiles) == 9


def test_a_visit_that_was_forgotten_begins_anew(page: WhyClip) -> None:
    for shown in (
        page.ask(None, asked("cat")),
        page.teach(None, event()),
        page.forget(None, event()),
        page.remove(None, event()),
        page.restore(None),
    ):
        assert len(shown[4]["tiles"]) == 9


def test_the_other_language_offers_its_own_labels_unless_they_were_changed(
    page: WhyClip, visit: Visit
) -> None:
    korean = page.speak(visit, event(query={"lang": "ko"}))[0]
    assert "오각형" in korean.question.labels
    own = page.ask(visit, asked("cat, dog"))[0]
    assert page.speak(own, event(query={"lang": "ko"}))[0].question.labels == "cat, dog"
    assert page.speak(own, event(query={"lang": "xx"}))[0].lang == "en"


def test_a_link_asks_its_question_and_nonsense_counts_as_nothing(page: WhyClip) -> None:
    def arrive(**query: str) -> Question:
        request = SimpleNamespace(query_params=query, headers={})
        return page.arrive(request)[0].question  # pyright: ignore[reportArgumentType]

    link = {"labels": "cat,dog", "template": "simple", "none": "1", "multi": "1", "model": "x"}
    assert arrive(**link) == Question("cat,dog", "simple", True, True)
    assert arrive(template="/etc/passwd") == page.first_visit("en").question


# --- another model --------------------------------------------------------------------------------


def test_another_model_sees_the_same_pictures_and_examples(
    page: WhyClip, visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = load_clip("clip-shapes")
    assert isinstance(clip, CLIP)
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.mul_(1.01)
    name = str(tmp_path / "other")
    save_clip(clip, Path(name))
    monkeypatch.setattr(page, "names", ["clip-shapes", name])
    taught = page.teach(visit, event(picture="pentagon-1", label="pentagon"))[0]
    other = page.switch(taught, name)[0]
    assert [tile.id for tile in other.tiles] == [tile.id for tile in visit.tiles]
    assert not torch.equal(other.tiles[0].vector, visit.tiles[0].vector)
    example = other.examples[0]
    assert torch.equal(example.tile.vector, other.tiles[4].vector)
    # Nothing of one's own is lost by it: photographs come instead of drawings.
    assert "cat" in page.switch(visit, name)[0].question.labels


def test_a_model_with_the_sigmoid_loss_needs_no_general_texts(clip: TwoTowers) -> None:
    clf = zero_shot.asked(clip, Question("red circle, ring", multi=True), WORDS["en"])
    clf.bias = -10.0
    visit = Visit("en", "clip-shapes", Question("red circle, ring", multi=True), ())
    assert zero_shot.answer_data(clf, visit)["bank"] == 0


def test_clip_nano_is_what_the_page_starts_with_and_is_asked_about_photographs() -> None:
    page = WhyClip(Context("cpu"))
    assert page.names[:2] == ["clip-nano", "clip-shapes"]
    for lang in ("en", "ko"):
        visit, _, about, _, stage, *_ = page.greet(page.first_visit(lang))
        assert visit.model == stage["model"] == "clip-nano"
        assert "cat" in [tile["id"] for tile in stage["tiles"]]
        assert visit.question.labels == zero_shot.opening_labels("clip-nano", lang)
        assert WORDS[lang]["knows_things"] in about and WORDS[lang]["knows_shapes"] not in about
        assert lang == "ko" or DEFAULTS["clip-nano"] in about  # as the commands say it
    assert WhyClip(Context("cpu", "clip-shapes")).names[:2] == ["clip-shapes", "clip-nano"]


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_of_the_first_photographs_it_gets_wrong_the_two_that_the_page_names(lang: str) -> None:
    page = WhyClip(Context("cpu"))
    visit = page.first_visit(lang)
    clf = zero_shot.asked(page.clip("clip-nano"), visit.question, WORDS[lang])
    cat, astronaut, rocket, coffee = clf.labels
    right = {"coffee": coffee, "rocket": rocket, "cat": cat, "astronaut": astronaut}
    tiles = {tile.id: tile.picture for tile in visit.tiles}
    assert list(tiles)[:2] == ["coffee", "rocket"]
    said = clf.judge(clf.clip.encode_image([tiles[name] for name in right]))
    wrong = {name for name, one in zip(right, said, strict=True) if one.label != right[name]}
    assert wrong == {"cat", "astronaut"}


def test_labels_and_names_are_escaped_and_commands_are_shown() -> None:
    shown = zero_shot.about_html("clip-shapes", WORDS["en"])
    assert "<code>mmfm demo zero_shot --model ViT-B-32/laion2b_s34b_b79k</code>" in shown
    assert "<code>" not in zero_shot.about_html("other", WORDS["ko"])


# --- the server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(own_cache: Path) -> Generator[Client]:
    with pytest.MonkeyPatch.context() as patch, app.private_gradio():
        patch.setattr(app, "pages", lambda: {"patches": patches, "zero_shot": zero_shot})
        with visitors.serving(app.build(Context("cpu", "clip-shapes"))) as address:
            yield Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture
def picture(visit: Visit, tmp_path: Path) -> Path:
    path = tmp_path / "circle.png"
    visit.tiles[0].picture.save(path)
    return path


def test_a_script_gets_the_classifiers_own_answer(
    client: Client, clip: TwoTowers, picture: Path
) -> None:
    for none, multi in ((False, False), (True, False), (False, True)):
        found = client.predict(
            handle_file(picture),
            "red circle=빨간 원|red circle, blue star",
            "a drawing of {a} {name}",
            none,
            multi,
            api_name="/classify",
        )
        p = ZeroShotClassifier(
            clip,
            ["red circle=빨간 원|red circle", "blue star"],
            templates=["a drawing of {a} {name}"],
            none_of_these=none,
            multi_label=multi,
        ).classify(picture)
        assert found["label"] == p.label == "red circle"
        assert found["score"] == pytest.approx(p.score, abs=1e-5)
        assert found["score_kind"] == p.score_kind
        assert found["scores"] == pytest.approx(p.scores, abs=1e-5)


def test_a_script_is_told_what_was_wrong(client: Client, picture: Path, tmp_path: Path) -> None:
    text = tmp_path / "no.png"
    text.write_text("not a picture")
    for file, labels, template, line in (
        (handle_file(text), "cat", "default", "no picture that can be read"),
        (None, "cat", "default", "no picture was sent"),
        (handle_file(picture), "", "default", "no labels"),
        (handle_file(picture), "cat", "/etc/passwd", "your own sentence needs"),
        (handle_file(picture), "cat," * 400, "default", "letters"),
        ({"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}, "cat",
         "default", "Send a file, not an address"),
    ):  # fmt: skip
        with pytest.raises(Exception, match=line):
            client.predict(file, labels, template, False, False, api_name="/classify")


def test_a_script_sees_only_what_is_meant_for_it(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)
    assert "/classify" in named["named_endpoints"]
    assert not named["unnamed_endpoints"]


def test_a_wrong_model_is_said_at_once() -> None:
    with pytest.raises(NotHere, match="no model 'nope'"):
        WhyClip(Context("cpu", "nope"))


def test_a_word_has_a_map_of_its_own(page: WhyClip) -> None:
    visit = page.first_visit("en")
    clf = zero_shot.asked(page.clip(visit.model), visit.question, WORDS["en"])
    red = zero_shot.word_data(clf, visit.tiles[0], 0, 0)
    label = zero_shot.heat_data(clf, visit.tiles[0])["labels"]["0"]["relevance"]
    assert len(red) == len(label) and red != label
    shares = np.frombuffer(base64.b64decode(red), np.uint8).reshape(6, 6)
    assert shares.max() == 255
    for label, word in ((0, 9), (0, -1), (0, "0"), (99, 0), (None, 0)):
        with pytest.raises(BadInput):
            zero_shot.word_data(clf, visit.tiles[0], label, word)
