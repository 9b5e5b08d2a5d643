"""Several sources are one set: each has its share of every batch and words of its own, what is true
of two of them is known, and what is held out is never shown."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mixtures import COARSE, HANDS, PHOTOS, SIGNS, SIZE, make_sources, sign, tables
from PIL import Image

from mmfm.data.mixture import Mixture, Source, load_mixture
from mmfm.data.pictures import Preprocessing
from mmfm.data.templates import language_of
from mmfm.errors import BadData, BadInput, MmfmError, NotHere
from mmfm.recipes import read_sources

PLAIN = Preprocessing((SIZE, SIZE), (0.0,) * 3, (1 / 255,) * 3)  # the numbers are the bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def mixture(folder: Path) -> Mixture:
    return load(folder)


def load(folder: Path, **signs: Any) -> Mixture:
    return load_mixture(read_sources(tables(folder, **signs)), folder, size=SIZE)


def drawn_out(count: int, seed: int = 0) -> set[str]:
    """The rule by which kinds are held out, as the recipe tells it."""
    keys = [f"<{name}>" for _, name, *_ in SIGNS]
    lots = {key: hashlib.sha256(f"{seed} {key}".encode()).hexdigest() for key in keys}
    return {key[1:-1] for key in sorted(keys, key=lots.__getitem__)[:count]}


def numbers(images: torch.Tensor) -> list[int]:
    """Which things pictures show, by their last pixels."""
    return [round(value / 10) for value in images[:, -1, -1, 0].tolist()]


def name_of(mixture: Mixture, kind: int) -> str:
    return mixture.kinds[kind].names["en"][0]


def batch(mixture: Mixture, count: int, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(count) % len(mixture), torch.full((count,), epoch)


# --- what is there ------------------------------------------------------------------------------


def test_each_source_gives_what_it_does_not_hold_out(mixture: Mixture) -> None:
    held = drawn_out(3)
    signs = [
        (number, hand)
        for number, name, *_ in SIGNS
        for hand in (0, 2)
        if name not in held and (number, hand) != (4, 2)
    ]
    assert list(map(len, mixture.images)) == [20, 18, len(signs)]
    assert [images.shape[1:] for images in mixture.images] == [
        (SIZE, SIZE, 3), (SIZE, SIZE, 3), (SIZE, SIZE, 4),
    ]  # fmt: skip
    assert len(mixture) == 38 + len(signs) and mixture.shape == (SIZE, SIZE, 3)
    assert sorted(numbers(mixture.images[2])) == sorted(number for number, _ in signs)
    for images, shown in zip(mixture.images, mixture.shown, strict=True):
        names = {**PHOTOS, **COARSE, **{number: name for number, name, *_ in SIGNS}}
        assert [name_of(mixture, kind) for kind in shown.tolist()] == [
            names[number] for number in numbers(images)
        ]


def test_what_is_held_out_says_what_is_asked_of_it(mixture: Mixture) -> None:
    photos, coarse, hand, new = mixture.held_out
    assert [part.title for part in mixture.held_out] == [
        "photos", "coarse", "new hand signs", "new signs",
    ]  # fmt: skip
    assert (len(photos.kinds), len(coarse.kinds)) == (6, 2)
    assert photos.choices.tolist() == [0, 1, 2] and coarse.choices.tolist() == [3, 4]
    assert {part.way for part in (photos, coarse)} == {"name"}
    assert {part.way for part in (hand, new)} == {"find"}

    held = drawn_out(3)
    assert {name_of(mixture, kind) for kind in new.kinds.tolist()} == held
    assert {name_of(mixture, kind) for kind in hand.kinds.tolist()} == {
        name for _, name, *_ in SIGNS if name not in held
    }
    assert [hand.galleries[number] for number in hand.gallery.tolist()] == ["chalk"] * 9
    assert {new.galleries[number] for number in new.gallery.tolist()} == set(HANDS)
    for part in mixture.held_out:  # a clear pixel is white there
        assert part.images.shape[1:] == (SIZE, SIZE, 3)
        assert [name_of(mixture, kind) for kind in part.kinds.tolist()] == [
            {**PHOTOS, **COARSE, **{n: name for n, name, *_ in SIGNS}}[number]
            for number in numbers(part.images)
        ]
    assert (new.images[:, 0, 0] == 255).all()
    some = new.select(torch.tensor([1, 0]))
    assert torch.equal(some.kinds, new.kinds[[1, 0]]) and some.choices is new.choices


def test_another_seed_holds_out_other_kinds_and_hands_are_named(folder: Path) -> None:
    other = load(folder, seed=1, hold_hands=["pen", "brush"])
    assert {name_of(other, k) for k in other.held_out[-1].kinds.tolist()} == drawn_out(3, seed=1)
    assert drawn_out(3, seed=1) != drawn_out(3)
    greens = other.images[2][:, -1, -1, 1].unique().tolist()
    assert greens == [80 * HANDS.index("chalk")]
    everything = load(folder, hold_hands=[], hold_kinds=0)
    assert len(everything.images[2]) == 35 and len(everything.held_out) == 2


def test_what_cannot_be_read_or_has_no_name_is_left_out_and_named(mixture: Mixture) -> None:
    reasons = [why for where, why in mixture.skipped if "signs.parquet row" in where]
    assert len(reasons) == len(mixture.skipped) == 2 and "it has no name" in reasons


def test_kinds_can_be_held_out_by_what_the_data_calls_them(folder: Path) -> None:
    mixture = load(folder, hold_names=["<moon>", "<rain>"])
    held = drawn_out(3)  # who is drawn, does not change
    assert not {"moon", "rain"} & held
    *_, hand, new, named = mixture.held_out
    assert named.title == "never drawn signs" and named.way == "find"
    assert {name_of(mixture, kind) for kind in named.kinds.tolist()} == {"moon", "rain"}
    assert len(named.kinds) == 2 * len(HANDS)  # as everyone draws them
    assert {name_of(mixture, kind) for kind in new.kinds.tolist()} == held
    learned = {name_of(mixture, kind) for kind in mixture.shown[2].tolist()}
    assert learned == {name for _, name, *_ in SIGNS} - held - {"moon", "rain"}
    assert {name_of(mixture, kind) for kind in hand.kinds.tolist()} == learned
    assert not any("moon" in text or "달" in text for text in mixture.sayable)
    assert {mixture.keys[kind] for kind in named.kinds.tolist()} == {"<moon>", "<rain>"}


def test_each_picture_tells_whose_hand_drew_it(folder: Path, mixture: Mixture) -> None:
    assert mixture.drawers == ("brush", "pen")  # chalk is held out
    photos, coarse, signs = mixture.hands
    assert (photos == -1).all() and (coarse == -1).all()
    greens = (mixture.images[2][:, -1, -1, 1] / 80).round().int().tolist()
    assert [HANDS.index(mixture.drawers[hand]) for hand in signs.tolist()] == greens
    index, epoch = batch(mixture, len(mixture), 2)
    drawn = mixture.draw(index, epoch, 0)
    hands = mixture.drawn_by(drawn)
    for source, place, hand in zip(*drawn[:2], hands, strict=True):
        assert hand == mixture.hands[source][place]
    assert set(hands.tolist()) == {-1, 0, 1}
    nobody = load(folder, hand=None, hold_hands=[])
    assert nobody.drawers == () and (nobody.hands[2] == -1).all()


# --- what a batch shows -------------------------------------------------------------------------


def test_each_source_has_its_share_of_an_epoch_and_all_its_pictures_come_as_often(
    mixture: Mixture,
) -> None:
    seen = [torch.zeros(len(images)) for images in mixture.images]
    for epoch in range(20):
        index, epochs = batch(mixture, len(mixture), epoch)
        drawn = mixture.draw(index, epochs, 3)
        counts = torch.bincount(drawn.source, minlength=3)
        wanted = len(mixture) * torch.tensor([0.5, 0.2, 0.3])
        assert (counts - wanted).abs().max() <= 1
        for number, times in enumerate(seen):
            times += torch.bincount(drawn.place[drawn.source == number], minlength=len(times))
            kinds = mixture.shown[number][drawn.place[drawn.source == number]]
            assert torch.equal(drawn.kinds[drawn.source == number], kinds)
    for times in seen:
        assert times.max() - times.min() <= 1 and times.min() >= 3


def test_a_batch_is_the_same_whenever_it_is_asked_for(mixture: Mixture) -> None:
    index, epoch = batch(mixture, 40, epoch=7)
    drawn = mixture.draw(index, epoch, 1)
    images = mixture.show(drawn, index, epoch, 1, PLAIN)
    captions, words = mixture.say(drawn, index, epoch, 1)
    some = torch.tensor([31, 2, 17])
    again = mixture.draw(index[some], epoch[some], 1)
    assert all(torch.equal(a, b[some]) for a, b in zip(again, drawn, strict=True))
    assert torch.equal(mixture.show(again, index[some], epoch[some], 1, PLAIN), images[some])
    said, meant = mixture.say(again, index[some], epoch[some], 1)
    assert said == [captions[i] for i in some.tolist()] and torch.equal(meant, words[some])
    for seed, other in ((2, 7), (1, 8)):
        else_ = torch.full_like(epoch, other)
        changed = mixture.draw(index, else_, seed)
        assert not torch.equal(changed.place, drawn.place)
        assert mixture.say(changed, index, else_, seed)[0] != captions


def test_transparent_pictures_lie_on_white_or_on_a_colour(folder: Path) -> None:
    mixture = load(folder, background=0.5)
    white = coloured = 0
    for number in range(12):
        index, epoch = batch(mixture, len(mixture), number)
        drawn = mixture.draw(index, epoch, 0)
        images = mixture.show(drawn, index, epoch, 0, PLAIN).round()
        for image, source, place in zip(images, *drawn[:2], strict=True):
            if source != 2:
                assert torch.equal(image, mixture.images[source][place].permute(2, 0, 1).float())
                continue
            ground = image[:, 0, 0]
            thing, *_ = numbers(mixture.images[2][place][None])
            hand = round(mixture.images[2][place, -1, -1, 1].item() / 80)
            picture = Image.open(io.BytesIO(sign(thing, hand)))
            below = Image.new("RGBA", picture.size, tuple(ground.int().tolist()))
            expected = np.asarray(Image.alpha_composite(below, picture).convert("RGB"))
            assert np.abs(image.permute(1, 2, 0).numpy() - expected).max() <= 2
            white += bool((ground == 255).all())
            coloured += bool((ground != 255).any())
    assert 0.35 < white / (white + coloured) < 0.65
    assert load(folder).sources[2].background == 0


def test_some_lie_smaller_on_a_picture_of_a_source_that_has_classes(folder: Path) -> None:
    mixture = load(folder, scenes=0.5)
    whole = torch.cat([images.reshape(len(images), -1) for images in mixture.images[:2]])
    white = scenes = told = 0
    found: set[int] = set()
    for number in range(30):
        index, epoch = batch(mixture, len(mixture), number)
        drawn = mixture.draw(index, epoch, 0)
        images = mixture.show(drawn, index, epoch, 0, PLAIN).round()
        signs = drawn.source == 2
        for image, place in zip(images[signs], drawn.place[signs], strict=True):
            pixels = image.permute(1, 2, 0)
            own = mixture.images[2][place]
            if torch.equal(pixels, own[..., :3].float()):
                white += 1
                continue
            # Around it the photograph is as it was; where it lies the sign has covered some of it.
            flat = pixels.reshape(1, -1)
            ground = int((whole.float() == flat).sum(dim=1).argmax())
            kept = (whole[ground].reshape(pixels.shape) == pixels).all(dim=-1).float().mean()
            assert kept < 1
            scenes += 1
            if kept > 0.2:  # or it is so large that no more can be told of what it lies on
                found.add(ground)
                told += 1
    assert 0.35 < scenes / (white + scenes) < 0.65
    assert told > 0.5 * scenes
    assert {ground < len(mixture.images[0]) for ground in found} == {True, False}
    again = mixture.show(drawn, index, epoch, 0, PLAIN).round()
    assert torch.equal(again, images)


def test_scenes_need_a_source_of_whole_pictures_and_a_share_that_is_left(folder: Path) -> None:
    with pytest.raises(BadInput, match="scenes are pictures of a source with classes"):
        only = read_sources(tables(folder, scenes=0.5)[2:])
        load_mixture(only, folder, size=SIZE)
    with pytest.raises(BadInput, match="together are more than all"):
        load(folder, scenes=0.6, background=0.5)


def test_each_source_varies_its_pictures_in_its_own_way(folder: Path) -> None:
    mixture = load(folder, augment={"brightness": 90.0})
    index, epoch = batch(mixture, len(mixture))
    drawn = mixture.draw(index, epoch, 0)
    images = mixture.show(drawn, index, epoch, 0, PLAIN).round()
    changed = [False, False, False]
    for image, source, place in zip(images, *drawn[:2], strict=True):
        original = mixture.images[source][place, ..., :3].permute(2, 0, 1).float()
        changed[int(source)] |= not torch.equal(image, original)
    assert changed == [False, False, True]


# --- what is said -------------------------------------------------------------------------------


def spoken(mixture: Mixture, epochs: int = 40) -> list[tuple[int, int, str, int]]:
    """(source, kind, caption, word) of some epochs."""
    told: list[tuple[int, int, str, int]] = []
    for number in range(epochs):
        index, epoch = batch(mixture, len(mixture), number)
        drawn = mixture.draw(index, epoch, 0)
        captions, words = mixture.say(drawn, index, epoch, 0)
        told += zip(
            drawn.source.tolist(), drawn.kinds.tolist(), captions, words.tolist(), strict=True
        )
    return told


def test_every_caption_says_something_true_in_a_template_of_its_source(mixture: Mixture) -> None:
    told = spoken(mixture, 150)
    for source, kind, caption, word in told:
        assert mixture.words[word] in caption and mixture.truth[kind, word]
        if source == 2:
            own = mixture.words[word]
            rest = caption.replace(own, "", 1)
            assert rest in (
                "",
                "a sign of a ",
                "a sign of an ",
                "을 나타내는 표시",
                "를 나타내는 표시",
            )
    languages = [language_of(caption) for _, _, caption, _ in told]
    assert 0.45 < languages.count("ko") / len(told) < 0.55
    assert {caption for _, kind, caption, _ in told if name_of(mixture, kind) == "sparrow"} >= {
        "sparrow",
        "a photo of a house sparrow",
        "참새를 그린 그림",
        "a photo of a bird",
        "동물 사진",
    }


def test_as_many_captions_as_wanted_are_broader(mixture: Mixture) -> None:
    told = [(kind, word) for source, kind, _, word in spoken(mixture) if source == 0]
    names = [
        mixture.words[word] in [n for ns in mixture.kinds[kind].names.values() for n in ns]
        for kind, word in told
    ]
    # An oak has nothing broader in Korean, so that language has a sixth less of it.
    assert 0.18 < 1 - sum(names) / len(names) < 0.26
    assert all(
        mixture.words[word] in [n for ns in mixture.kinds[kind].names.values() for n in ns]
        for source, kind, _, word in spoken(mixture, 5)
        if source == 1
    )


def test_what_two_sources_say_in_one_word_is_true_of_both(mixture: Mixture) -> None:
    def true_of(word: str) -> set[str]:
        column = mixture.truth[:, mixture.words.index(word)]
        return {name_of(mixture, kind) for kind in column.nonzero().flatten().tolist()}

    assert true_of("sparrow") == {"sparrow"} and true_of("참새") == {"sparrow"}
    assert true_of("bird") == {"sparrow", "bird"} == true_of("새")
    assert true_of("animal") == {"sparrow", "trout", "bird", "fish"}
    assert true_of("letter") == {"alpha", "beta", "gamma"}
    number = mixture.words.index("animal")
    kinds = mixture.truth[:, number].nonzero().flatten().tolist()
    assert len(kinds) == 5  # both birds: the photographs' and the sign's
    assert len({word.casefold() for word in mixture.words}) == len(mixture.words)


def test_a_vocabulary_is_learned_from_what_training_says_and_nothing_else(
    mixture: Mixture,
) -> None:
    texts = set(mixture.texts)
    assert len(mixture.texts) == len(mixture) and texts <= {c for _, _, c, _ in spoken(mixture, 1)}
    names = {number: name for number, name, *_ in SIGNS}
    for name in drawn_out(3) - {"bird"}:
        assert name in names.values() and not any(name in text for text in texts)


def test_all_that_is_ever_said_is_known_beforehand(mixture: Mixture) -> None:
    sayable = mixture.sayable
    assert len(sayable) == len(set(sayable))
    said = {caption for _, _, caption, _ in spoken(mixture, 150)}
    assert said <= set(sayable)
    assert len(said) > 0.8 * len(sayable)  # and it is not much more
    assert mixture.names[:5] == ("sparrow", "trout", "oak", "bird", "fish")


# --- what is refused ----------------------------------------------------------------------------


def refusal(error: type[MmfmError], folder: Path, **signs: Any) -> str:
    with pytest.raises(error) as caught:
        load(folder, **signs)
    assert type(caught.value) is error and "\n" not in str(caught.value)
    return str(caught.value)


def test_what_a_source_cannot_be_is_said_in_one_line(folder: Path) -> None:
    assert "a share of 0" in refusal(BadInput, folder, share=0)
    assert "shares from 0 to 1" in refusal(BadInput, folder, background=1.5)
    assert "a list of texts" in refusal(BadInput, folder, ask=[3])
    assert "a list of texts" in refusal(BadInput, folder, ask=3)
    assert "go with kind" in refusal(BadInput, folder, kind=None)
    assert "with kind go names" in refusal(BadInput, folder, names=[])
    assert "needs hand" in refusal(BadInput, folder, hand=None)
    assert "'<noon>', which no picture shows" in refusal(BadInput, folder, hold_names=["<noon>"])
    assert "a list of texts" in refusal(BadInput, folder, hold_names=[3])
    assert "12 kinds cannot be held out of 12" in refusal(BadInput, folder, hold_kinds=12)
    assert "there are brush, chalk, pen" in refusal(BadInput, folder, hold_hands=["crayon"])
    assert "nothing is left" in refusal(BadInput, folder, hold_hands=list(HANDS))
    assert "no column 'shape'; it has image, sign" in refusal(BadInput, folder, kind="shape")
    assert "no templates 'nowhere'" in refusal(BadInput, folder, templates="nowhere")
    assert "no templates 'nowhere'" in refusal(BadInput, folder, ask="nowhere")
    with pytest.raises(BadInput, match="one source at least"):
        load_mixture([], folder, size=SIZE)


def test_sources_that_are_not_there_are_named_before_any_is_read(folder: Path) -> None:
    line = refusal(NotHere, folder, data="sings.parquet")
    assert "no sings.parquet" in line and "photos, coarse, sings.parquet" in line
    two = [Source(data="photos"), Source(data="photos")]
    with pytest.raises(BadInput, match="two sources are called 'photos'"):
        load_mixture(two, folder, size=SIZE)


def test_a_class_without_a_row_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("class,en\nsparrow,sparrow\n")
    sources = [Source(data="photos", classes=str(tmp_path / "few.csv"))]
    with pytest.raises(BadData, match="no row for trout, oak, of"):
        load_mixture(sources, folder, size=SIZE)
    with pytest.raises(NotHere, match="nothing"):
        load_mixture([Source(data="photos", classes="nothing")], folder, size=SIZE)
    own = load_mixture([Source(data="photos")], folder, size=SIZE)
    assert [name_of(own, kind) for kind in range(3)] == list(PHOTOS.values())
