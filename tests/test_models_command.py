"""`mmfm models`: what is here, its card, and fetching more; and which model is run unasked."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from published import PublishedHub
from safetensors.torch import save

from mmfm import cli, hub
from mmfm.commands.options import chosen_clip
from mmfm.hub import in_words
from mmfm.tasks import get_model
from mmfm.tasks.classify import DEFAULTS, default_model

ASSETS = Path(str(files("mmfm.assets"))) / "checkpoints"
FILES = {
    "config.json": b'{"mmfm": 1, "model": "vit"}',
    "model.safetensors": save({"a": torch.zeros(500_000)}),
    "README.md": b"---\nscore: 3 of 4\n---\n# A card\nwith a \x1b[31mred herring\n",
}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedHub]:
    with PublishedHub() as published:
        template = published.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "ENDPOINT", published.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        published.publish("owner/model", FILES)
        yield published


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = cli.main(words)
    return status, *capsys.readouterr()


# --- the list -----------------------------------------------------------------------------------


def test_all_that_is_bundled_is_listed_with_size_task_score_and_card(
    served: PublishedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run("models", capsys=capsys)
    assert (status, err) == (0, "")
    heading, *lines = out.splitlines()
    assert heading.split() == ["name", "task", "size", "where", "score", "card"]
    rows = [re.split(r" {2,}", line) for line in lines]
    assert [row[0] for row in rows] == list(hub.bundled())
    for name, task, size, where, score, card in rows:
        assert size == in_words((ASSETS / name / "model.safetensors").stat().st_size)
        assert where == "bundled" and task != "unknown" and Path(card).is_file()
        assert re.search(r"\d", score)
        assert f"\nscore: {score}\n" in Path(card).read_text(encoding="utf-8")


def test_a_program_gets_the_same_as_json(
    served: PublishedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    run("models", "get", "hf:owner/model", capsys=capsys)
    status, out, err = run("models", "--json", capsys=capsys)
    assert (status, err) == (0, "")
    listed = {one["name"]: one for one in map(json.loads, out.splitlines())}
    assert list(listed) == [*hub.bundled(), "hf:owner/model"]
    fetched = listed["hf:owner/model"]
    assert (fetched["where"], fetched["score"], fetched["task"]) == ("cached", "3 of 4", "vit")
    assert fetched["size"] == len(FILES["model.safetensors"]) and fetched["fault"] is None
    assert Path(fetched["card"]).read_bytes() == FILES["README.md"]


def test_a_card_is_printed_and_does_nothing_to_the_terminal(
    served: PublishedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run("models", "card", "vit-nano", capsys=capsys)
    assert (status, err) == (0, "")
    assert out == (ASSETS / "vit-nano" / "README.md").read_text(encoding="utf-8")
    run("models", "get", "hf:owner/model", capsys=capsys)
    status, out, _ = run("models", "card", "hf:owner/model", capsys=capsys)
    assert status == 0 and "with a \\x1b[31mred herring\n" in out and "\x1b" not in out


def test_where_no_card_is_here_it_is_said_where_one_may_be(
    served: PublishedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    run("models", "get", "hf:owner/model", capsys=capsys)
    (hub.find("hf:owner/model").folder / "README.md").unlink()
    status, out, err = run("models", "card", "hf:owner/model", capsys=capsys)
    assert (status, out) == (1, "")
    assert f"its publisher's is at {served.address}/owner/model" in err
    status, out, err = run("models", "card", "hf:owner/other", capsys=capsys)
    assert (status, out) == (1, "")
    assert "is not on this machine; mmfm models get hf:owner/other fetches it" in err


# --- get ----------------------------------------------------------------------------------------


def test_a_fetch_says_before_and_after_what_it_is_about(
    served: PublishedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run("models", "get", "hf:owner/model", capsys=capsys)
    assert status == 0
    assert out == "hf:owner/model is here, 2.0 MB: --model hf:owner/model, also without a network\n"
    cache, _ = get_model.room()
    said = rf"mmfm: hf:owner/model: 2\.0 MB in 3 files; [\d.]+ [GM]B are free in {cache}\n"
    assert re.fullmatch(said, err)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:owner/model", "hf:owner/model is here already, 2.0 MB, for use without a network\n"),
        ("vit-nano", "vit-nano comes with the package; there is nothing to fetch\n"),
        (f"{ASSETS / 'vit-nano'}", "is a folder of yours; there is nothing to fetch\n"),
    ],
)
def test_what_is_here_already_is_said_and_nobody_is_asked(
    name: str, said: str, served: PublishedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    run("models", "get", "hf:owner/model", capsys=capsys)
    before = served.questions
    status, out, err = run("models", "get", name, capsys=capsys)
    assert (status, err) == (0, "") and out.endswith(said)
    assert served.questions == before


def test_a_full_disk_is_one_line_that_says_what_to_do(
    served: PublishedHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1_500_000)
    monkeypatch.setattr(get_model.shutil, "disk_usage", lambda path: usage)
    status, out, err = run("models", "get", "hf:owner/model", capsys=capsys)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "2.0 MB are still to come, and 1.5 MB are free" in err and "set HF_HOME" in err
    assert "model.safetensors" not in served.fetched()


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
@pytest.mark.parametrize(
    ("answer", "words", "status", "shown"),
    [
        ("n\n", [], 1, "nothing was fetched"),
        ("\x04", [], 1, "nothing was fetched"),
        ("\n", [], 0, "fetching"),
        ("", ["--yes"], 0, "fetching"),
    ],
)
def test_at_a_terminal_it_asks_first_and_shows_how_far_it_is(
    answer: str,
    words: list[str],
    status: int,
    shown: str,
    served: PublishedHub,
    tmp_path: Path,
) -> None:
    ours, theirs = pty.openpty()
    here = {**os.environ, "HF_ENDPOINT": served.address, "TERM": "xterm"}
    here |= {"HF_HUB_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    served.pace = 0.01
    call = [sys.executable, "-m", "mmfm", "models", "get", "hf:owner/model", *words]
    with subprocess.Popen(call, env=here, stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        said = b""
        last = threading.Timer(30, child.kill)
        last.start()
        while chunk := _read(ours):
            said += chunk
            if answer and b"fetch it? [Y/n]" in said:
                os.write(ours, answer.encode())
                answer = ""
        last.cancel()
    os.close(ours)
    assert child.returncode == status, said
    assert shown.encode() in said
    assert (b"fetch it?" in said) == (not words)
    assert (b"model is here" in said) == (status == 0)
    if status == 0:
        assert re.search(rb"fetching .* of 2\.0 MB", said)
        assert served.fetched() == sorted(FILES)
    else:
        assert "model.safetensors" not in served.fetched()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end was closed
        return b""


# --- what is run unasked ------------------------------------------------------------------------


def test_the_default_says_once_what_it_is_and_how_to_get_a_real_one() -> None:
    said: list[str] = []
    clip = chosen_clip(None, "cpu", said.append)
    assert clip.name == default_model()
    (line,) = said
    assert line.startswith(f"{clip.name} is a small teaching model that knows ")
    (name,) = re.findall(r"mmfm models get (\S+?),", line)
    assert f"--model {name}" in line and hub.source(name) is not None
    assert chosen_clip("clip-shapes", "cpu", said.append).name == "clip-shapes"
    assert len(said) == 1


def test_clip_nano_is_the_default_as_soon_as_it_is_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "mmfm.assets" / "checkpoints"
    shutil.copytree(ASSETS / "clip-shapes", shelf / "clip-shapes")
    monkeypatch.setattr(hub, "files", lambda package: tmp_path / package)
    assert default_model() == "clip-shapes"
    shutil.copytree(ASSETS / "clip-shapes", shelf / "clip-nano")
    said: list[str] = []
    assert chosen_clip(None, "cpu", said.append).name == "clip-nano"
    assert said[0].startswith(
        f"clip-nano is a small teaching model that knows {DEFAULTS['clip-nano']}"
    )
