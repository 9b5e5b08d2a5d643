"""Fetching a public model: whole or not at all, over bad lines, and then without a network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from published import COMMIT, PublishedHub
from safetensors.torch import load_file

from mmfm import hub
from mmfm.errors import BadData, BadInput, BadWeights, InUse, NotHere, Offline, OutOfSpace
from mmfm.models import tokenizer_files, wrapped_denoiser
from mmfm.models.checkpoints import load_clip, load_denoiser, load_vit
from mmfm.tasks import doctor, get_model
from mmfm.tasks.get_model import Order, fetch, look_up

ASSETS = Path(str(files("mmfm.assets"))) / "checkpoints"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(get_model, "_PAUSE", 0.0)
    monkeypatch.setattr(get_model, "_CHUNK", 10_000)
    return tmp_path / "cache"


@pytest.fixture
def served(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedHub]:
    """A hub that is reached under the real one's name."""
    with PublishedHub() as published:
        template = published.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", published.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield published


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def bundled(name: str) -> dict[str, bytes]:
    """A checkpoint of ours, as somebody might publish it."""
    return {path.name: path.read_bytes() for path in (ASSETS / name).iterdir()}


def plain(size: int = 100_000) -> dict[str, bytes]:
    """Something that passes for one of transformers' models, as long as nobody loads it."""
    weights = torch.randint(0, 256, (size,), generator=torch.Generator().manual_seed(3)).byte()
    return {
        "config.json": b'{"model_type": "dinov2"}',
        "model.safetensors": weights.numpy().tobytes(),
        "pytorch_model.bin": b"the same, in an older form",
        "training.log": b"not needed",
        "README.md": b"# A card\n",
    }


def got(name: str) -> Order:
    """Fetch it all."""
    order = look_up(name)
    for _ in fetch(order):
        pass
    return order


def sizes(cache: Path) -> list[int]:
    """Of the parts that are still there: a small one may just have come to its end."""
    found: list[int] = []
    for part in parts(cache):
        with suppress(FileNotFoundError):
            found.append(part.stat().st_size)
    return found


def parts(cache: Path) -> list[Path]:
    return list(cache.glob("models--*/blobs/*.incomplete"))


# --- what is brought ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "load"),
    [("clip-shapes", load_clip), ("vit-nano", load_vit), ("mnist-nano", load_denoiser)],
)
def test_what_was_fetched_is_loaded_without_a_network(
    name: str, load: Callable[[str], Any], served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.publish("owner/model", bundled(name))
    assert got("hf:owner/model").files
    offline(monkeypatch)
    assert look_up("hf:owner/model").files == ()
    theirs, ours = load("hf:owner/model").state_dict(), load(name).state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)


def test_the_weights_come_once_in_the_safest_form_with_all_small_files_and_the_card(
    served: PublishedHub,
) -> None:
    served.publish("owner/model", plain() | {"tokenizer.json": b"{}", "vocab.txt": b"a"})
    order = got("hf:owner/model")
    wanted = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]
    assert served.fetched() == wanted
    assert [file.path for file in order.files][-1] == "model.safetensors"
    folder = hub.find("hf:owner/model").folder
    assert folder.name == COMMIT
    assert sorted(path.name for path in folder.iterdir()) == wanted
    assert order.left == 0 and not parts(Path(constants.HF_HUB_CACHE))


def test_shards_come_with_their_index_and_variants_stay_where_they_are(
    served: PublishedHub,
) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    served.publish(
        "owner/model",
        {
            "config.json": b'{"model_type": "vit"}',
            "model.safetensors.index.json": json.dumps(index).encode(),
            **{shard: shard.encode() for shard in shards},
            "model.fp16.safetensors": b"variant",
        },
    )
    got("hf:owner/model")
    assert [path.name for path in hub.find("hf:owner/model").weights] == shards
    assert "model.fp16.safetensors" not in served.fetched()


def test_an_index_that_names_a_shard_that_nobody_published_is_not_called_whole(
    served: PublishedHub,
) -> None:
    served.publish(
        "owner/model",
        {
            "config.json": b'{"model_type": "vit"}',
            "model.safetensors.index.json": b'{"weight_map": {"a": "elsewhere.safetensors"}}',
        },
    )
    with pytest.raises(NotHere, match=r"elsewhere\.safetensors, which is not beside it"):
        got("hf:owner/model")
    assert hub.here("hf:owner/model") is None


@pytest.fixture
def tagged(served: PublishedHub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tag of open_clip whose tokenizer another repository lends."""
    entry = hub._open_clip_table()._PRETRAINED["ViT-B-16-SigLIP"]["webli"]
    monkeypatch.setitem(entry, "hf_hub", "owner/tagged/")
    preset = hub.open_clip_entry
    hub._tags.cache_clear()

    def lent(name: str) -> dict[str, Any] | None:
        found = preset(name)
        if found is not None:
            found["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "owner/words"
            found["model_cfg"]["text_cfg"]["hf_model_name"] = "owner/language"
        return found

    monkeypatch.setattr(hub, "open_clip_entry", lent)
    served.publish(
        "owner/tagged",
        {
            "open_clip_config.json": b'{"model_cfg": {}}',
            "open_clip_model.safetensors": b"x" * 5000,
            "open_clip_pytorch_model.bin": b"y",
            "model.safetensors": b"another model",
            "preprocessor_config.json": b"{}",
            "README.md": b"card",
        },
    )
    words = {"tokenizer.json": b"{}", "tokenizer_config.json": b"{ }", "vocab.json": b"[]"}
    served.publish("owner/words", words | {"model.safetensors": b"z"})
    served.publish("owner/language", {"config.json": b"{}", "pytorch_model.bin": b"z"})
    yield "ViT-B-16-SigLIP/webli"
    hub._tags.cache_clear()


def test_a_tag_of_open_clip_comes_with_what_other_repositories_lend_it(
    tagged: str, served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    got(tagged)
    wanted = ["README.md", "config.json", "open_clip_config.json", "open_clip_model.safetensors"]
    lent = ["tokenizer.json", "tokenizer_config.json", "vocab.json"]
    assert served.fetched() == [*wanted, *lent]
    offline(monkeypatch)
    assert look_up(tagged).files == ()
    found = hub.find(tagged, hub.FOR_CLIP)
    assert found.weights[0].read_bytes() == b"x" * 5000
    needs = [tokenizer_files.VOCABULARY_FILES, ["tokenizer_config.json"]]
    folder = hub.fetch_files("owner/words", tagged, needs, also=["special_tokens_map.json"])
    assert (folder / "tokenizer.json").is_file()
    hub.fetch_files("owner/language", tagged, [["config.json"]])
    assert list(hub.cached()) == [tagged]  # as it was asked for


def test_what_a_tag_brought_is_whole_by_its_repositorys_name_too(
    tagged: str, served: PublishedHub
) -> None:
    got(tagged)
    before = served.questions
    assert look_up("hf:owner/tagged").files == () and served.questions == before


def test_a_repository_in_open_clips_layout_borrows_as_a_tag_does(served: PublishedHub) -> None:
    text = {"hf_tokenizer_name": "owner/words"}
    settings = json.dumps({"model_cfg": {"text_cfg": text}}).encode()
    weights = {"open_clip_model.safetensors": b"x", "model.safetensors": b"a copy"}
    served.publish("owner/clip", {"open_clip_config.json": settings, **weights})
    served.publish("owner/words", {"tokenizer.json": b"{}", "more.txt": b"not read"})
    got("hf:owner/clip")
    wanted = ["open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"]
    assert served.fetched() == wanted


def test_a_repository_that_lends_to_itself_comes_at_one_revision(
    tagged: str, served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = hub.open_clip_entry

    def from_itself(name: str) -> dict[str, Any] | None:
        entry = lent(name)
        if entry is not None:
            text = entry["model_cfg"]["text_cfg"]
            text |= {"hf_tokenizer_name": "owner/tagged", "hf_model_name": None}
        return entry

    monkeypatch.setattr(hub, "open_clip_entry", from_itself)
    served.repositories["owner/tagged"]["tokenizer.json"] = b"[]"
    home = hub.home_of("owner/tagged")
    (home / "snapshots" / ("0" * 40)).mkdir(parents=True)  # of an earlier one nothing is left
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    got(tagged)
    assert look_up(tagged).files == ()
    assert (hub.find(tagged, hub.FOR_CLIP).folder / "tokenizer.json").is_file()


def test_what_a_lender_still_owes_is_missed_and_brought(
    tagged: str, served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    got(tagged)
    shutil.rmtree(hub.home_of("owner/words"))
    with monkeypatch.context() as away:
        offline(away)
        with pytest.raises(Offline, match="not the files that hf:owner/words lends it"):
            look_up(tagged)
    served.asked.clear()
    got(tagged)
    assert served.fetched() == ["tokenizer.json", "tokenizer_config.json", "vocab.json"]


def test_a_small_file_that_others_left_out_is_brought_at_the_revision_that_is_here(
    served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.publish("owner/model", plain() | {"preprocessor_config.json": b"{}"})
    got("hf:owner/model")
    path = hub.find("hf:owner/model").folder / "preprocessor_config.json"
    blob = path.resolve()
    path.unlink()
    blob.unlink()
    with monkeypatch.context() as away:
        offline(away)
        with pytest.raises(Offline, match=r"not preprocessor_config\.json of hf:owner/model"):
            look_up("hf:owner/model")
    served.asked.clear()
    assert [file.revision for file in got("hf:owner/model").files] == [COMMIT]
    assert served.fetched() == ["preprocessor_config.json"] and path.is_file()


def test_of_a_cache_that_others_filled_only_the_hub_knows_whether_it_is_whole(
    served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.publish("owner/model", plain())
    got("hf:owner/model")
    shutil.rmtree(hub.home_of("owner/model") / "trees")
    monkeypatch.setattr(hub, "listed_files", lambda repository, folder: None)
    assert look_up("hf:owner/model") == Order("hf:owner/model")
    offline(monkeypatch)
    assert look_up("hf:owner/model") == Order("hf:owner/model", certain=False)


@pytest.mark.parametrize(
    "name", ["hf:owner/model", "timm:vit_base_patch16_224", "ViT-B-32/laion2b_s34b_b79k"]
)
def test_whoever_asks_for_a_model_waits_longer_for_a_slow_line_than_whoever_loads_one(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def network(seconds: float = hub.QUICK) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setattr(hub, "network", network)
    for ask in (look_up, lambda name: hub.find(name, hub.FOR_ANY)):
        with pytest.raises(Offline):
            ask(name)
    assert waited == [15.0, hub.QUICK] and hub.QUICK < 2


def test_who_is_told_to_be_offline_is_told_what_keeps_the_hub_away(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(Offline, match="HF_HUB_OFFLINE is set; unset it") as told:
        look_up("hf:owner/model")
    assert "cannot be reached" not in str(told.value) and "models get" not in str(told.value)


def test_what_is_here_is_said_without_asking_anyone(served: PublishedHub) -> None:
    served.publish("owner/model", plain())
    got("hf:owner/model")
    before = served.questions
    for name in ("hf:owner/model", "vit-nano", str(ASSETS / "vit-nano")):
        assert look_up(name).files == ()
    assert served.questions == before


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        ({"README.md": b"soon"}, NotHere, "it holds README.md"),
        ({"model.safetensors": b"x"}, NotHere, "no weights that mmfm reads, with their settings"),
        ({"config.json": b'{"model_type": "gpt2"}'}, BadInput, "a 'gpt2', which mmfm does not run"),
        ({"config.json": b'{"_class_name": "AutoencoderKL"}'}, BadInput, "'AutoencoderKL'; of"),
        ({"config.json": b"{"}, BadWeights, "is not whole JSON"),
        ({"config.json": b"[]"}, BadWeights, "holds something else"),
    ],
)
def test_what_mmfm_could_not_run_is_refused_before_its_weights_come(
    content: dict[str, bytes], kind: type[Exception], says: str, served: PublishedHub
) -> None:
    weights = {"model.safetensors": b"x"} if "config.json" in content else {}
    served.publish("owner/model", content | weights)
    with pytest.raises(kind, match=says):
        look_up("hf:owner/model")
    assert "model.safetensors" not in served.fetched()


def test_a_pipeline_that_is_more_than_a_network_is_refused_before_its_weights_come(
    served: PublishedHub,
) -> None:
    files = {
        "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
        "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}',
        "unet/diffusion_pytorch_model.safetensors": b"gigabytes",
    }
    served.publish("owner/model", files)
    with pytest.raises(BadInput, match="StableDiffusionPipeline"):
        look_up("hf:owner/model")
    stock = {"model_index.json": b'{"_class_name": "DDPMPipeline"}'}
    served.publish("owner/model", files | stock)
    got("hf:owner/model")
    found = hub.find("hf:owner/model", hub.FOR_DENOISER)
    assert found.weights[0].read_bytes() == b"gigabytes"
    assert doctor._RUN[:3] == wrapped_denoiser.PIPELINES


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("hf:owner/nobody", NotHere, "no such repository"),
        ("vit-huge", NotHere, "neither bundled nor a file or folder"),
        ("hf:a b/c", BadInput, "hf:OWNER/NAME"),
        ("", BadInput, "empty model name"),
        ("ViT-B-32/nobody", NotHere, "has the tags openai"),
    ],
)
def test_names_that_nothing_is_published_under_are_refused(
    name: str, kind: type[Exception], says: str, served: PublishedHub
) -> None:
    with pytest.raises(kind, match=says):
        look_up(name)


def test_a_checksum_that_is_no_checksum_names_no_file(
    served: PublishedHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a file's name: one that climbs out of the cache must not be taken."""
    served.publish("owner/model", plain())
    monkeypatch.setattr("published.checksum", lambda content, large: "../../../escaped")
    with pytest.raises(NotHere, match="it holds nothing"):
        look_up("hf:owner/model")
    assert not list(cache.parent.rglob("escaped*"))


def test_the_names_of_what_loaders_read_are_those_of_the_loaders() -> None:
    from mmfm.models import checkpoints, tokenizer

    assert get_model.TOKENIZER == tokenizer_files.FILES
    read = {tokenizer.SETTINGS, checkpoints._PROCESSOR, checkpoints._INDEX, *checkpoints._SCHEDULER}
    assert read <= set(get_model._READ)


# --- bad lines ----------------------------------------------------------------------------------


def test_a_line_that_breaks_is_taken_up_where_it_broke(served: PublishedHub) -> None:
    served.publish("owner/model", plain())
    served.break_after["model.safetensors"] = [40_000, 1, 25_000]
    order = look_up("hf:owner/model")
    told = list(fetch(order))
    starts = [start for path, start in served.asked if path == "model.safetensors"]
    assert starts == [0, 40_000, 40_001, 65_001]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (order.size, order.size)
    assert hub.find("hf:owner/model").weights[0].read_bytes() == plain()["model.safetensors"]


def test_a_line_that_stays_dead_is_given_up_and_the_next_call_goes_on(
    served: PublishedHub, cache: Path
) -> None:
    served.publish("owner/model", plain())
    served.break_after["model.safetensors"] = [60_000, *[0] * 10]
    with pytest.raises(
        Offline, match=r"broke off after 60\.0 kB of 100\.0 kB .*goes on from there"
    ):
        got("hf:owner/model")
    assert hub.cached() == {} and hub.here("hf:owner/model") is None
    assert [part.stat().st_size for part in parts(cache)] == [60_000]
    served.break_after.clear()
    served.asked.clear()
    order = look_up("hf:owner/model")
    assert order.left == 40_000
    assert next(iter(fetch(order)))[0] > 60_000  # the small files are here too
    got("hf:owner/model")
    assert [start for path, start in served.asked if path == "model.safetensors"] == [60_000]
    assert "config.json" not in served.fetched()


def test_a_server_that_only_starts_from_the_beginning_is_heard_from_there(
    served: PublishedHub,
) -> None:
    served.publish("owner/model", plain())
    served.ranges = False
    served.break_after["model.safetensors"] = [40_000]
    got("hf:owner/model")
    assert hub.find("hf:owner/model").weights[0].read_bytes() == plain()["model.safetensors"]


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "README.md"])
def test_a_file_with_a_wrong_checksum_is_removed_and_nothing_counts_as_whole(
    file: str, served: PublishedHub, cache: Path
) -> None:
    content = plain()
    served.publish("owner/model", content)
    served.corrupt[file] = content[file][:-1] + b"?"
    with pytest.raises(BadData, match=rf"{file} came with another checksum"):
        got("hf:owner/model")
    assert hub.cached() == {} and parts(cache) == []
    with pytest.raises(Offline), pytest.MonkeyPatch.context() as away:
        offline(away)
        hub.find("hf:owner/model")
    served.corrupt.clear()
    got("hf:owner/model")
    assert hub.find("hf:owner/model").weights[0].read_bytes() == content["model.safetensors"]


@pytest.mark.parametrize("left", [b"not what came", b"x" * 200_000])
def test_a_part_that_somebody_damaged_is_begun_anew(
    left: bytes, served: PublishedHub, cache: Path
) -> None:
    served.publish("owner/model", plain())
    order = look_up("hf:owner/model")
    order.files[-1].part.parent.mkdir(parents=True, exist_ok=True)
    order.files[-1].part.write_bytes(left)
    got("hf:owner/model")
    assert hub.find("hf:owner/model").weights[0].read_bytes() == plain()["model.safetensors"]
    assert parts(cache) == []


def test_a_persons_key_goes_to_the_hub_and_not_to_where_it_refers(
    served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    served.publish("owner/model", plain())
    served.refers = True
    served.break_after["model.safetensors"] = [40_000]
    got("hf:owner/model")
    assert set(served.keys) == {("127.0.0.1", "Bearer hf_secret"), ("localhost", None)}
    assert hub.find("hf:owner/model").weights[0].read_bytes() == plain()["model.safetensors"]
    served.refers = False
    served.keys.clear()
    served.publish("owner/another", plain())
    got("hf:owner/another")  # for which a private one needs the key
    assert set(served.keys) == {("127.0.0.1", "Bearer hf_secret")}


# --- room, and others at the same ---------------------------------------------------------------


def test_a_disk_that_is_too_full_is_said_before_a_weight_comes(
    served: PublishedHub, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    served.publish("owner/model", plain())
    order = look_up("hf:owner/model")
    usage = shutil.disk_usage(cache.parent)._replace(free=99_000)
    monkeypatch.setattr(get_model.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        OutOfSpace, match=r"100\.0 kB are still to come, and 99\.0 kB are free .*HF"
    ):
        next(iter(fetch(order)))
    assert "model.safetensors" not in served.fetched()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_disk_that_fills_up_on_the_way_is_said_in_a_line(
    served: PublishedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.publish("owner/model", plain())
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123 - the part closes it
    with get_model._Part(look_up("hf:owner/model").files[-1]) as part:
        part._out.close()
        monkeypatch.setattr(part, "_out", full)
        with pytest.raises(OutOfSpace, match=r"no space left for .* goes on from there"):
            part.add(b"what came")
    assert hub.cached() == {}


def test_of_two_that_fetch_the_same_one_does(served: PublishedHub) -> None:
    served.publish("owner/model", plain())
    order = look_up("hf:owner/model")
    busy = pytest.raises(InUse, match=r"another process is fetching model\.safetensors")
    with get_model._alone(order.files[-1]), busy:
        got("hf:owner/model")
    got("hf:owner/model")


def test_without_links_nothing_lies_there_twice(
    served: PublishedHub, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    served.publish("owner/model", plain())
    got("hf:owner/model")
    weights = hub.find("hf:owner/model").weights[0]
    assert weights.read_bytes() == plain()["model.safetensors"] and not weights.is_symlink()
    assert list((hub.home_of("owner/model") / "blobs").iterdir()) == []
    assert look_up("hf:owner/model").files == ()


def test_the_weights_are_shown_last(
    served: PublishedHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is stopped on the way has small files, which are no model, and not the reverse."""
    lay_out = get_model._lay_out

    def stopped(files: Any, name: str) -> None:
        if any(file.weighs for file in files):
            raise KeyboardInterrupt
        lay_out(files, name)

    served.publish("owner/model", plain() | {"tokenizer.json": b"{}"})
    with monkeypatch.context() as once, pytest.raises(KeyboardInterrupt):
        once.setattr(get_model, "_lay_out", stopped)
        got("hf:owner/model")
    shown = {path.name for path in (hub.home_of("owner/model") / "snapshots" / COMMIT).iterdir()}
    assert shown == {"README.md", "config.json", "tokenizer.json"} and hub.cached() == {}
    served.asked.clear()
    assert got("hf:owner/model").left == 0 and served.asked == []
    assert hub.find("hf:owner/model").weights[0].read_bytes() == plain()["model.safetensors"]


def test_a_fetch_that_is_left_lets_go_of_its_lock(served: PublishedHub) -> None:
    served.publish("owner/model", plain())
    order = look_up("hf:owner/model")
    steps = fetch(order)
    while next(steps)[0] < 50_000:
        pass
    steps.close()
    assert hub.here("hf:owner/model") is None and 0 < look_up("hf:owner/model").left < 60_000
    got("hf:owner/model")


# --- kills --------------------------------------------------------------------------------------


def command(served: PublishedHub, cache: Path, *words: str) -> subprocess.Popen[str]:
    here = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    here |= {"HF_ENDPOINT": served.address, "HF_HUB_CACHE": str(cache), "NO_PROXY": "127.0.0.1"}
    here |= {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "mmfm", *words],
        env=here,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_stopped_leaves_nothing_whole_and_goes_on(
    how: signal.Signals, served: PublishedHub, cache: Path
) -> None:
    content = plain(4_000_000) | {"config.json": b'{"mmfm": 1}'}  # of which torch is not asked
    served.publish("owner/model", content)
    served.pace = 0.03
    with command(served, cache, "models", "get", "hf:owner/model") as child:
        deadline = time.monotonic() + 60
        while not any(size > 500_000 for size in sizes(cache)):
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        child.send_signal(how)
        _, err = child.communicate(timeout=30)
    if how == signal.SIGINT:
        assert child.returncode == 130
        assert err.splitlines()[-1] == "mmfm: stopped; the same command goes on from here"
    (part,) = parts(cache)
    came = part.stat().st_size
    assert 500_000 <= came < 4_000_000
    assert hub.cached() == {} and hub.here("hf:owner/model") is None
    served.pace = 0.0
    served.asked.clear()
    with command(served, cache, "models", "get", "hf:owner/model") as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert f"{hub.in_words(4_000_000 - came)} of it still to come" in err
    assert out.startswith("hf:owner/model is here, 4.0 MB: --model hf:owner/model")
    assert [start for path, start in served.asked if path == "model.safetensors"] == [came]
    assert hub.find("hf:owner/model").weights[0].read_bytes() == content["model.safetensors"]


@pytest.mark.parametrize("name", ["hf:owner/model", "ViT-B-32/laion2b_s34b_b79k"])
def test_offline_it_is_said_at_once(name: str, cache: Path) -> None:
    with PublishedHub() as gone:
        address = gone.address
    quick: list[float] = []
    for _ in range(2):
        start = time.perf_counter()
        here = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
        here |= {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache)}
        done = subprocess.run(
            [sys.executable, "-m", "mmfm", "models", "get", name],
            env=here,
            capture_output=True,
            text=True,
            timeout=60,
        )
        quick.append(time.perf_counter() - start)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1 and "the hub cannot be reached" in done.stderr
    assert min(quick) < 10


def test_fetching_imports_no_torch(served: PublishedHub, cache: Path) -> None:
    """A CLIP of ours is brought without the library that would run it."""
    served.publish("owner/model", bundled("clip-shapes"))
    code = (
        "import sys; from mmfm.tasks.get_model import fetch, look_up\n"
        "list(fetch(look_up('hf:owner/model'))), look_up('hf:owner/model')\n"
        "print({'torch', 'transformers', 'open_clip'} & sys.modules.keys())"
    )
    here = {**os.environ, "HF_ENDPOINT": served.address, "HF_HUB_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
    assert load_file(hub.find("hf:owner/model").weights[0])
