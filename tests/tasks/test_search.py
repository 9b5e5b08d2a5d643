"""Searching: the nearest pictures by words, pictures and both; and those that are alike."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmfm
from mmfm.data import shapes
from mmfm.data.pictures import MAX_PIXELS
from mmfm.engines import plain
from mmfm.errors import BadInput, NotHere
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.label_vectors import fingerprint
from mmfm.models.tokenizer import clip_bpe
from mmfm.models.vit import ViTConfig
from mmfm.store import Row, Store
from mmfm.tasks import search as task
from mmfm.tasks.index import index
from mmfm.tasks.search import SEARCH_SCORES, alike_from, duplicates, search

COLOURS, FORMS = ("red", "blue", "green"), ("circle", "star", "square")


def drawn(count: int, seed: int, size: int = 96) -> list[tuple[str, Image.Image]]:
    """Every colour and form so many times, each drawn a little differently."""
    pairs = [(c, f) for c in COLOURS for f in FORMS for _ in range(count)]
    scenes = [shapes.Scene((shapes.Shape(*pair, "large", "in the centre"),)) for pair in pairs]  # type: ignore[arg-type]
    images = shapes.draw(scenes, size, seed=seed)
    names = [f"{c} {f}" for c, f in pairs]
    return [
        (name, Image.fromarray(image.numpy())) for name, image in zip(names, images, strict=True)
    ]


def english_model() -> CLIP:
    """A tiny one with random weights and the tokenizer of OpenAI's."""
    tokenizer = clip_bpe()
    image = ViTConfig((16, 16), 8, dim=16, depth=1, heads=2, mlp_dim=24)
    text = TextConfig(tokenizer.vocabulary, tokenizer.context, dim=20, depth=1, heads=2, mlp_dim=24)
    model = CLIP(CLIPConfig(image, text, dim=12), tokenizer=tokenizer)
    model.reset(torch.Generator().manual_seed(1))
    return model.eval()


@pytest.fixture(scope="module")
def clip() -> TwoTowers:
    return mmfm.load_clip("clip-shapes")


@pytest.fixture(scope="module")
def indexed(clip: TwoTowers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """Five drawings of each of nine things, in a folder for each form."""
    here = tmp_path_factory.mktemp("indexed").resolve()
    for number, (name, picture) in enumerate(drawn(5, seed=1)):
        folder = here / "photos" / name.split()[1]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{name} {number}.png")
    store = Store(here / "store")
    list(index(clip, plain(clip), [here / "photos"], store=store))
    return store, here / "photos"


def names(hits: list[task.Hit]) -> list[str]:
    return [hit.path.stem.rsplit(" ", 1)[0] for hit in hits]


# --- search ---------------------------------------------------------------------------------------


def test_words_find_what_they_name(clip: TwoTowers, indexed: tuple[Store, Path]):
    store, _ = indexed
    for name, _ in drawn(1, seed=0):
        hits = search(clip, [name], store=store, n=5, cache=None)
        assert names(hits) == [name] * 5
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True) and hits[0].kind == "text"
    assert (
        names(search(clip, ["빨간색 별"], store=store, n=5, templates="simple", cache=None))
        == ["red star"] * 5
    )


def test_the_score_is_the_cosine_and_the_order_is_exact(
    clip: TwoTowers, indexed: tuple[Store, Path]
):
    store, photos = indexed
    files = sorted(photos.rglob("*.png"))
    text = "a drawing of a red circle here"
    cosines = (clip.encode_image(files) @ clip.encode_text([text])[0]).numpy()
    hits = search(clip, [text], store=store, n=45, cache=None)
    order = np.argsort(-cosines)
    assert [hit.path for hit in hits] == [files[place] for place in order]
    np.testing.assert_allclose([hit.score for hit in hits], cosines[order], atol=1e-5)


def test_a_picture_finds_itself_and_then_its_like(clip: TwoTowers, indexed: tuple[Store, Path]):
    store, photos = indexed
    file = next(photos.rglob("blue star*.png"))
    hits = search(clip, [file], store=store, n=5, cache=None)
    assert hits[0].path == file and hits[0].score == pytest.approx(1, abs=1e-4)
    assert names(hits) == ["blue star"] * 5 and hits[0].kind == "picture"
    with Image.open(file) as picture:
        assert [h.path for h in search(clip, [picture], store=store, n=5)] == [h.path for h in hits]


def test_a_picture_too_large_to_be_decoded_whole_finds_itself(clip: TwoTowers, tmp_path: Path):
    file = tmp_path.resolve() / "photos" / "panorama.jpg"
    file.parent.mkdir()
    large = Image.new("L", (12_000, 9_000), 200)
    large.paste(30, (2_000, 1_000, 7_000, 6_000))
    large.save(file)
    assert large.width * large.height > MAX_PIXELS
    Image.new("RGB", (96, 96), "red").save(file.with_name("red.png"))
    store = Store(tmp_path / "store")
    list(index(clip, plain(clip), [file.parent], store=store))
    hits = search(clip, [file], store=store, cache=None)
    assert hits[0].path == file and hits[0].score == pytest.approx(1, abs=1e-5)


def test_plus_and_minus_are_the_difference_of_means(clip: TwoTowers, indexed: tuple[Store, Path]):
    store, photos = indexed
    files = sorted(photos.rglob("*.png"))
    plus, minus = clip.encode_text(["a star", "a red thing"]), clip.encode_image([files[0]])
    direction = plus.mean(dim=0) - minus.mean(dim=0)
    cosines = clip.encode_image(files) @ (direction / direction.norm())
    hits = search(clip, ["a star", "a red thing"], [files[0]], store=store, n=45, cache=None)
    assert [hit.path for hit in hits] == [
        files[place] for place in cosines.argsort(descending=True)
    ]
    assert hits[0].kind == "mixed"
    found = names(search(clip, ["star"], ["red"], store=store, n=10, cache=None))
    assert set(found) == {"blue star", "green star"}
    assert set(SEARCH_SCORES) == {"text", "picture", "mixed"}


def test_names_are_said_in_templates_and_sentences_as_they_stand(
    clip: TwoTowers, indexed: tuple[Store, Path]
):
    store, _ = indexed

    def scores(text: str, templates: str) -> list[float]:
        hits = search(clip, [text], store=store, templates=templates, cache=None)
        return [hit.score for hit in hits]

    for text in ("a red circle", "the star", "one red circle above a star"):
        assert scores(text, "{name}") == scores(text, "this is {name}")
    for text in ("red circle", "blue star"):
        assert scores(text, "{name}") != scores(text, "this is {name}")


def test_a_search_can_be_kept_to_folders(clip: TwoTowers, indexed: tuple[Store, Path]):
    store, photos = indexed
    hits = search(clip, ["red"], store=store, folders=[photos / "star"], n=50, cache=None)
    assert len(hits) == 15 and {hit.path.parent.name for hit in hits} == {"star"}
    several = [photos / "star", f"{photos}/circle/../circle/"]
    assert len(search(clip, ["red"], store=store, folders=several, n=50, cache=None)) == 30


def test_a_folder_that_never_was_is_said_and_one_that_was_is_not(
    clip: TwoTowers, indexed: tuple[Store, Path], tmp_path: Path
):
    for ask in (
        lambda folders: search(clip, ["red"], store=indexed[0], folders=folders, cache=None),
        lambda folders: duplicates(clip, store=indexed[0], folders=folders),
    ):
        with pytest.raises(NotHere, match="nowhere: no such folder, and no picture of it is inde"):
            ask([indexed[1], tmp_path / "nowhere"])
    assert search(clip, ["red"], store=indexed[0], folders=[tmp_path], cache=None) == []
    photos, store = tmp_path / "photos", Store(tmp_path / "store")
    shutil.copytree(indexed[1] / "star", photos)
    list(index(clip, plain(clip), [photos], store=store))
    shutil.rmtree(photos)  # or the disk is not mounted
    assert search(clip, ["red"], store=store, folders=[photos], cache=None) == []
    assert duplicates(clip, store=store, folders=[photos]) == []


def test_a_file_that_is_gone_is_left_out_and_the_next_takes_its_place(
    clip: TwoTowers, indexed: tuple[Store, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    photos = tmp_path.resolve() / "photos"
    shutil.copytree(indexed[1], photos)
    store = Store(tmp_path / "store")
    list(index(clip, plain(clip), [photos], store=store))
    monkeypatch.setattr(task, "_SPARE", 1)
    every = search(clip, ["a red star"], store=store, n=45, cache=None)
    for hit in every[:40:2]:
        hit.path.unlink()
    left = [hit.path for hit in every if hit.path.exists()]
    assert [h.path for h in search(clip, ["a red star"], store=store, n=20, cache=None)] == left[
        :20
    ]
    assert [h.path for h in search(clip, ["a red star"], store=store, n=99, cache=None)] == left


def test_of_many_rows_the_best_are_found_exactly(clip: TwoTowers, tmp_path: Path):
    """Many more rows than a batch holds, ties among them."""
    numbers = np.random.default_rng(0)
    vectors = numbers.standard_normal((5000, clip.dim), dtype=np.float32)
    vectors[1000:1500] = vectors[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    here = tmp_path.resolve()
    paths = [os.fsencode(here / f"{number:05}") for number in range(5000)]
    store = Store(tmp_path / "s")
    with store.writing() as writer:
        shelf = writer.shelf(fingerprint(clip), dim=clip.dim, model="x")
        stamp = (1, 1, bytes(32), "fp32", True)
        rows = [Row(p, b"/", b"/", *stamp, v) for p, v in zip(paths, vectors, strict=True)]
        shelf.put(rows[:3000], new=True)
        shelf.put(rows[3000:], new=True)
    query = torch.from_numpy(vectors[0] + 0.3 * vectors[4000])
    for most in (1, 20, 700, 5000, 9000):
        scores, found = store.shelf(fingerprint(clip)).scan(
            ("path", "vector"), lambda batches, most=most: task._best(batches, query, most)
        )
        expected = np.sort(vectors @ query.numpy())[::-1][:most]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert len(found) == len(set(found)) == min(most, 5000)
        places = [int(Path(os.fsdecode(path)).name) for path in found]
        np.testing.assert_allclose(vectors[places] @ query.numpy(), expected, atol=1e-5)


def test_wrong_wishes_are_told_in_a_line(clip: TwoTowers, indexed: tuple[Store, Path]):
    store, photos = indexed
    for wish, message in (
        ({"plus": []}, "say what to search for"),
        ({"plus": [], "minus": ["x"]}, "only takes away"),
        ({"plus": "x"}, r"\[query\]"),
        ({"plus": ["  "]}, "empty text"),
        ({"plus": ["red star"], "minus": ["red star"]}, "the same to this model"),
        ({"plus": ["x"], "n": 0}, "at least 1"),
        ({"plus": ["x"], "folders": "here"}, r"\[folder\]"),
    ):
        with pytest.raises(BadInput, match=message):
            search(clip, **{"minus": (), "store": store, "cache": None, **wish})  # type: ignore[arg-type]
    with pytest.raises(NotHere, match="no such file"):
        search(clip, [photos / "no.jpg"], store=store)
    with pytest.raises(BadInput, match="threshold of 2"):
        duplicates(clip, store=store, threshold=2)


def test_without_an_index_the_command_that_makes_one_is_named(
    clip: TwoTowers, indexed: tuple[Store, Path], tmp_path: Path
):
    for ask in (lambda s: search(clip, ["x"], store=s), lambda s: duplicates(clip, store=s)):
        with pytest.raises(NotHere, match=r"no picture is indexed.*mmfm index DIR"):
            ask(Store(tmp_path / "none"))
    other = english_model()
    with pytest.raises(NotHere, match=r"there are pictures of clip-shapes \(--model\)"):
        search(other, ["x"], store=indexed[0])


def test_korean_words_for_a_model_that_reads_none_are_warned_of(
    clip: TwoTowers, indexed: tuple[Store, Path], tmp_path: Path
):
    said: list[str] = []
    plainly = {"cache": None, "templates": "simple", "warn": said.append}
    search(clip, ["빨간색 별"], store=indexed[0], **plainly)
    assert said == []
    other, store = english_model(), Store(tmp_path / "store")
    list(index(other, plain(other), [indexed[1] / "star"], store=store))
    search(other, ["a star"], store=store, **plainly)
    assert said == []
    search(other, ["하얀색 부엌의 냉장고"], store=store, **plainly)
    assert len(said) == 1 and "does not read Korean words such as 하얀색" in said[0]


# --- pictures that are alike ----------------------------------------------------------------------


def test_pictures_saved_again_are_found_and_others_are_not(clip: TwoTowers, tmp_path: Path):
    photos = tmp_path.resolve() / "photos"
    photos.mkdir()
    for name, picture in drawn(1, seed=5, size=160):
        picture.save(photos / f"{name}.png")
    twice, again = photos / "red star.png", photos / "blue circle.png"
    shutil.copy(twice, photos / "a copy of red star.png")
    with Image.open(again) as picture:
        picture.resize((120, 120)).save(photos / "blue circle small.jpg", quality=85)
        picture.resize((1000, 1000)).save(photos / "blue circle large.png")
    os.link(photos / "green star.png", photos / "linked.png")
    store = Store(tmp_path / "store")
    list(index(clip, plain(clip), [photos], store=store))

    threshold = alike_from(clip, store=store)
    assert 0.99 < threshold < 0.9999
    steps: list[tuple[int, int]] = []
    same, near = duplicates(clip, store=store, progress=lambda *step: steps.append(step))
    assert steps == [(0, 1), (1, 1)]
    assert same.same_bytes and same.score == 1
    assert same.paths == (photos / "a copy of red star.png", twice)
    assert not near.same_bytes and threshold <= near.score <= 1
    assert [path.name for path in near.paths] == [
        "blue circle large.png",
        "blue circle.png",
        "blue circle small.jpg",
    ]
    twice.unlink()
    assert duplicates(clip, store=store) == [near]
    assert duplicates(clip, store=store, threshold=1.0) == []
    assert duplicates(clip, store=store, folders=[tmp_path]) == [near]


def test_a_link_stands_for_no_file_that_is_there_itself(clip: TwoTowers, tmp_path: Path):
    photos = tmp_path.resolve() / "photos"
    (photos / "bad").mkdir(parents=True)
    for name, picture in drawn(1, seed=5, size=160)[:2]:
        picture.save(photos / f"{name}.png")
    first, second = sorted(photos.glob("*.png"))
    twin = Path(shutil.copy(first, photos / "twin.png"))
    (photos / "bad" / "link.png").symlink_to(first)
    with Image.open(first) as picture:
        picture.save(photos / "small.jpg", quality=95)
    (photos / "bad" / "only.png").symlink_to(shutil.copy(second, tmp_path / "outside.png"))
    store = Store(tmp_path / "store")
    list(index(clip, plain(clip), [photos], store=store))
    first_alike, second_alike, near = duplicates(clip, store=store)
    assert sorted([first_alike.paths, second_alike.paths]) == sorted(
        [(first, twin), (photos / "bad" / "only.png", second)]
    )
    assert sorted(near.paths) == [first, photos / "small.jpg"]


def unit_rows(count: int, dim: int) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [7, 64, 1000])
def test_groups_are_those_of_a_plain_search_whatever_the_block(
    monkeypatch: pytest.MonkeyPatch, block: int
):
    vectors = unit_rows(300, 6)
    near = vectors @ vectors.T >= 0.9
    groups, left = list[list[int]](), list(range(300))
    while left:
        group = [place for place in left if near[left[0], place]]
        left = [place for place in left if place not in group]
        groups += [group] if len(group) > 1 else []
    assert len(groups) > 20 and max(map(len, groups)) > 3
    monkeypatch.setattr(task, "_BLOCK", block)
    assert task._groups(vectors, 0.9, lambda done, total: None) == groups


def test_a_chain_is_no_group(monkeypatch: pytest.MonkeyPatch):
    """Each near the next, the last far from the first: no two of a group are far apart."""
    angles = np.linspace(0, np.pi, 100)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    threshold = float(np.cos(2.5 * angles[1]))
    expected = [list(range(place, place + 3)) for place in range(0, 99, 3)]
    for block in (10, 1000):
        monkeypatch.setattr(task, "_BLOCK", block)
        assert task._groups(vectors, threshold, lambda done, total: None) == expected
    cosines = vectors @ vectors.T
    lowest = min(float(cosines[np.ix_(group, group)].min()) for group in expected)
    assert lowest > 2 * threshold**2 - 1


def test_whoever_keeps_the_first_of_each_group_loses_nothing_unlike_it(
    clip: TwoTowers, indexed: tuple[Store, Path]
):
    """Among drawings that lie close together, far more are near each other than near the first."""
    store, _ = indexed
    threshold = 0.8
    groups = duplicates(clip, store=store, threshold=threshold)
    assert len(groups) > 3
    paths = [path for group in groups for path in group.paths]
    assert len(set(paths)) == len(paths)
    for group in groups:
        rows = clip.encode_image([*group.paths])
        cosines = rows @ rows.T
        assert group.score == pytest.approx(float(cosines[0].min()), abs=1e-5)
        assert group.score >= threshold - 1e-5
        assert float(cosines.min()) >= 2 * threshold**2 - 1 - 1e-5
        sizes = [path.stat().st_size for path in group.paths]
        assert sizes == sorted(sizes, reverse=True)
    assert duplicates(clip, store=store, threshold=threshold) == groups


def test_a_thousand_times_the_same_is_one_group():
    vectors = np.ones((5000, 4), np.float32) / 2
    (group,) = task._groups(vectors, 0.999, lambda done, total: None)
    assert group == list(range(5000))


# --- while another process writes -----------------------------------------------------------------

WRITE = """
import sys
sys.path.insert(0, sys.argv[2])
from test_search import Path, Store, fingerprint, mmfm
import numpy as np
from mmfm.store import Row
store = Store(sys.argv[1])
clip = mmfm.load_clip("clip-shapes")
vectors = np.eye(clip.dim, dtype=np.float32)
with store.writing() as writer:
    shelf = writer.shelf(fingerprint(clip), dim=clip.dim, model=clip.source)
    print("begun", flush=True)
    for turn in range(100000):
        stamp = (1, 1, turn.to_bytes(32, "big"), "fp32", True)
        shelf.put([Row(b"/nowhere/%d" % turn, b"/", b"/", *stamp, vectors[0])], new=True)
        shelf.tidy()
"""


def test_a_search_goes_on_while_another_process_indexes(
    clip: TwoTowers, indexed: tuple[Store, Path], tmp_path: Path
):
    store = Store(tmp_path / "store")
    shutil.copytree(indexed[0].folder, store.folder)
    command = [sys.executable, "-c", WRITE, str(store.folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "begun\n"
        before = len(store.shelf(fingerprint(clip)))
        for _ in range(40):
            assert names(search(clip, ["red star"], store=store, n=5)) == ["red star"] * 5
        assert other.poll() is None
        other.kill()
    assert len(store.shelf(fingerprint(clip))) > before
