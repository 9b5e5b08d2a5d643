"""What a text tower cannot read as it is meant: what is too long for it, or not in its language."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

from mmfm.data.templates import language_of
from mmfm.errors import BadInput
from mmfm.models.clip import TwoTowers
from mmfm.models.tokenizer import Tokenizer

MULTILINGUAL = "hf:google/siglip2-base-patch16-256"  # what is recommended for Korean

_SPELLS = 300  # pieces; CLIP's own vocabulary has 54 of 49,408, one learned from Korean names 1,600
_HANGUL = re.compile("[가-힣]").search
_BROKEN = 1 / 3  # of a text's pieces: from there on the model reads splinters, not words
_LOOKED_AT = 200  # Korean texts that are cut into pieces; they break alike


def not_read(
    model: TwoTowers, names: Sequence[Sequence[str]], said: Sequence[Sequence[str]]
) -> list[str]:
    """Say which labels or searches the model does not read as they are meant, in a line each.

    `names` is what each is called, the first being what it is shown as; `said` the sentences.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise BadInput(f"{model.source}: has no tokenizer, so it cannot read words")
    lines: list[str] = []
    # Of several sentences the longest tells.
    longest = [max(several, key=len) for several in said]
    cut = [
        several[0] for several, text in zip(names, longest, strict=True) if is_cut(tokenizer, text)
    ]
    if cut:
        lines.append(f"{some(cut)}: longer than the model reads, at least in some templates; cut")
    korean = [name for several in names for name in several if language_of(name) == "ko"]
    broken = [n for n in korean[:_LOOKED_AT] if breaks(tokenizer, n)]
    if broken:
        few = ", ".join(broken[:3]) + (" …" if len(broken) > 3 else "")
        lines.append(
            f"{model.source} does not read Korean words such as {few}: they break into splinters "
            "of letters, and answers for them mean nothing; take English words, or a multilingual "
            f"model: --model {MULTILINGUAL}"
        )
    return lines


def some(texts: Sequence[str]) -> str:
    """The first of some texts, in short, and how many more there are."""
    few = ", ".join(repr(text if len(text) <= 40 else f"{text[:40]}…") for text in texts[:3])
    return f"{few} and {len(texts) - 3} more" if len(texts) > 3 else few


def is_cut(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a text is longer than the model reads."""
    # A piece is at least a byte, so that most texts need not be cut up to be known short.
    return len(text.encode()) > tokenizer.frame.room and tokenizer.too_long(text)


def breaks(tokenizer: Tokenizer, text: str) -> bool:
    """Whether many of its pieces are parts of letters, or stand for what is not known."""
    pieces = tokenizer.pieces(text)
    unknown = [p for p in pieces if p in ("<unk>", "[UNK]", "⁇")]
    parts = [p for p in pieces if p.startswith("<0x")]
    if parts and language_of(text) == "ko" and _spells_korean(tokenizer):
        parts = []  # rare letters only: what learned so many others has learned these in parts
    return len(unknown + parts) / max(1, len(pieces)) >= _BROKEN


@lru_cache(4)
def _spells_korean(tokenizer: Tokenizer) -> bool:
    """Whether hundreds of its pieces are whole Korean letters: it was made from Korean texts."""
    pieces = (tokenizer.decode([number]) for number in range(tokenizer.vocabulary))
    return sum(1 for _ in islice(filter(_HANGUL, pieces), _SPELLS)) == _SPELLS
