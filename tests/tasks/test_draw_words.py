"""Words are drawn as they are said: the same noise, the shares of each word, a walk between two."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
import word_models
from einops import reduce

from mmfm.errors import BadInput
from mmfm.models.denoiser import Denoiser, Told
from mmfm.models.words import Reader
from mmfm.tasks.draw_words import (
    COUNT,
    Moment,
    Wish,
    Word,
    between,
    by_word,
    draw,
    looked,
    noise_of,
    tell,
    words_of,
)
from mmfm.tasks.generate import generate

WISH = Wish(steps=4, guidance=2.0, seed=5)
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}  # of batches that differ in size


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(word_models.make_clip())


@pytest.fixture(scope="module")
def den(reader: Reader) -> Denoiser:
    return word_models.make_denoiser(reader)


def last(moments: Iterator[Moment]) -> torch.Tensor:
    *_, moment = moments
    return moment.x


# --- drawing --------------------------------------------------------------------------------------


def test_each_step_begins_where_the_one_before_ended(den: Denoiser, reader: Reader):
    moments = list(draw(den, reader, ["red heart"], WISH))
    assert len(moments) == 4
    assert torch.equal(moments[0].noisy, noise_of(den, 5)) and moments[0].share == 1
    for before, after in pairwise(moments):
        assert torch.equal(before.x, after.noisy) and before.share > after.share > 0
    assert torch.allclose(moments[-1].x, moments[-1].x0, **CLOSE)


def test_it_draws_what_generate_draws_first_from_the_same_seed(den: Denoiser, reader: Reader):
    *_, step = generate(
        den, "noto", prompt="red heart", reader=reader, steps=4, guidance=2.0, seed=5
    )
    wish = Wish("noto", steps=4, guidance=2.0, seed=5)
    torch.testing.assert_close(last(draw(den, reader, ["red heart"], wish)), step.x, **CLOSE)


def test_texts_share_their_noise_and_keep_to_themselves(den: Denoiser, reader: Reader):
    first, *_, end = draw(den, reader, ["red heart", "cat with sunglasses"], WISH)
    assert torch.equal(first.noisy[0], first.noisy[1])
    for number, text in enumerate(["red heart", "cat with sunglasses"]):
        alone = last(draw(den, reader, [text], WISH))
        torch.testing.assert_close(end.x[number], alone[0], **CLOSE)
    assert (end.x[0] - end.x[1]).abs().mean() > 0.01


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm++", "ddpm"])
def test_the_walk_begins_at_one_text_and_ends_at_the_other(
    sampler: str, den: Denoiser, reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(den.sampling, "sampler", sampler)
    way = last(between(den, reader, "red heart", "cat with sunglasses", WISH))
    assert len(way) == COUNT
    for place, text in ((0, "red heart"), (-1, "cat with sunglasses")):
        torch.testing.assert_close(way[place], last(draw(den, reader, [text], WISH))[0], **CLOSE)
    apart = reduce((way[1:] - way[:-1]).abs(), "b c y x -> b", "mean")
    whole = (way[-1] - way[0]).abs().mean()
    assert apart.min() > 0 and apart.max() < 0.6 * whole, "it goes by small steps"


def test_the_hand_is_told(den: Denoiser, reader: Reader):
    assert tell(den, reader, ["red heart"], "fluent_flat").kinds.tolist() == [1]
    assert tell(den, reader, ["red heart"]).kinds.tolist() == [den.null]
    free, noto = (last(draw(den, reader, ["a"], Wish(h, steps=2))) for h in (None, "noto"))
    assert not torch.allclose(free, noto)


def test_a_model_without_hands_draws_words_all_the_same(reader: Reader):
    plain = word_models.make_denoiser(reader)
    config = {**vars(plain.config), "classes": 0}
    bare = Denoiser(type(plain.config)(**config))
    assert last(draw(bare, reader, ["red heart"], WISH)).shape == (1, 3, 16, 16)
    with pytest.raises(BadInput, match="labels"):
        draw(bare, reader, ["red heart"], Wish("noto"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda den, reader: draw(den, reader, [], WISH), "without a word"),
        (lambda den, reader: draw(den, reader, ["red", "  "], WISH), "without a word"),
        (lambda den, reader: draw(den, reader, ["red"], Wish("pen")), "no label 'pen'"),
        (lambda den, reader: draw(den, reader, ["red"], Wish("0-1")), "name one label"),
        (lambda den, reader: draw(den, reader, ["red"], Wish(steps=0)), "0 steps"),
        (lambda den, reader: draw(den, reader, ["red"], Wish(seed=0.5)), "seed"),  # type: ignore
        (lambda den, reader: between(den, reader, "a", "b", WISH, count=1), "two ends"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_first_step(
    asked: Any, words: str, den: Denoiser, reader: Reader
):
    with pytest.raises(BadInput, match=words):
        asked(den, reader)


def test_whoever_reads_otherwise_is_refused(den: Denoiser):
    with pytest.raises(BadInput, match="reads the words of"):
        draw(den, Reader(word_models.make_clip(seed=9)), ["red heart"], WISH)


# --- looking --------------------------------------------------------------------------------------


def test_the_shares_of_a_place_sum_to_one_and_padding_has_none(den: Denoiser, reader: Reader):
    texts = ["heart", "cat with sunglasses"]
    told = tell(den, reader, texts)
    for moment in draw(den, reader, texts, WISH):
        shares = looked(den, told, moment)
        assert shares.shape == (2, told.seen.shape[1], 16, 16)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 16, 16))
        count = int(told.seen[0].sum())
        assert shares[0, count - 1 :].max() == 0, "nobody looks at the mark of the end"
        assert shares[1].flatten(1).std(dim=1).max() > 0.01, "places differ"


def test_shares_are_the_mean_over_heads_and_over_the_sizes_at_which_it_reads(
    den: Denoiser, reader: Reader
):
    told = tell(den, reader, ["red heart"])
    moment = next(draw(den, reader, ["red heart"], WISH))
    with torch.no_grad():
        parts = den.reading(moment.noisy, torch.tensor([moment.t]), told)
    assert {part.shape[2] for part in parts} == {16, 8}
    expected = torch.zeros(told.seen.shape[1], 16, 16)
    for part in parts:
        times = 16 // part.shape[2]
        large = part[0].mean(dim=0).repeat_interleave(times, 0).repeat_interleave(times, 1)
        expected += large.permute(2, 0, 1) / len(parts)
    torch.testing.assert_close(looked(den, told, moment)[0], expected)
    coarse = looked(den, told, moment, places=4)[0]
    torch.testing.assert_close(coarse, reduce(expected, "m (y a) (x b) -> m y x", "mean", a=4, b=4))


def test_a_text_is_parted_into_its_words(reader: Reader):
    words = words_of(reader, "red 하트")
    assert [word.text for word in words] == ["red", "하트"]
    count = int(reader(["red 하트"]).seen.sum())
    assert [place for word in words for place in word.places] == list(range(count - 1))


def test_words_beyond_what_is_read_are_there_and_have_no_place(reader: Reader):
    words = words_of(reader, " ".join(["heart"] * 20))
    assert len(words) == 20 and words[0].places and not words[-1].places
    assert sum(len(word.places) for word in words) == word_models.CONTEXT - 2


def test_a_word_has_the_shares_of_all_its_tokens(den: Denoiser, reader: Reader):
    text = "zebra heart"
    told = tell(den, reader, [text])
    (shares,) = looked(den, told, next(draw(den, reader, [text], WISH)))
    words = words_of(reader, text)
    zebra = words[0]
    assert zebra.text == "zebra" and len(zebra.places) > 1
    found = by_word(shares, words)
    torch.testing.assert_close(found[0], shares[list(zebra.places)].sum(dim=0))
    torch.testing.assert_close(found.sum(dim=0), torch.ones(16, 16))
    unread = by_word(shares, [*words, Word("far", ())])
    assert unread.shape == (3, 16, 16) and unread[-1].max() == 0


def test_what_is_told_is_what_the_reader_reads(den: Denoiser, reader: Reader):
    told = tell(den, reader, ["red heart", "face"], "noto")
    words, seen = reader(["red heart", "face"])
    assert isinstance(told, Told) and told.kinds.tolist() == [0, 0]
    assert torch.equal(told.words, words) and torch.equal(told.seen, seen)
