"""Words for a denoiser: texts as the text tower of a CLIP reads them, token by token.

    reader = reader_for(den)                                 # with the CLIP that it learned with
    words, seen = reader(["red heart", "웃는 얼굴"])
    den(x, t, Told(kinds, words, seen))

A CLIP sums a text up in one vector, and who stands left of whom gets lost in it. A denoiser is
handed the tokens that were summed up, and each place of a picture looks for those it needs.

Shapes: b texts, n numbers of a row, m tokens of the longest text, d numbers a token.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mmfm.errors import BadInput, NotHere
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import CLIP
from mmfm.models.denoiser import Denoiser
from mmfm.models.label_vectors import text_fingerprint
from mmfm.models.reading import breaks, is_cut, some

USUAL = "clip-nano"  # reads for a denoiser that does not say with which CLIP it learned

_AT_ONCE = 256  # texts


class Read(NamedTuple):
    """Some texts, as a text tower has read them."""

    words: Float[Tensor, "b m d"]  # their tokens; behind the end of a text, zeros
    seen: Bool[Tensor, "b m"]  # which of them are there


class Reader:
    """Reads texts with the text tower of a CLIP, which stays as it is."""

    def __init__(self, clip: CLIP) -> None:
        """Keep the text tower and the tokenizer of a CLIP, and nothing else of it."""
        self.fingerprint = text_fingerprint(clip)
        assert clip.text is not None  # or it would have none
        if clip.tokenizer is None:
            raise BadInput(f"{clip.source}: has no tokenizer, so it cannot read words")
        self.tower = clip.text.eval().requires_grad_(False)
        self.tokenizer = clip.tokenizer
        self.source = clip.source
        self.dim = self.tower.config.dim
        # Where no token knows of those behind it, the marks of the begin are alike before every
        # text: they say nothing, and are not read.
        self.skipped = len(self.tokenizer.frame.begin) if self.tower.config.causal else 0
        self.context = self.tokenizer.context - self.skipped

    def __call__(self, texts: Sequence[str]) -> Read:
        """The tokens of each text, its words and the mark of its end, which sums them up."""
        if len(texts) == 0:
            raise BadInput("no texts to read; name one at least")
        starts = range(0, len(texts), _AT_ONCE)
        parts = [self._read(texts[start : start + _AT_ONCE]) for start in starts]
        longest = max(part.seen.shape[1] for part in parts)
        padded = [_lengthened(part, longest) for part in parts]
        return Read(*(torch.cat(both) for both in zip(*padded, strict=True)))

    @torch.no_grad()
    def _read(self, texts: Sequence[str]) -> Read:
        rows = self.tokenizer(texts)  # b n
        seen = self._written(rows)  # b n
        c = self.tower.config
        if c.causal and c.pool in ("argmax", "end"):
            length = _length(seen)  # no token knows of those behind it: they need not be read
            rows, seen = rows[:, :length], seen[:, :length]
        device = self.tower.positions.device
        out, seen = self.tower(rows.to(device)), seen.to(device)
        seen[torch.arange(len(seen), device=device), out.place] = True  # that sums the text up
        read = slice(self.skipped, _length(seen))
        seen = seen[:, read]  # b m
        return Read(out.tokens[:, read] * rearrange(seen, "b m -> b m 1"), seen)

    def _written(self, rows: Int64[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
        """Which numbers of the rows are no padding: what was written, and the marks around it."""
        frame = self.tokenizer.frame
        around = len(frame.begin) + len(frame.end)
        counts = torch.tensor([around + len(frame.inside(row)) for row in rows.tolist()])
        places = torch.arange(rows.shape[1])
        behind = places >= rows.shape[1] - len(frame.last)
        return (places < rearrange(counts, "b -> b 1")) | behind

    def pieces(self, text: str) -> list[tuple[str, list[int]]]:
        """The words of a text, and where the tokens of each stand in what is read of it.

        A word has none where the text was cut before it, or of which nothing is read.
        """
        frame, words = self.tokenizer.frame, text.split()
        found: list[tuple[str, list[int]]] = []
        first = len(frame.begin) - self.skipped
        done = 0  # pieces of the words before
        for number, word in enumerate(words, start=1):
            until = done
            if done < frame.room:  # no piece reaches from one word into the next
                until = len(self.tokenizer.pieces(" ".join(words[:number])))
                until = min(until, frame.room)
            found.append((word, [first + place for place in range(done, until)]))
            done = max(done, until)
        return found

    def notes(self, texts: Sequence[str]) -> list[str]:
        """What of some texts is not read as it is meant, in a line each."""
        lines: list[str] = []
        if cut := [text for text in texts if is_cut(self.tokenizer, text)]:
            room = self.tokenizer.frame.room
            lines.append(f"{some(cut)}: longer than the {room} pieces that are read; cut")
        if broken := [text for text in texts if breaks(self.tokenizer, text)]:
            lines.append(
                f"{self.source} does not know the words of {some(broken)}: they break into "
                "splinters of letters, and what is drawn of them means nothing; say it in a "
                "language that it has learned"
            )
        return lines


def _length(seen: Bool[Tensor, "b n"]) -> int:
    """How far the longest text reaches."""
    return int(seen.any(dim=0).nonzero().max()) + 1


def _lengthened(read: Read, length: int) -> Read:
    more = length - read.seen.shape[1]
    words = F.pad(read.words, (0, 0, 0, more))
    return Read(words, F.pad(read.seen, (0, more), value=False))


# --- who reads for whom ---------------------------------------------------------------------------


def reader_for(den: Denoiser, clip: str = "", device: str = "cpu") -> Reader:
    """Who reads for a denoiser: the CLIP that it learned with, or `clip`, if that is the same."""
    if not den.config.text_dim:
        raise BadInput(f"{_called(den)} reads no words, so that no CLIP can read for it")
    name = clip or den.reads or USUAL
    try:
        model = load_clip(name, towers="text", device=device)
    except NotHere as error:
        raise NotHere(
            f"{_called(den)} learned to read with {_own(den)} (--clip M, if it has moved): {error}"
        ) from error
    if not isinstance(model, CLIP):
        raise BadInput(f"{model.source}: its text tower is run by open_clip, which shows no tokens")
    reader = Reader(model)
    check_reader(den, reader)
    return reader


def check_reader(den: Denoiser, reader: Reader) -> None:
    """Refuse who does not read as the denoiser has learned it."""
    c = den.config
    if c.text_model and reader.fingerprint != c.text_model:
        raise BadInput(
            f"{_called(den)} reads the words of {_own(den)} {c.text_model[:8]}, and "
            f"{reader.source} is {reader.fingerprint[:8]}: take both from one release, or name "
            "the CLIP that it learned with"
        )
    if reader.dim != c.text_dim or reader.context > c.text_context:
        raise BadInput(
            f"{_called(den)} reads up to {c.text_context} tokens of {c.text_dim} numbers, and "
            f"{reader.source} makes up to {reader.context} of {reader.dim}: name the CLIP that it "
            "learned with"
        )


def _own(den: Denoiser) -> str:
    return den.reads or USUAL


def _called(den: Denoiser) -> str:
    return den.name or "this model"
