"""From a name to files: bundled, local, cached; and offline a refusal in time that helps."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from mmfm import hub
from mmfm.errors import BadInput, BadWeights, MmfmError, NotHere, Offline
from mmfm.models.checkpoints import load_clip, load_denoiser, load_vit

# What is timed is ours and the hub library's; torch is there already wherever a model is loaded.
SCRIPT = """
import sys, time
import torch
start = time.perf_counter()
from mmfm.errors import Offline
from mmfm.models.checkpoints import load_clip, load_vit
try:
    (load_clip if "/" in sys.argv[1] else load_vit)(sys.argv[1])
except Offline as error:
    print(f"{time.perf_counter() - start:.2f} {error}")
"""


def checkpoint(folder: Path, **files: str) -> Path:
    """A folder that looks like a checkpoint; the hub looks at names only."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ({"config.json": "{}", "model.safetensors": ""} | files).items():
        (folder / name).write_text(text)
    return folder


def cached_checkpoint(cache: Path, repository: str, **files: str) -> Path:
    """A repository as the hub's own library keeps it."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    return checkpoint(home / "snapshots" / ("0" * 40), **files)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "network", lambda *_: True)


@contextmanager
def silent_server() -> Iterator[str]:
    """Somebody who takes the call and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def answering_server(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# --- offline --------------------------------------------------------------------------------------


@contextmanager
def told_to_be_offline() -> Iterator[str]:
    yield ""


@pytest.mark.parametrize(
    ("trouble", "name"),
    [
        (told_to_be_offline, "hf:facebook/dinov2-small"),
        (told_to_be_offline, "timm:vit_base_patch16_224"),
        (closed_port, "hf:facebook/dinov2-small"),
        (silent_server, "timm:vit_base_patch16_224.augreg_in21k"),
        (told_to_be_offline, "ViT-B-32/laion2b_s34b_b79k"),
        (closed_port, "ViT-B-32/openai"),
    ],
)
def test_offline_a_hub_name_is_refused_within_two_seconds(
    trouble: Callable[[], Any], name: str, tmp_path: Path
):
    cached_checkpoint(tmp_path, "facebook/dinov2-base")
    with trouble() as endpoint:
        here = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        here.pop("HF_HUB_OFFLINE", None)
        here |= {"HF_ENDPOINT": endpoint} if endpoint else {"HF_HUB_OFFLINE": "1"}
        here |= {"HF_HUB_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SCRIPT, name]
        done = subprocess.run(command, env=here, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seconds, line = done.stdout.strip().split(" ", 1)
    assert "hf:facebook/dinov2-base" in line  # what is here
    if endpoint:
        assert line.startswith(f"{name} is not on this machine and the hub cannot be reached")
        assert "get it once with a network" in line  # how to get it
    else:
        assert line.startswith(f"{name} is not on this machine and HF_HUB_OFFLINE is set; unset it")
        assert "mmfm models get" not in line  # that would be refused as well
    assert float(seconds) < 8


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_a_person_who_says_offline_means_it(value: str, monkeypatch: pytest.MonkeyPatch):
    with answering_server(200) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert hub.network()
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
        assert not hub.network()


@pytest.mark.parametrize("status", [200, 404, 500])
def test_whatever_the_hub_answers_it_is_reached(status: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with answering_server(status) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        assert hub.network()


@pytest.mark.parametrize("trouble", [closed_port, silent_server])
def test_a_hub_that_does_not_answer_is_given_up_in_time(
    trouble: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with trouble() as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        start = time.perf_counter()
        assert not hub.network(seconds=0.3)
        assert time.perf_counter() - start < 4


def test_looking_up_a_name_may_hang_and_is_left_behind(monkeypatch: pytest.MonkeyPatch):
    """No timeout reaches into the system's own look-up of a name."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    woken = threading.Event()

    def hang(*_address: object) -> None:
        woken.wait(5)
        raise socket.gaierror("at last")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.perf_counter()
    assert not hub.network(seconds=0.2)
    assert time.perf_counter() - start < 4
    woken.set()


def test_an_endpoint_that_is_no_address_is_no_network(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "nowhere")
    assert not hub.network()


# --- the cache ------------------------------------------------------------------------------------


def test_a_cached_repository_is_found_offline(cache: Path):
    folder = cached_checkpoint(cache, "facebook/dinov2-small")
    found = hub.find("hf:facebook/dinov2-small")
    assert found.origin == "hub"
    assert found.weights == (folder / "model.safetensors",)
    assert found.settings() == {}


def test_timms_short_name_is_the_training_that_timm_means(cache: Path):
    cached_checkpoint(cache, "timm/vit_tiny_patch16_224.augreg_in21k")
    with pytest.raises(Offline, match=r"here are: .*timm:vit_tiny_patch16_224\.augreg_in21k;"):
        hub.find("timm:vit_tiny_patch16_224")
    usual = cached_checkpoint(cache, "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert hub.find("timm:vit_tiny_patch16_224").folder == usual
    other = hub.find("timm:vit_tiny_patch16_224.augreg_in21k")
    assert other.folder.parent.parent.name == "models--timm--vit_tiny_patch16_224.augreg_in21k"


def test_timms_names_without_a_checkpoint_are_refused(online: None, cache: Path):
    with pytest.raises(NotHere, match="timm has no model of that name"):
        hub.find("timm:vit_of_nobody")
    with pytest.raises(NotHere, match="timm publishes no weights"):
        hub.find("timm:vit_large_patch14_224")


@pytest.mark.parametrize("part", ["config.json", "model.safetensors"])
def test_a_fetch_that_broke_off_is_not_taken_for_a_model(part: str, cache: Path):
    folder = cached_checkpoint(cache, "facebook/dinov2-small")
    (folder / part).unlink()
    with pytest.raises(Offline, match="hf:facebook/dinov2-small is not on this machine"):
        hub.find("hf:facebook/dinov2-small")


def test_a_fetch_that_broke_off_between_shards_is_not_taken_for_a_model(cache: Path):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    files = {"model.safetensors.index.json": index, "model-1.safetensors": ""}
    folder = cached_checkpoint(cache, "facebook/dinov2-giant", **files)
    (folder / "model.safetensors").unlink()
    with pytest.raises(Offline):
        hub.find("hf:facebook/dinov2-giant")
    (folder / "model-2.safetensors").write_text("")
    shards = hub.find("hf:facebook/dinov2-giant").weights
    assert [path.name for path in shards] == ["model-1.safetensors", "model-2.safetensors"]


def test_what_is_cached_is_named_as_one_would_ask_for_it(cache: Path):
    tiny = cached_checkpoint(cache, "timm/vit_tiny.a_tag")
    base = cached_checkpoint(cache, "google/vit--base")
    (cache / "models--gpt2").mkdir()
    (cache / "datasets--a--b").mkdir()
    assert hub.cached() == {"hf:google/vit--base": base, "timm:vit_tiny.a_tag": tiny}


def test_a_cached_repository_whose_weights_did_not_arrive_is_not_counted(cache: Path):
    folder = cached_checkpoint(cache, "google/vit-base")
    (folder / "model.safetensors").unlink()
    assert hub.cached() == {}


def test_without_a_cache_nothing_is_cached(cache: Path):
    assert hub.cached() == {}


# --- fetching -------------------------------------------------------------------------------------


class FakeHub:
    """Stands where snapshot_download stands; a pattern that nothing matches fetches settings."""

    def __init__(self, cache: Path, *, holds: str = "", trouble: Exception | None = None) -> None:
        self.folder = cache / "fetched"
        self.holds = holds
        self.trouble = trouble
        self.asked: list[list[str]] = []

    def __call__(
        self,
        repository: str,
        local_files_only: bool = False,
        allow_patterns: list[str] | None = None,
    ) -> str:
        if local_files_only:
            raise errors.LocalEntryNotFoundError("not in the cache")
        if self.trouble:
            raise self.trouble
        assert allow_patterns is not None
        self.asked.append(allow_patterns)
        checkpoint(self.folder)
        (self.folder / "model.safetensors").unlink(missing_ok=True)
        if any(Path(self.holds).match(pattern) for pattern in allow_patterns):
            (self.folder / self.holds).write_text("")
        return str(self.folder)


@pytest.mark.parametrize(
    ("holds", "rounds"), [("model.safetensors", 1), ("pytorch_model.bin", 2), ("model.onnx", 2)]
)
def test_safe_weights_are_fetched_and_older_ones_only_where_there_are_no_others(
    holds: str, rounds: int, online: None, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = FakeHub(cache, holds=holds)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    if holds == "model.onnx":
        with pytest.raises(NotHere, match=r"no model\.safetensors or pytorch_model\.bin"):
            hub.find("hf:somebody/something")
    else:
        assert hub.find("hf:somebody/something").weights == (fake.folder / holds,)
    assert len(fake.asked) == rounds
    assert not any("*.bin" in pattern for pattern in fake.asked[0])


def http_error(kind: type[errors.HfHubHTTPError]) -> Exception:
    return kind.__new__(kind)  # the library's own constructor wants a whole HTTP response


@pytest.mark.parametrize(
    ("trouble", "kind", "says"),
    [
        (http_error(errors.GatedRepoError), NotHere, "hf auth login"),
        (http_error(errors.RepositoryNotFoundError), NotHere, "no such repository"),
        (http_error(errors.HfHubHTTPError), Offline, "broke off"),
        (errors.LocalEntryNotFoundError("the line went dead"), Offline, "broke off"),
        (ConnectionResetError(), Offline, "broke off"),
        (errors.HfHubHTTPError.__bases__[0]("the client's own"), Offline, "broke off"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_trouble_with_the_hub_is_told_in_a_line(
    trouble: Exception,
    kind: type[NotHere],
    says: str,
    online: None,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", FakeHub(cache, trouble=trouble))
    with pytest.raises(kind, match=says) as caught:
        hub.find("hf:somebody/something")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("hf:somebody/something: ")


@pytest.mark.parametrize("name", ["hf:", "hf:a/b/c", "hf:../secret", "hf:a b/c"])
def test_a_name_that_no_repository_can_have_is_refused(name: str, cache: Path):
    with pytest.raises(BadInput, match="hf:OWNER/NAME"):
        hub.find(name)


# --- a cache that others filled -------------------------------------------------------------------

COMMIT = "0" * 40  # of `cached_checkpoint`


@contextmanager
def serving_hub(repositories: dict[str, dict[str, bytes]], asked: list[str]) -> Iterator[str]:
    """A hub for the hub's own library: it lists files and hands them out, and notes what for."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = self.path.split("?")[0].removeprefix("/api/models").strip("/")
            owner, name, kind, *rest = [*path.split("/"), "", "", ""]
            files = repositories.get(f"{owner}/{name}", {})
            if kind == "resolve":
                asked.append(f"{rest[0]}/{rest[1]}")
                content = files.get(rest[1])
                code = {} if content is not None else {"X-Error-Code": "EntryNotFound"}
                self.send(404 if code else 200, content or b"", {"ETag": '"e"', **code})
            elif kind == "tree":
                listed = [
                    {"type": "file", "path": file, "size": len(content), "oid": "a" * 40}
                    for file, content in files.items()
                ]
                self.send(200, json.dumps(listed).encode())
            else:
                self.send(200, json.dumps({"id": f"{owner}/{name}", "sha": COMMIT}).encode())

        def send(self, status: int, content: bytes, more: dict[str, str] = {}) -> None:  # noqa: B006
            self.send_response(status)
            for key, value in {"X-Repo-Commit": COMMIT, **more}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Begin to publish a repository; what is asked for one by one is noted."""
    repositories: dict[str, dict[str, bytes]] = {}
    asked: list[str] = []

    def publish(repository: str, **files: bytes) -> list[str]:
        repositories[repository] = files
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        return asked

    with serving_hub(repositories, asked) as endpoint:
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield publish


NEEDS = [["first.json", "second.json"], ["third.json"]]


def test_what_others_left_out_of_the_cache_is_fetched_at_the_revision_that_is_here(
    cache: Path, served: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
):
    asked = served("owner/model", **{"second.json": b"{}", "third.json": b"{}", "more.txt": b"m"})
    folder = cached_checkpoint(cache, "owner/model")
    found = hub.find("hf:owner/model")
    hub.complete(found, NEEDS, ["more.txt", "not.txt"])
    there = {path.name for path in folder.iterdir()}
    assert there == {"config.json", "model.safetensors", "second.json", "third.json", "more.txt"}
    assert all(file.startswith(COMMIT) for file in asked)
    # What the publisher does not have is remembered: neither now nor offline is it missed.
    before = list(asked)
    hub.complete(found, NEEDS, ["more.txt", "not.txt"])
    assert asked == before
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.complete(found, [["first.json"], ["not.txt"]])


def test_of_what_was_fetched_whole_the_publisher_has_no_more(
    cache: Path, served: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
):
    files = {"config.json": b"{}", "model.safetensors": b"x", "README.md": b"not fetched"}
    served("owner/model", **files)
    found = hub.find("hf:owner/model")
    if not hasattr(huggingface_hub, "get_cached_repo_tree"):
        hub.complete(found, NEEDS)  # older libraries do not keep the list of what there is
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = hub.find("hf:owner/model")  # offline too, though not all of the publisher's is here
    hub.complete(again, NEEDS)
    assert again == found
    assert not (found.folder / "README.md").exists()


def test_a_fetch_of_lent_files_that_broke_off_is_ended(
    cache: Path, served: Callable[..., list[str]]
):
    served("owner/words", **{"first.json": b"{}", "third.json": b"{}"})
    folder = cached_files(cache, "owner/words", "first.json")
    assert hub.fetch_files("owner/words", "a model", NEEDS) == folder
    assert (folder / "third.json").read_bytes() == b"{}"


def test_offline_a_small_file_that_nobody_fetched_is_missed_by_its_name(cache: Path):
    folder = cached_checkpoint(cache, "owner/model")
    found = hub.find("hf:owner/model")
    hub.complete(found, [], ["more.txt"])
    with pytest.raises(Offline, match=r"none of first\.json, second\.json in the cache.*once with"):
        hub.complete(found, NEEDS)
    (folder / "second.json").write_text("{}")
    with pytest.raises(Offline, match=r"hf:owner/model: no third\.json in the cache"):
        hub.complete(found, NEEDS)
    absent = folder.parent.parent / ".no_exist" / COMMIT
    absent.mkdir(parents=True)
    (absent / "third.json").touch()
    hub.complete(found, NEEDS)


def test_a_folder_of_ones_own_is_not_completed(tmp_path: Path, cache: Path, online: None):
    hub.complete(hub.find(str(checkpoint(tmp_path / "own"))), NEEDS)


def test_trouble_in_fetching_a_small_file_is_told_in_a_line(
    online: None, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_asked: object, **_named: object) -> str:
        raise ConnectionResetError

    cached_checkpoint(cache, "owner/model")
    found = hub.find("hf:owner/model")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(Offline, match="hf:owner/model: fetching it broke off"):
        hub.complete(found, NEEDS)


# --- open_clip ------------------------------------------------------------------------------------

THEIRS = {"open_clip_config.json": "{}", "open_clip_model.safetensors": ""}


def cached_files(cache: Path, repository: str, *names: str) -> Path:
    """A repository of which only these files are here."""
    folder = cached_checkpoint(cache, repository)
    for path in folder.iterdir():
        path.unlink()
    for name in names:
        (folder / name).write_text("{}" if name.endswith(".json") else "")
    return folder


def test_of_two_layouts_side_by_side_each_model_has_its_own(tmp_path: Path):
    folder = checkpoint(tmp_path, **THEIRS)
    assert hub.find(str(folder)).weights == (folder / "model.safetensors",)
    found = hub.find(str(folder), hub.FOR_CLIP)
    assert found.weights == (folder / "open_clip_model.safetensors",)
    assert found.layout is hub.OPEN_CLIP
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}}')
    assert found.settings() == {"model_cfg": {}}
    assert found.settings("config.json") == {}


def test_a_folder_in_one_layout_is_found_whoever_asks(tmp_path: Path):
    ours = checkpoint(tmp_path / "ours")
    assert hub.find(str(ours), hub.FOR_CLIP).layout is hub.PLAIN
    theirs = checkpoint(tmp_path / "theirs", **THEIRS)
    for name in ("config.json", "model.safetensors"):
        (theirs / name).unlink()
    assert hub.find(str(theirs)).layout is hub.OPEN_CLIP
    lone = str(theirs / "open_clip_model.safetensors")
    assert hub.find(lone).layout is hub.OPEN_CLIP
    (theirs / "epoch_3.pt").write_text("")
    assert hub.find(str(theirs / "epoch_3.pt")).layout is hub.OPEN_CLIP
    (theirs / "config.json").write_text("{}")
    assert hub.find(str(theirs / "epoch_3.pt")).layout is hub.PLAIN


def test_what_open_clip_cached_is_named_as_one_would_ask_for_it(cache: Path):
    cached_files(cache, "timm/ViT-B-16-SigLIP", *THEIRS)
    both = cached_files(cache, "timm/vit_b", *THEIRS, "config.json", "model.safetensors")
    cached_files(cache, "laion/half", "open_clip_config.json")
    cached_files(cache, "laion/bare", "open_clip_model.safetensors")  # nobody says what it is
    own = cached_files(cache, "owner/clip", *THEIRS)
    there = {"ViT-B-16-SigLIP/webli": "timm/ViT-B-16-SigLIP", "timm:vit_b": "timm/vit_b"}
    there |= {"hf:owner/clip": "owner/clip"}
    assert {name: f.parent.parent.name for name, f in hub.cached().items()} == {
        name: f"models--{repository.replace('/', '--')}" for name, repository in there.items()
    }
    assert hub.find("hf:timm/vit_b", hub.FOR_CLIP).weights[0].parent == both
    assert hub.find("hf:owner/clip", hub.FOR_CLIP).weights[0].parent == own


def test_a_tag_whose_settings_only_open_clip_has_is_listed_too(cache: Path):
    """What load_clip fetches of a tag are the weights alone."""
    repository = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    folder = cached_files(cache, repository, "open_clip_pytorch_model.bin")
    assert hub.cached() == {"ViT-B-32/laion2b_s34b_b79k": folder}


NETWORK = ("config.json", "diffusion_pytorch_model.safetensors")


def test_what_diffusers_cached_is_listed_pipelines_and_networks(cache: Path):
    def pipeline(repository: str, part: str) -> Path:
        folder = cached_files(cache, repository, "model_index.json")
        (folder / part).mkdir()
        for name in NETWORK:
            (folder / part / name).write_text("{}")
        return folder

    made = {
        "hf:a/alone": cached_files(cache, "a/alone", *NETWORK),
        "hf:a/pipeline": pipeline("a/pipeline", "unet"),
        "hf:b/ours": pipeline("b/ours", "denoiser"),
        "hf:c/foreign": pipeline("c/foreign", "transformer"),
    }
    broken = pipeline("d/broken", "unet")
    (broken / "unet" / NETWORK[1]).unlink()
    assert hub.cached() == made
    for folder in made.values():
        assert hub.in_folder(folder, "x").weights[0].name == NETWORK[1]


def test_where_a_model_is_published_is_told_by_its_name(tmp_path: Path, cache: Path):
    tagged = hub.source("ViT-B-32/openai")
    assert tagged is not None and tagged.preset is not None
    assert tagged.repository == "timm/vit_base_patch32_clip_224.openai"
    assert tagged.layouts == (hub.OPEN_CLIP,)
    assert hub.source("hf:a/b") == hub.Source("a/b", hub.FOR_ANY)
    assert hub.source("timm:vit_x.y") == hub.Source("timm/vit_x.y", hub.FOR_VIT)
    assert hub.source("vit-nano") is None
    assert hub.source(str(checkpoint(tmp_path / "own"))) is None
    with pytest.raises(NotHere, match="neither bundled nor a file or folder"):
        hub.source("vit-huge")
    with pytest.raises(BadInput, match="empty model name"):
        hub.source(" ")


@pytest.mark.parametrize("load", [load_vit, load_clip, load_denoiser])
def test_a_model_is_named_by_a_text_or_a_path(load: Callable[[Any], Any], tmp_path: Path):
    with pytest.raises(MmfmError, match="no-such-folder"):
        load(tmp_path / "no-such-folder")
    for nothing in (None, 5, b"vit-nano"):
        with pytest.raises(BadInput, match=r"a model has a name or a path, and .* is neither"):
            load(nothing)


def test_what_is_here_is_found_as_find_finds_it_and_nobody_is_asked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "network", lambda *_: pytest.fail("asked"))
    names = ["hf:a/b", "timm:vit_x.y", "ViT-B-32/openai", "ViTamin-S/datacomp1b"]
    assert [hub.here(name) for name in names] == [None] * 4
    cached_checkpoint(cache, "a/b")
    cached_checkpoint(cache, "timm/vit_x.y")
    repository = "timm/vit_base_patch32_clip_224.openai"
    cached_files(cache, repository, "open_clip_model.safetensors")
    cached_files(cache, "jienengchen/ViTamin-S", "pytorch_model.bin")
    names += ["vit-nano", str(checkpoint(tmp_path / "own"))]
    for name in names:
        assert hub.here(name) == hub.find(name, hub.FOR_ANY)


def test_what_open_clip_kept_is_here(home: Path, cache: Path):
    (home / "b32_400m.pt").write_bytes(b"")
    found = hub.here("ViT-B-32/metaclip_400m")
    assert found is not None and found.weights == (home / "b32_400m.pt",)


def test_open_clips_table_is_read_without_torch():
    code = (
        "import sys; from mmfm import hub; hub.source('ViT-B-32/openai')\n"
        "print({'torch', 'open_clip'} & sys.modules.keys())\n"
        "import safetensors.torch"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()" and done.stderr == ""


def test_a_tag_of_open_clip_is_found_in_the_cache_with_open_clips_settings(cache: Path):
    repository = "timm/vit_base_patch32_clip_224.openai"
    folder = cached_files(cache, repository, "open_clip_model.safetensors")
    found = hub.find("ViT-B-32/openai", hub.FOR_CLIP)
    assert (found.name, found.origin, found.folder) == ("ViT-B-32/openai", "hub", folder)
    assert found.weights == (folder / "open_clip_model.safetensors",)
    settings = found.settings()
    assert settings is not None
    # open_clip's own settings of ViT-B-32 do not say it; its tag does.
    assert settings["model_cfg"]["quick_gelu"] is True
    assert settings["preprocess_cfg"]["resize_mode"] == "shortest"


def test_a_tag_may_be_written_with_dashes_and_capitals(cache: Path):
    folder = cached_files(
        cache, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_pytorch_model.bin"
    )
    assert hub.find("ViT-B-32/laion2B-s34B-b79K", hub.FOR_CLIP).folder == folder


def test_a_tag_may_name_its_own_file(cache: Path):
    folder = cached_files(cache, "jienengchen/ViTamin-S", "pytorch_model.bin")
    found = hub.find("ViTamin-S/datacomp1b", hub.FOR_CLIP)
    assert found.weights == (folder / "pytorch_model.bin",)


def test_an_unknown_tag_lists_those_of_the_model(cache: Path):
    with pytest.raises(NotHere, match=r"open_clip's ViT-L-14-336 has the tags openai"):
        hub.find("ViT-L-14-336/laion", hub.FOR_CLIP)
    with pytest.raises(NotHere, match="neither bundled nor a file or folder; here are: "):
        hub.find("ViT-XXL/laion", hub.FOR_CLIP)
    with pytest.raises(NotHere, match="neither bundled nor a file or folder"):
        hub.find("ViT-B-32/openai")  # no vision transformer alone: nothing is fetched


def test_a_folder_comes_before_a_tag_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path / "ViT-B-32" / "openai")
    assert hub.find("ViT-B-32/openai", hub.FOR_CLIP).origin == "local"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where open_clip keeps what it once fetched by address."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    return tmp_path / ".cache" / "clip"


def test_what_open_clip_kept_is_taken_if_its_checksum_is_right(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    content = b"weights"
    right = hashlib.sha256(content).hexdigest()[:8]
    entry = hub._open_clip_table()._PRETRAINED["ViT-B-16"]["laion400m_e32"]
    address = f"https://example.org/mlfoundations/vit_b_16-laion400m_e32-{right}.pt"
    monkeypatch.setitem(entry, "url", address)
    kept = home / f"vit_b_16-laion400m_e32-{right}.pt"
    kept.write_bytes(content)
    assert hub.find("ViT-B-16/laion400m_e32", hub.FOR_CLIP).weights == (kept,)
    kept.write_bytes(content[:-1])
    with pytest.raises(BadWeights, match=f"not {right}; remove it") as caught:
        hub.find("ViT-B-16/laion400m_e32", hub.FOR_CLIP)
    assert str(kept) in str(caught.value)


def test_a_kept_file_without_a_checksum_in_its_address_is_taken(home: Path, cache: Path):
    (home / "b32_400m.pt").write_bytes(b"")
    assert hub.find("ViT-B-32/metaclip_400m", hub.FOR_CLIP).weights == (home / "b32_400m.pt",)


def test_the_program_that_openai_published_is_not_taken_for_weights(home: Path, cache: Path):
    (home / "ViT-B-32.pt").write_bytes(b"")
    with pytest.raises(Offline):
        hub.find("ViT-B-32/openai", hub.FOR_CLIP)


def test_the_addresses_whose_checksum_we_know_are_those_that_open_clip_checks():
    table = hub._open_clip_table()
    addresses = {cfg["url"] for tags in table._PRETRAINED.values() for cfg in tags.values()}
    checked = {a for a in addresses if "mlfoundations" in a}
    assert len(checked) > 10
    assert all(hub.CHECKSUM.search(address) for address in checked)
    assert not any(hub.CHECKSUM.search(a) for a in addresses - checked)


@pytest.mark.parametrize("holds", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_of_a_clip_open_clips_weights_are_fetched_first(
    holds: str, online: None, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = FakeHub(cache, holds=holds)
    (cache / "fetched").mkdir(parents=True)
    (cache / "fetched" / "open_clip_config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    found = hub.find("hf:somebody/something", hub.FOR_CLIP)
    assert found.weights == (fake.folder / holds,)
    assert not any(pattern.startswith("model") for asked in fake.asked for pattern in asked)
    assert not any("*.bin" in pattern for pattern in fake.asked[0])


def test_a_repository_lends_files(cache: Path):
    folder = cached_files(cache, "owner/words", "tokenizer.json")
    needs = [["spiece.model", "tokenizer.json"]]
    assert hub.fetch_files("owner/words", "a model", needs) == folder
    with pytest.raises(Offline, match=r"hf:owner/words \(for a model\): no spiece.model in the"):
        hub.fetch_files("owner/words", "a model", [["spiece.model"]])
    with pytest.raises(Offline, match=r"hf:owner/more \(for a model\) is not on this machine"):
        hub.fetch_files("owner/more", "a model", needs)


# --- names ----------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of its own to bundle checkpoints in."""
    monkeypatch.setattr(hub, "files", lambda package: tmp_path / package)
    return tmp_path / "mmfm.assets" / "checkpoints"


def test_bundled_are_the_folders_with_a_config(shelf: Path, cache: Path):
    assert hub.bundled() == {}
    small = checkpoint(shelf / "vit-small")
    checkpoint(shelf / "vit-nano")
    (shelf / "half-done").mkdir()
    (shelf / "README.md").write_text("")
    assert list(hub.bundled()) == ["vit-nano", "vit-small"]
    found = hub.find("vit-small")
    assert (found.origin, found.folder) == ("bundled", small)


def test_what_the_package_bundles_has_weights_and_a_card():
    for name, folder in hub.bundled().items():
        assert hub.find(name).weights
        assert list(folder.glob("*.md")), "a card says what it saw and what it cannot do"


@pytest.mark.parametrize("name", ["", " ", "\n"])
def test_an_empty_name_is_refused(name: str, shelf: Path, cache: Path):
    checkpoint(shelf / "vit-nano")
    with pytest.raises(BadInput, match="empty model name; here are: vit-nano;"):
        hub.find(name)


def test_an_unknown_name_lists_what_is_here(shelf: Path, cache: Path):
    with pytest.raises(NotHere, match="here are: none; or name a folder, timm:NAME or hf:OWNER"):
        hub.find("vit-huge")
    checkpoint(shelf / "vit-nano")
    cached_checkpoint(cache, "facebook/dinov2-small")
    with pytest.raises(NotHere, match="here are: vit-nano, hf:facebook/dinov2-small;") as caught:
        hub.find("vit-huge")
    assert "'vit-huge'" in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "~nobody-of-that-name/x"])
def test_a_name_that_no_file_can_have_is_an_unknown_name(name: str, cache: Path):
    with pytest.raises(NotHere, match="neither bundled nor a file or folder"):
        hub.find(name)


def test_a_local_folder_and_a_file_are_found(tmp_path: Path, cache: Path):
    folder = checkpoint(tmp_path / "run")
    found = hub.find(str(folder))
    assert (found.origin, found.weights) == ("local", (folder / "model.safetensors",))
    one = hub.find(str(folder / "model.safetensors"))
    assert (one.origin, one.folder, one.weights) == ("local", folder, found.weights)


def test_safe_weights_come_before_older_ones(tmp_path: Path):
    folder = checkpoint(tmp_path, **{"pytorch_model.bin": ""})
    assert hub.in_folder(folder, "x").weights == (folder / "model.safetensors",)
    (folder / "model.safetensors").unlink()
    assert hub.in_folder(folder, "x").weights == (folder / "pytorch_model.bin",)


def test_an_empty_folder_says_that_it_is_empty(tmp_path: Path):
    with pytest.raises(NotHere, match="it holds nothing"):
        hub.find(str(tmp_path))


def test_a_run_without_a_model_names_the_command_that_goes_on_with_it(tmp_path: Path):
    run = tmp_path / "my run"
    run.mkdir()
    (run / "run.json").write_text('{"train": "diffusion"}')
    line = rf"has no model yet; mmfm train diffusion --out '{run}' --resume goes on"
    with pytest.raises(NotHere, match=line):
        hub.find(str(run), hub.FOR_DENOISER)
    (run / "model.safetensors").touch()  # with one it is a folder as any other
    assert hub.find(str(run), hub.FOR_DENOISER).weights == (run / "model.safetensors",)


def test_settings_are_a_json_object_or_none(tmp_path: Path):
    found = hub.in_folder(checkpoint(tmp_path, **{"config.json": '{"a": 1}'}), "x")
    assert found.settings() == {"a": 1}
    assert found.settings("preprocessor_config.json") is None
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(BadWeights, match="something else than settings"):
        found.settings()


def test_looking_for_a_name_writes_nothing(cache: Path, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    for name in ("vit-huge", "hf:facebook/dinov2-small", "timm:vit_base_patch16_224"):
        with pytest.raises(NotHere):
            hub.find(name)
    assert sorted(tmp_path.rglob("*")) == before
