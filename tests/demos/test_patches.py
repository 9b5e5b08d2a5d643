"""The Patch Lens answers scripts, refuses what it must, and starts only when all is well."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from mmfm.demos import app, parts, patches, words
from mmfm.demos.page import Context, Slot
from PIL import Image

from mmfm.errors import BadInput, NotHere
from mmfm.models.checkpoints import load_vit, save_vit
from mmfm.models.vit import ViT
from mmfm.tasks.look import Lens

# --- words --------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things_with_the_same_gaps() -> None:
    english, korean = words.PATCHES["en"], words.PATCHES["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        gaps, others = (
            {g for _, g, _, _ in Formatter().parse(t) if g} for t in (text, korean[key])
        )
        # A Korean message may leave out an English reason, but never name one that is not there.
        assert others <= gaps, key
        assert gaps == others or key == "unreadable", key


@pytest.mark.parametrize(
    ("query", "fixed", "browser", "expected"),
    [
        ({}, None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ({}, None, "fr-FR,ko;q=0.5", "ko"),
        ({}, None, "fr", "en"),
        ({}, None, "", "en"),
        ({}, "en", "ko", "en"),
        ({"lang": "ko"}, "en", "en", "ko"),
        ({"lang": "xx"}, None, "ko", "ko"),
    ],
)
def test_the_link_goes_before_the_option_and_that_before_the_browser(
    query: dict[str, str], fixed: str | None, browser: str, expected: str
) -> None:
    assert Context(lang=fixed).language(query, {"accept-language": browser}) == expected


# --- what is sent to the browser ----------------------------------------------------------------


def test_the_browser_gets_the_attention_that_the_model_has(noise: ViT) -> None:
    look = Lens(noise).look(parts.draw_shapes())
    sent = patches.rows_data(look, 1, None)
    attention = look.attention(1)
    heads, askers, n = attention.shape
    shares = np.frombuffer(base64.b64decode(sent["attention"]), np.uint8).reshape(heads, askers, n)
    peaks = np.frombuffer(base64.b64decode(sent["attention_peak"]), "<f4").reshape(heads, askers, 1)
    np.testing.assert_allclose(shares / 255 * peaks, attention, atol=float(peaks.max()) / 500)
    alike = np.frombuffer(base64.b64decode(sent["alike"]), "<u2").reshape(askers, n) / 32767.5 - 1
    np.testing.assert_allclose(alike, look.similarity(1), atol=1e-4)
    one = patches.rows_data(look, 1, 5)
    assert one["first"] == 5
    assert base64.b64decode(one["attention"]) == shares[:, 5:6].tobytes()


def test_pointing_only_looks_up_what_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = patches.PatchLens(Context("cpu", str(folder)))
    look = page.lens(str(folder)).look(parts.draw_shapes())
    asked = {"key": look.key, "model": str(folder), "layer": 1, "asker": None}
    assert page.read(asked) == patches.rows_data(look, 1, None)
    assert page.read({**asked, "asker": 65}) == patches.rows_data(look, 1, 65)
    for wrong in (
        {"key": "of another picture"},
        {"model": "another"},
        {"layer": 3},
        {"layer": "1"},
        {"layer": None},
        {"asker": 66},
        {"asker": -1},
        {"asker": "0"},
    ):
        assert page.read({**asked, **wrong}) is None, wrong
    assert page.read("nonsense") is None
    monkeypatch.setattr(patches, "SENT_AT_ONCE", 100)
    assert page.read(asked) is None
    assert page.read({**asked, "asker": 3}) == patches.rows_data(look, 1, 3)


def test_vit_nano_is_what_the_page_starts_with(folder: Path) -> None:
    page = patches.PatchLens(Context("cpu"))
    assert page.names[0] == "vit-nano"
    assert page.show(page.first_visit())[4]["model"] == "vit-nano"
    assert patches.models(str(folder))[:2] == [str(folder), "vit-nano"]


def test_a_label_is_said_in_the_visitors_language_where_it_is_known() -> None:
    model = SimpleNamespace(labels=["rocket ship", "airplane", "no such thing"])
    said = [patches.label_of(cast(Any, model), number, "ko") for number in range(4)]
    assert said == ["rocket ship", "비행기", "no such thing", "3번 분류"]
    assert patches.label_of(cast(Any, model), 1, "en") == "airplane"


def test_examples_are_here_without_a_network() -> None:
    found = parts.examples()
    assert {"cat", "astronaut", "shapes", "stripes"} <= found.keys()
    assert next(iter(found)) == "coffee"  # what the page opens with, and vit-nano knows
    assert all(name in words.PATCHES["ko"] for name in found)


def test_a_link_with_nonsense_in_it_is_brought_between_its_limits() -> None:
    for text, expected in (("3", 3), ("0", 1), ("99", 6), ("-1", 6), ("x", 6), (None, 6)):
        assert parts.whole_number(text, 1, 6, 6) == expected


def test_a_one_pixel_grey_or_transparent_picture_is_a_picture(noise: ViT, tmp_path: Path) -> None:
    lens = Lens(noise)
    for number, picture in enumerate(
        (Image.new("RGB", (1, 1), "red"), Image.new("L", (5, 9)), Image.new("RGBA", (40, 30)))
    ):
        path = tmp_path / f"{number}.png"
        picture.save(path)
        assert lens.look(parts.read_picture(str(path))).patches == 64


def test_too_many_pixels_are_refused_in_both_languages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_PIXELS", 99)
    path = tmp_path / "large.png"
    Image.new("RGB", (10, 10)).save(path)
    with pytest.raises(BadInput) as caught:
        parts.read_picture(str(path))
    english, korean = (words.explain(caught.value, words.PATCHES[lang]) for lang in ("en", "ko"))
    assert "10 x 10 pixels are over the limit of 99" in english
    assert str(tmp_path) not in english + korean
    assert "그림" in korean


def test_the_page_says_whose_weights_it_runs(folder: Path) -> None:
    say = words.PATCHES["en"]
    model = load_vit(str(folder))
    said = parts.weights_words(model, str(folder), say)
    assert said == f"{folder} · yours, from a folder · trained on noise-10"
    random = parts.weights_words(patches.random_vit("cpu"), parts.RANDOM, say)
    assert "nothing has been learned" in random


def test_a_card_that_names_no_data_is_no_fault(folder: Path, noise: ViT, tmp_path: Path) -> None:
    assert parts.trained_on(str(folder)) == "noise-10"
    for number, card in enumerate(("# A title", "---\nlicense: mit\n---\n", None)):
        other = tmp_path / str(number)
        save_vit(noise, other)
        if card is not None:
            (other / "README.md").write_text(card)
        assert parts.trained_on(str(other)) is None


def test_a_run_of_ones_own_says_what_it_was_trained_on(noise: ViT, tmp_path: Path) -> None:
    for data, said in (("digits", "digits"), ("/home/me/photos/pets", "photos/pets")):
        run = tmp_path / said.replace("/", "-")
        save_vit(noise, run)
        (run / "run.json").write_text(json.dumps({"mmfm": 1, "train": "vit", "data": data}))
        model = load_vit(str(run))
        line = parts.weights_words(model, str(run), words.PATCHES["en"])
        assert line == f"{run} · yours, from a folder · trained on {said}"


def test_without_a_checkpoint_random_weights_still_move_their_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "checkpoints", list)
    assert patches.models(None) == [parts.RANDOM]
    look = patches.open_lens(parts.RANDOM, "cpu").look(parts.draw_shapes())
    half = patches.answer_data(look, [True] * 32 + [False] * 32, "en")
    assert any(abs(bar["whole"] - bar["now"]) > 1e-3 for bar in half["bars"])


def test_labels_and_names_are_escaped(noise: ViT, tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x>"
    save_vit(noise, folder)
    visit = patches.Visit("en", str(folder), parts.draw_shapes(), "shapes")
    html = parts.top_html(load_vit(str(folder)), visit.model, visit.lang, words.PATCHES["en"])
    assert "<img src=x>" not in html
    assert "&lt;img src=x&gt;" in html


def test_only_one_model_is_held() -> None:
    slot = Slot()
    assert slot.take("a", lambda: "first") == "first"
    assert slot.take("a", lambda: "again") == "first"
    assert slot.take("b", lambda: "second") == "second"
    assert slot.held("a") is None
    assert slot.held("b") == "second"

    def fails() -> str:
        raise NotHere("gone")

    with pytest.raises(NotHere):
        slot.take("c", fails)
    assert slot.held("b") is None
    assert slot.held("c") is None


# --- the server ---------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.png"
    parts.draw_shapes().save(path)
    return path


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False, analytics_enabled=False)


def test_a_script_gets_the_models_own_prediction(
    client: Client, picture: Path, folder: Path
) -> None:
    model = load_vit(str(folder))
    image = model.preprocessing(Image.open(picture))[None]
    with torch.inference_mode():
        logits = model(image).logits
        keep = torch.arange(64) < 32
        half = model(image, keep=keep).logits
    assert logits is not None
    assert half is not None
    whole = client.predict(handle_file(picture), "", api_name="/predict")
    assert list(whole) == list(model.labels)
    assert list(whole.values()) == pytest.approx(logits[0].softmax(-1).tolist(), abs=1e-5)
    kept = client.predict(handle_file(picture), "1" * 32 + "0" * 32, api_name="/predict")
    assert list(kept.values()) == pytest.approx(half[0].softmax(-1).tolist(), abs=1e-5)


def test_a_script_gets_the_attention(client: Client, picture: Path, folder: Path) -> None:
    model = load_vit(str(folder))
    image = model.preprocessing(Image.open(picture))[None]
    with torch.inference_mode():
        weights = model(image, attention=[2]).attention[2][0, 3, 0, 2:]
    found = client.predict(handle_file(picture), 2, 3, 0, api_name="/attention")
    np.testing.assert_allclose(found, weights.reshape(8, 8), atol=1e-6)
    average = client.predict(handle_file(picture), 2, -1, 0, api_name="/attention")
    assert np.shape(average) == (8, 8)


def test_a_script_is_told_what_was_wrong(client: Client, picture: Path, tmp_path: Path) -> None:
    text = tmp_path / "no.png"
    text.write_text("not a picture")
    for arguments, name, line in (
        ((handle_file(text), ""), "/predict", "no picture that can be read"),
        ((None, ""), "/predict", "no picture was sent"),
        ((handle_file(picture), "0" * 64), "/predict", "all patches are masked"),
        ((handle_file(picture), "01"), "/predict", "64 signs 0 and 1"),
        ((handle_file(picture), 3, 0, 0), "/attention", "no layer 3"),
        ((handle_file(picture), -1, 0, 0), "/attention", "no layer -1"),
        ((handle_file(picture), 0, 4, 0), "/attention", "heads are -1 to 3, askers 0 to 65"),
        ((handle_file(picture), 0, 0, -1), "/attention", "heads are -1 to 3, askers 0 to 65"),
        ((handle_file(picture), None, 0, 0), "/attention", "layer, head and asker are"),
        (({"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}, ""),
         "/predict", "Send a file, not an address"),
    ):  # fmt: skip
        with pytest.raises(Exception, match=line):
            client.predict(*arguments, api_name=name)


def test_a_script_reads_the_message_as_it_was_meant() -> None:
    with pytest.raises(gr.Error) as caught, parts.told():
        raise BadInput("'a' < b & c")
    assert caught.value.message.endswith("'a' < b & c.")


def test_a_script_sees_only_what_is_meant_for_it(client: Client) -> None:
    named = client.view_api(return_format="dict", print_info=False)
    assert set(named["named_endpoints"]) == {
        "/predict",
        "/attention",
        "/classify",
        "/similarity",
        "/draw",
        "/redraw",
        "/plane",
        "/train_start",
        "/train_status",
        "/train_pause",
        "/train_go_on",
        "/train_stop",
        "/train_runs",
        "/train_draw",
    }
    assert not named["unnamed_endpoints"]


def test_a_model_opens_the_page_that_runs_it(folder: Path) -> None:
    known = app.pages()
    assert app._page_for(str(folder), None, known) == "patches"
    assert app._page_for("clip-shapes", None, known) == "zero_shot"
    assert app._page_for("clip-shapes", "meaning_map", known) == "meaning_map"
    with pytest.raises(BadInput, match="patches does not run clip-shapes; these do: zero_shot"):
        app._page_for("clip-shapes", "patches", known)


def test_a_model_that_no_page_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model": "weather"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="no page runs such a model"):
        app._page_for(str(tmp_path), None, app.pages())


def test_the_heading_leads_to_all_pages_in_the_language_that_is_spoken() -> None:
    titles = {f"./{name}": page.title for name, page in app.pages().items()}
    korean = parts.pages_html(titles, "ko", words.PATCHES["ko"])
    assert korean.count("<a ") == len(titles) and korean.count("aria-current") == 1
    for name, page in app.pages().items():
        assert f'href="./{name}?lang=ko"' in korean and page.title("ko") in korean
    alone = {"./": patches.title}
    assert parts.pages_html(alone, "en", words.PATCHES["en"]) == ""


def test_another_host_name_is_refused(address: str) -> None:
    for host, status in (
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost", 200),
    ):
        assert httpx.get(address, headers={"host": host}).status_code == status
    config = httpx.get(f"{address}/config", headers={"host": "evil.example:7860"})
    assert config.status_code == 400


def test_every_answer_forbids_the_browser_to_leave(address: str) -> None:
    headers = httpx.get(address).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_files_of_the_machine_are_not_served(address: str, folder: Path) -> None:
    for path in (folder / "config.json", Path(patches.__file__), Path("/etc/passwd")):
        found = httpx.get(f"{address}/gradio_api/file={path}")
        assert found.status_code in (403, 404), path


def test_a_file_beyond_the_limit_is_not_taken(address: str) -> None:
    files = {"files": ("large.png", b"x" * 33_600_000)}
    assert httpx.post(f"{address}/gradio_api/upload", files=files, timeout=60).status_code == 413


# --- starting -----------------------------------------------------------------------------------


def test_wrong_wishes_are_said_before_anything_is_served(tmp_path: Path) -> None:
    for wishes, kind, line in (
        ({"page": "nope"}, BadInput, "no page 'nope'; there are: patches"),
        ({"model": "nope"}, NotHere, "no model 'nope'"),
        ({"lang": "fr"}, BadInput, "no language 'fr'; the pages speak en, ko"),
        ({"device": "nope"}, BadInput, "no device 'nope'"),
        ({"host": "0.0.0.0"}, BadInput, "--auth USER:PASS"),
        ({"host": "0.0.0.0", "auth": "me:"}, BadInput, "neither of them empty"),
        ({"allow": [tmp_path / "none"]}, BadInput, "none: no such folder"),
        ({"allowed_hosts": ["http://x/"]}, BadInput, "is no host name"),
    ):
        with pytest.raises(kind, match=line):
            app.serve(open_browser=False, **wishes)


def test_what_the_first_visitor_would_wait_for_is_loaded_before_pages_are_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = list[str]()

    def load(name: str) -> None:
        assert capsys.readouterr().out == ""
        loaded.append(name)

    def run(pages: object, listening: socket.socket) -> None:
        assert loaded == ["matplotlib.pyplot"]
        assert "mmfm runs at http://127.0.0.1:" in capsys.readouterr().out

    monkeypatch.setattr(app, "import_module", load)
    monkeypatch.setattr(app, "build", lambda *given, **named: None)
    monkeypatch.setattr(app, "_run", run)
    app.serve(port=0, open_browser=False)
    assert len(loaded) == 1


def test_a_password_alone_is_that_of_mmfm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFM_AUTH", "secret")
    assert app._login(None, "0.0.0.0") == ("mmfm", "secret")
    assert app._login("me:a:b", "0.0.0.0") == ("me", "a:b")
    monkeypatch.delenv("MMFM_AUTH")
    assert app._login(None, "127.0.0.1") is None


def test_the_next_port_is_taken_unless_one_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(BadInput, match=f"cannot listen on 127.0.0.1, port {taken}"):
            app.listen("127.0.0.1", taken)
        monkeypatch.setattr(app, "FIRST_PORT", taken)
        with app.listen("127.0.0.1", None) as listening:
            assert taken < listening.getsockname()[1] < taken + 100


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_it_prints_its_address_and_ends_at_an_interrupt(folder: Path) -> None:
    code = f"from mmfm.demos.app import serve; serve(model={str(folder)!r}, port=0)"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        where = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        assert httpx.get(where, timeout=60).status_code == 200
        with httpx.stream("GET", f"{where}gradio_api/heartbeat/x", timeout=10):
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    # KeyboardInterrupt goes on to the command line, which ends with 130 and without a word.
    assert process.returncode == -signal.SIGINT
    assert errors.strip().splitlines()[-1:] == ["KeyboardInterrupt"]
