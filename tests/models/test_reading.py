"""A model is said not to read Korean where it doesn't, and only there."""

import pytest

from mmfm.models.reading import breaks
from mmfm.models.tokenizer import Tokenizer, clip_bpe, learn

SYLLABLES = [chr(ord("가") + 11 * number) for number in range(400)]
RARE = "뷁쵧"  # neither is among them


@pytest.fixture(scope="module")
def korean() -> Tokenizer:
    """Made from Korean texts: it knows most of their letters, and no other script but the Latin."""
    return learn([f"{one} a" for one in SYLLABLES] * 3, vocabulary=2048, context=16)


def test_rare_letters_are_read_where_korean_was_learned(korean: Tokenizer) -> None:
    assert not set(RARE) & set(SYLLABLES)
    assert all(piece.startswith("<0x") for piece in korean.pieces(RARE))
    assert not breaks(korean, RARE) and not breaks(korean, SYLLABLES[7])


def test_another_script_is_not(korean: Tokenizer) -> None:
    assert breaks(korean, "ねこ") and breaks(korean, "кошка")


def test_whoever_learned_a_few_korean_words_reads_no_others() -> None:
    few = learn(["빨간 하트", "파란 별"] * 9, vocabulary=320, context=16)
    assert breaks(few, "강아지") and not breaks(few, "빨간 별")
    assert breaks(clip_bpe(), "강아지") and not breaks(clip_bpe(), "puppy")
