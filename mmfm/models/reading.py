"""What a text tower cannot read as it is meant: what is too long for it, or not in its language."""

from collections.abc import Sequence

from mmfm.data.templates import language_of
from mmfm.errors import BadInput
from mmfm.models.clip import TwoTowers

MULTILINGUAL = "hf:google/siglip2-base-patch16-256"  # what is recommended for Korean

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
    # A piece is at least a byte, so that most texts need not be cut up to be known short; and of
    # several sentences the longest tells.
    longest = [max(several, key=len) for several in said]
    cut = [
        several[0]
        for several, text in zip(names, longest, strict=True)
        if len(text.encode()) > tokenizer.frame.room and tokenizer.too_long(text)
    ]
    if cut:
        few = ", ".join(repr(name if len(name) <= 40 else f"{name[:40]}…") for name in cut[:3])
        more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
        lines.append(f"{few}{more}: longer than the model reads, at least in some templates; cut")
    korean = [name for several in names for name in several if language_of(name) == "ko"]
    broken = [n for n in korean[:_LOOKED_AT] if _splinters(tokenizer.pieces(n)) >= _BROKEN]
    if broken:
        few = ", ".join(broken[:3]) + (" …" if len(broken) > 3 else "")
        lines.append(
            f"{model.source} does not read Korean words such as {few}: they break into splinters "
            "of letters, and answers for them mean nothing; take English words, or a multilingual "
            f"model: --model {MULTILINGUAL}"
        )
    return lines


def _splinters(pieces: Sequence[str]) -> float:
    """The share of a text's pieces that are parts of letters, or stand for what is not known."""
    strange = [p for p in pieces if p.startswith("<0x") or p in ("<unk>", "[UNK]", "⁇")]
    return len(strange) / max(1, len(pieces))
