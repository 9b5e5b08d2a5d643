"""Who reads for a denoiser: each text as its tower reads it alone, and no other in its place."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import word_models

from mmfm.errors import BadInput, NotHere
from mmfm.models.checkpoints import load_clip, load_denoiser, save_clip
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.label_vectors import text_fingerprint
from mmfm.models.tokenizer import ClipBPE, Frame
from mmfm.models.vit import ViTConfig
from mmfm.models.words import Reader, check_reader, reader_for

TEXTS = ["red heart", "선글라스 낀 고양이", "cat with sunglasses and a green apple", "a"]


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return word_models.make_clip()


@pytest.fixture(scope="module")
def reader(clip: CLIP) -> Reader:
    return Reader(clip)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A denoiser, and beside it the CLIP whose words it reads."""
    return word_models.save_both(tmp_path_factory.mktemp("both"))


def other_clip(pool: Any = "end", causal: bool = True, frame: Frame | None = None) -> CLIP:
    """A tower of another kind, whose tokenizer frames texts in another way."""
    tokenizer = ClipBPE([("a", "b</w>"), ("c", "d</w>")], 12, "lower")
    if frame is not None:
        tokenizer.frame = frame
    end = tokenizer.frame.end[0] if pool == "end" else None
    text = TextConfig(tokenizer.vocabulary, 12, 16, 2, 2, 24, causal=causal, pool=pool, end=end)
    image = ViTConfig((16, 16), 8, dim=16, depth=1, heads=2, mlp_dim=24)
    clip = CLIP(CLIPConfig(image, text, dim=12), tokenizer=tokenizer)
    clip.reset(torch.Generator().manual_seed(1))
    return clip.eval()


# --- what is read ---------------------------------------------------------------------------------


def test_texts_are_read_behind_their_begin_to_their_end_and_cut_behind_the_longest(
    clip: CLIP, reader: Reader
):
    words, seen = reader(TEXTS)
    assert clip.text is not None and clip.tokenizer is not None
    lengths = [len(clip.tokenizer.pieces(text)) + 1 for text in TEXTS]
    assert seen.dtype == torch.bool and seen.sum(dim=1).tolist() == lengths
    assert words.shape == (len(TEXTS), max(lengths), reader.dim)
    whole = clip.text(clip.tokenizer(TEXTS))  # the rows as they are, padding and all
    for row, length in enumerate(lengths):
        torch.testing.assert_close(words[row, :length], whole.tokens[row, 1 : 1 + length])
        torch.testing.assert_close(words[row, length - 1], whole.pooled[row])
        assert seen[row, :length].all() and (words[row, length:] == 0).all()


@pytest.mark.parametrize(
    ("pool", "causal", "frame"),
    [
        ("argmax", True, None),
        ("argmax", True, Frame(12, (514,), (515,), pad=515)),  # padded with the mark of the end
        ("end", False, None),
        ("first", False, None),
        ("last", False, Frame(12, (), (515,))),  # SigLIP: the last token sums up, padding or not
        ("last", True, Frame(12, (514,), (515,), last=(513,))),  # CLIPS: behind the padding
        ("end", True, Frame(12, (514,), (515,), last=(513, 512))),
    ],
    ids=str,
)
def test_every_token_is_what_the_tower_makes_of_it(pool: Any, causal: bool, frame: Frame | None):
    clip = other_clip(pool, causal, frame)
    texts = ["ab cd", "ab ab ab ab", "cd"]
    words, seen = Reader(clip)(texts)
    assert clip.text is not None and clip.tokenizer is not None
    frame, whole = clip.tokenizer.frame, clip.text(clip.tokenizer(texts))
    first = len(frame.begin) if causal else 0  # what is alike before every text is not read
    for row, (text, place) in enumerate(zip(texts, whole.place.tolist(), strict=True)):
        written = len(frame.begin) + len(clip.tokenizer.pieces(text)) + len(frame.end)
        wanted = {*range(first, written), place, *range(12 - len(frame.last), 12)}
        assert {first + token for token in seen[row].nonzero().flatten().tolist()} == wanted
        for token in wanted:
            torch.testing.assert_close(words[row, token - first], whole.tokens[row, token])
    assert (words[~seen] == 0).all()


def test_a_text_is_read_the_same_in_any_company(reader: Reader):
    many = [f"{text} {number}" for number in range(100) for text in TEXTS]  # several readings
    words, seen = reader(many)
    assert len(words) == len(seen) == 400
    for row in (0, 2, 255, 256, 399):
        alone = reader([many[row]])
        length = alone.seen.shape[1]
        assert alone.seen.all() and seen[row].sum() == length
        torch.testing.assert_close(words[row, :length], alone.words[0])
        assert (words[row, length:] == 0).all()


def test_a_text_that_is_too_long_is_cut_and_keeps_its_end(reader: Reader):
    words, seen = reader(["red heart " * 20])
    assert words.shape == (1, reader.context, reader.dim) and seen.all()
    assert reader.notes(["red heart"]) == []
    (line,) = reader.notes(["red heart", "red heart " * 20])
    assert "longer than the 12 pieces that are read; cut" in line and "\n" not in line


def test_a_reader_learns_nothing_and_keeps_no_more_than_it_needs():
    clip = word_models.make_clip()
    reader = Reader(clip.train())
    assert not reader(TEXTS).words.requires_grad and not reader.tower.training
    assert not any(weight.requires_grad for weight in reader.tower.parameters())
    assert clip.image is not None and all(
        weight.requires_grad for weight in clip.image.parameters()
    )
    assert not any(value is clip for value in vars(reader).values())


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "no texts to read"),
        ("red heart", "one text where a list of texts is expected"),
        ([3], "a text must be a string, not int"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts: Any, says: str, reader: Reader):
    with pytest.raises(BadInput, match=says):
        reader(texts)


# --- its words, for a page ------------------------------------------------------------------------


def test_each_word_knows_the_places_of_its_tokens(clip: CLIP, reader: Reader):
    assert clip.tokenizer is not None
    for text in (
        "red heart",
        "  Red   HEART! ",
        "선글라스 낀 고양이",
        "zeb 3 or",
        "&amp; 하트",
    ):
        found = reader.pieces(text)
        assert [word for word, _ in found] == text.split()
        places = [place for _, places in found for place in places]
        assert places == list(range(len(clip.tokenizer.pieces(text))))
        shown = clip.tokenizer.pieces(text)
        for word, places in found:
            own = [shown[place] for place in places]
            assert own == clip.tokenizer.pieces(word)


def test_words_that_are_not_read_have_no_places(reader: Reader):
    found = reader.pieces("heart " * 5 + "zzzzz zz " + "heart " * 4)
    assert len(found) == 11
    assert [len(places) for _, places in found] == [1] * 5 + [6, 1] + [0] * 4
    assert max(place for _, places in found for place in places) == reader.context - 2, "the end"
    assert reader.pieces("  ") == []


def test_what_the_tower_does_not_know_is_said_in_a_line(reader: Reader):
    assert reader.notes(["빨간 하트", "red heart", "웃는 얼굴", "고양이"]) == []
    (line,) = reader.notes(["сердце", "red heart", "❤️", "קשת", "เมฆ"])
    assert "does not know the words of 'сердце', '❤️', 'קשת' and 1 more: they break" in line


# --- who reads for whom ---------------------------------------------------------------------------


def test_a_denoiser_says_who_reads_for_it(both: Path, clip: CLIP):
    den = load_denoiser(str(both))
    assert den.reads == str(both.parent / "clip")
    found = reader_for(den)
    assert found.fingerprint == den.config.text_model == text_fingerprint(clip)
    torch.testing.assert_close(found(TEXTS).words, Reader(clip)(TEXTS).words)
    # The same under another name will do.
    elsewhere = load_denoiser(str(both))
    elsewhere.reads = "/nowhere/any/more"
    assert reader_for(elsewhere, den.reads).fingerprint == found.fingerprint
    with pytest.raises(
        NotHere, match=r"/nowhere/any/more \(--clip M, if it has moved\): no"
    ) as caught:
        reader_for(elsewhere)
    assert "\n" not in str(caught.value)


def test_nobody_reads_in_place_of_the_one_that_it_learned_with(both: Path, tmp_path: Path):
    den = load_denoiser(str(both))
    den.name = "emoji"
    save_clip(word_models.make_clip(seed=9), tmp_path / "other")
    own, other = den.config.text_model, text_fingerprint(word_models.make_clip(seed=9))
    for refused in (
        lambda: reader_for(den, str(tmp_path / "other")),
        lambda: check_reader(den, Reader(word_models.make_clip(seed=9))),
    ):
        with pytest.raises(BadInput, match=f"^emoji reads the words of .*clip {own[:8]}") as caught:
            refused()
        assert f"is {other[:8]}: take both from one release" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="this is a 'denoiser', not a 'clip'"):
        reader_for(den, str(both))
    with pytest.raises(BadInput, match=r"^mnist-nano reads no words, so that no CLIP can"):
        reader_for(load_denoiser("mnist-nano"))


def test_of_any_tower_tokens_of_another_width_are_refused(reader: Reader):
    den = word_models.make_denoiser(reader)
    den.config = replace(den.config, text_model="")
    check_reader(den, reader)
    short = word_models.make_denoiser(reader)
    short.config = replace(den.config, text_context=12)
    with pytest.raises(BadInput, match=r"up to 12 tokens of 24 numbers, and .* up to 13 of 24"):
        check_reader(short, reader)
    with pytest.raises(BadInput, match=r"up to 13 tokens of 24 numbers, and .* up to 11 of 16"):
        check_reader(den, Reader(other_clip()))


def test_a_clip_that_cannot_read_is_refused(clip: CLIP, tmp_path: Path):
    save_clip(clip, tmp_path)
    with pytest.raises(BadInput, match="was loaded without its text tower"):
        Reader(loaded(tmp_path, "image"))
    with pytest.raises(BadInput, match="has no tokenizer, so it cannot read words"):
        Reader(CLIP(clip.config))


def loaded(folder: Path, towers: Any, dtype: torch.dtype = torch.float32) -> CLIP:
    clip = load_clip(str(folder), towers=towers, dtype=dtype)
    assert isinstance(clip, CLIP)
    return clip


# --- its fingerprint ------------------------------------------------------------------------------


def test_a_text_tower_is_known_alone_and_saved_in_half_precision(clip: CLIP, tmp_path: Path):
    mark = text_fingerprint(clip)
    for dtype in (torch.float32, torch.float16):
        save_clip(clip, tmp_path / f"{dtype}", dtype=dtype)
        assert text_fingerprint(loaded(tmp_path / f"{dtype}", "both")) == mark
        assert text_fingerprint(loaded(tmp_path / f"{dtype}", "text")) == mark
    moved = word_models.make_clip()
    with torch.no_grad():
        moved.image.embed.weight.add_(1)  # type: ignore[union-attr]
    assert text_fingerprint(moved) == mark


def test_other_weights_heads_or_tokenizers_are_another_reader(clip: CLIP):
    marks = {text_fingerprint(clip), text_fingerprint(word_models.make_clip(seed=2))}
    changed = word_models.make_clip()
    with torch.no_grad():
        changed.text.blocks[0].mlp.up.weight.mul_(1.01)  # type: ignore[union-attr]
    marks.add(text_fingerprint(changed))
    heads = word_models.make_clip()
    heads.text.config = replace(heads.text.config, heads=4)  # type: ignore[union-attr]
    marks.add(text_fingerprint(heads))
    cleaned = word_models.make_clip()
    cleaned.tokenizer.clean = "none"  # type: ignore[union-attr]
    marks.add(text_fingerprint(cleaned))
    assert len(marks) == 5
