"""Text into the numbers that a text tower reads, the checkpoint's own way.

    clip_bpe   CLIP's byte-pair encoder, over the vocabulary file that open_clip installs
    learn      a small vocabulary of our own, from captions

Each cleans the text, cuts it into pieces, gives every piece its number, and frames the numbers to
one length: begin, text, end, padding. A text that is too long is cut; its end stays.
How the tokenizer of a checkpoint is found in its files is said in `tokenizer_files`.
"""

import functools
import gzip
import heapq
import html
import importlib.util
import json
import re
import string
import unicodedata
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Int64
from torch import Tensor

from mmfm.errors import BadInput, BadWeights, NotHere
from mmfm.files import write_whole

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer as Library

# What `save` writes beside the vocabulary.
SETTINGS = "tokenizer_settings.json"


@dataclass(frozen=True)
class Frame:
    """What stands around the numbers of a text, and how many there are in all."""

    context: int  # numbers in a row
    begin: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    pad: int = 0
    last: tuple[int, ...] = ()  # behind the padding (the class token of CLIPS)
    blank: int | None = None  # a number that the publisher replaces by 0 (the [SEP] of CLIPA)

    def __post_init__(self) -> None:
        if self.room < 1:
            raise BadInput(f"a context of {self.context} leaves no room for a text")

    @property
    def room(self) -> int:
        """How many numbers of the text fit."""
        return self.context - len(self.begin) - len(self.end) - len(self.last)

    def around(self, ids: Sequence[int]) -> list[int]:
        """The whole row: the text is cut to the room there is, or padded."""
        padding = [self.pad] * (self.room - len(ids))
        row = [*self.begin, *ids[: self.room], *self.end, *padding, *self.last]
        return [0 if number == self.blank else number for number in row]

    def inside(self, row: Sequence[int]) -> list[int]:
        """The numbers of the text alone, out of a whole row or of a part of one."""
        row = row[: -len(self.last)] if self.last and len(row) == self.context else row
        row = row[len(self.begin) :] if tuple(row[: len(self.begin)]) == self.begin else row
        if self.end and self.end[0] in row:
            return list(row[: row.index(self.end[0])])
        padding = {self.pad, 0} if self.blank is not None else {self.pad}
        length = len(row)
        while length and row[length - 1] in padding:
            length -= 1
        return list(row[:length])


class Tokenizer(ABC):
    """Turns texts into rows of numbers below `vocabulary`, each `context` long."""

    KIND: str  # what a saved one is called in its settings

    def __init__(self, frame: Frame, vocabulary: int, clean: str) -> None:
        if clean not in CLEAN:
            raise BadInput(f"no way to clean a text called {clean!r}; there are {', '.join(CLEAN)}")
        self.frame = frame
        self.vocabulary = vocabulary
        self.clean = clean

    @property
    def context(self) -> int:
        """How many numbers stand in a row."""
        return self.frame.context

    def __call__(self, texts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Rows of numbers, one a text, cut and padded exactly as the publisher does."""
        _demand_several(texts)
        rows = [self.frame.around(self._ids_of(text)) for text in texts]
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), self.context)

    def pieces(self, text: str) -> list[str]:
        """The pieces that a text is cut into; part of a letter is shown as its bytes, <0xEA>."""
        return [self._piece(number) or "␣" for number in self._ids_of(text)]

    def too_long(self, text: str) -> bool:
        """Whether a text is cut, so that the model never sees its end."""
        return len(self._ids_of(text)) > self.frame.room

    def decode(self, ids: Iterable[int] | Int64[Tensor, "n"]) -> str:
        """The text of a row of numbers, as the cleaning left it."""
        row = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        strange = [number for number in row if not 0 <= number < self.vocabulary]
        if strange:
            raise BadInput(f"no piece has the number {strange[0]}; there are {self.vocabulary}")
        return self._text(self.frame.inside(row)).strip()

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder of ours, from which `tokenizer_files.ours` takes it."""
        settings = {"kind": type(self).KIND, "clean": self.clean, "frame": asdict(self.frame)}
        self._save_vocabulary(folder)
        write_whole(folder / SETTINGS, json.dumps(settings | self._settings(), indent=2) + "\n")

    def __deepcopy__(self, memo: object) -> Self:
        return self  # it never changes, and a vocabulary is large

    def _ids_of(self, text: str) -> list[int]:
        return self._ids(_cleaned(text, self.clean))

    def _settings(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def _ids(self, text: str) -> list[int]:
        """The numbers of a cleaned text, all of them, unframed."""

    @abstractmethod
    def _piece(self, number: int) -> str: ...

    @abstractmethod
    def _text(self, ids: Sequence[int]) -> str: ...

    @abstractmethod
    def _save_vocabulary(self, folder: Path) -> None: ...


# --- cleaning -----------------------------------------------------------------------------------


def _mended(text: str) -> str:
    """Undo wrong encodings and HTML entities, as open_clip does before everything else."""
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _canonical(text: str) -> str:
    return _one_line(_mended(text).replace("_", " ").translate(_NO_PUNCTUATION).lower())


def _siglip(text: str) -> str:
    return re.sub(r"\s+", " ", text.lower().translate(_NO_PUNCTUATION)).strip()


# The first three are open_clip's, under its own names.
CLEAN: Mapping[str, Callable[[str], str]] = {
    "lower": lambda text: _one_line(_mended(text)).lower(),
    "whitespace": lambda text: _one_line(_mended(text)),
    "canonicalize": _canonical,
    "siglip": _siglip,  # that of transformers' tokenizer of this name
    "nfc": lambda text: _one_line(unicodedata.normalize("NFC", text.lower())),  # ours
    "none": lambda text: text,
}


def _cleaned(text: object, way: str) -> str:
    if not isinstance(text, str):
        raise BadInput(f"a text must be a string, not {type(text).__name__}: {text!r:.60}")
    return _sound(CLEAN[way](text))


def _demand_several(texts: object) -> None:
    if isinstance(texts, str):
        raise BadInput(f"one text where a list of texts is expected: write [text], {texts!r:.60}")


def _sound(text: str) -> str:
    """Join halves of letters that belong together; a half alone can't be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# --- bytes as letters ---------------------------------------------------------------------------


@functools.cache
def _letters() -> tuple[str, ...]:
    """A letter that can be seen for each of the 256 bytes, so that pieces can be written down.

    A byte that is such a letter in Latin-1 is itself; the others follow from U+0100 on.
    """
    seen = [byte for byte in range(256) if 33 <= byte <= 126 or (byte > 160 and byte != 173)]
    hidden = [byte for byte in range(256) if byte not in seen]
    letter = {byte: chr(byte) for byte in seen}
    letter |= {byte: chr(256 + i) for i, byte in enumerate(hidden)}
    return tuple(letter[byte] for byte in range(256))


@functools.cache
def _bytes() -> dict[str, int]:
    return {letter: byte for byte, letter in enumerate(_letters())}


def _shown(data: bytes) -> str:
    """Bytes as a person reads them; those that are no whole letters by their number."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in data)


# --- CLIP's byte-pair encoder -------------------------------------------------------------------


class ClipBPE(Tokenizer):
    """CLIP's own: words of bytes, in which the pair that was learnt first is joined first.

    Numbers: 256 bytes, the same bytes as the end of a word, one for each pair, begin and end.
    """

    KIND = "clip_bpe"
    _END_OF_WORD = "</w>"
    _WORD = (
        "<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d"
        r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    )

    def __init__(self, pairs: Sequence[tuple[str, str]], context: int, clean: str) -> None:
        import regex

        letters = sorted(_letters())
        pieces = [*letters, *(letter + self._END_OF_WORD for letter in letters)]
        pieces += [first + second for first, second in pairs]
        begin, end = len(pieces), len(pieces) + 1
        super().__init__(Frame(context, (begin,), (end,)), end + 1, clean)
        self._pieces = (*pieces, "<start_of_text>", "<end_of_text>")
        self._number = {piece: number for number, piece in enumerate(self._pieces)}
        self._rank = {pair: rank for rank, pair in enumerate(pairs)}
        self._words = regex.compile(self._WORD, regex.IGNORECASE)
        # Who writes a special token in a text gets it: so did the publisher.
        self._known = {self._pieces[number]: [number] for number in (begin, end)}

    def _ids(self, text: str) -> list[int]:
        return [number for word in self._words.findall(text) for number in self._of_word(word)]

    def _of_word(self, word: str) -> list[int]:
        known = self._known.get(word)
        if known is not None:
            return known
        letters = [_letters()[byte] for byte in word.encode()]
        letters[-1] += self._END_OF_WORD
        ids = [self._number[piece] for piece in _join(letters, self._rank)]
        if len(word) < 64 and len(self._known) < 200_000:  # a table of words, not of all junk
            self._known[word] = ids
        return ids

    def _data(self, number: int) -> bytes:
        """The bytes of a piece; a space where it ends a word."""
        piece = self._pieces[number]
        if number in (*self.frame.begin, *self.frame.end):
            return piece.encode() + b" "
        ends = piece.endswith(self._END_OF_WORD)
        letters = piece.removesuffix(self._END_OF_WORD)
        return bytes(_bytes()[letter] for letter in letters) + b" " * ends

    def _piece(self, number: int) -> str:
        return _shown(self._data(number).rstrip(b" "))

    def _text(self, ids: Sequence[int]) -> str:
        return b"".join(map(self._data, ids)).decode(errors="replace")

    def _save_vocabulary(self, folder: Path) -> None:
        lines = [" ".join(pair) for pair in self._rank]
        write_whole(folder / "merges.txt", "\n".join(lines) + "\n")


def _join(pieces: list[str], rank: Mapping[tuple[str, str], int]) -> list[str]:
    """Join neighbours, the pair of lowest rank first, everywhere from left to right.

    A chain of neighbours and a queue of ranks: a word of a hundred thousand letters takes a second.
    """
    before, after = list(range(-1, len(pieces) - 1)), list(range(1, len(pieces) + 1))
    places: dict[int, list[int]] = defaultdict(list)
    waiting: list[int] = []

    def offer(place: int) -> None:
        if place >= 0 and after[place] < len(pieces):
            found = rank.get((pieces[place], pieces[after[place]]))
            if found is not None:
                if found not in places:
                    heapq.heappush(waiting, found)
                places[found].append(place)

    for place in range(len(pieces)):
        offer(place)
    while waiting:
        lowest = heapq.heappop(waiting)
        joined: list[int] = []
        for place in sorted(set(places.pop(lowest))):
            neighbour = after[place]
            if neighbour < len(pieces) and rank.get((pieces[place], pieces[neighbour])) == lowest:
                pieces[place] += pieces[neighbour]
                pieces[neighbour] = ""  # gone: no pair has an empty half
                after[place] = after[neighbour]
                if after[neighbour] < len(pieces):
                    before[after[neighbour]] = place
                joined.append(place)
        for place in joined:
            offer(before[place])
            offer(place)
    return [piece for piece in pieces if piece]


def clip_bpe(context: int = 77, *, clean: str = "lower") -> Tokenizer:
    """CLIP's tokenizer of 49,408 pieces, over the vocabulary file that open_clip installs."""
    return ClipBPE(_clip_pairs(), context, clean)


@functools.cache
def _clip_pairs() -> tuple[tuple[str, str], ...]:
    # Found without importing the package, which would take seconds.
    found = importlib.util.find_spec("open_clip")
    root = Path(found.origin).parent if found is not None and found.origin else None
    path = root / "bpe_simple_vocab_16e6.txt.gz" if root else None
    if path is None or not path.is_file():
        raise NotHere(
            "CLIP's vocabulary file comes with open_clip, which is not whole here; "
            "run: pip install --force-reinstall open_clip_torch"
        )
    try:
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    except (OSError, EOFError, ValueError) as error:
        raise BadWeights(f"{path}: not the whole vocabulary file; reinstall open_clip") from error
    # A title, then more pairs than CLIP took: with 512 bytes and two marks it has 49,408 pieces.
    return parse_pairs(lines[1 : 49_408 - 512 - 2 + 1], path)


def parse_pairs(lines: Iterable[str], path: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of pieces, one a line, in the order in which they were learnt."""
    pairs = [tuple(line.split()) for line in lines]
    if any(len(pair) != 2 for pair in pairs):
        raise BadWeights(f"{path}: a line of it is not a pair of pieces")
    return tuple((pair[0], pair[1]) for pair in pairs)


# --- tokenizers that a library runs -------------------------------------------------------------


class HuggingFace(Tokenizer):
    """A `tokenizer.json`, run by the library that such files are written for."""

    KIND = "tokenizer.json"

    def __init__(self, library: "Library", frame: Frame, clean: str, literal: bool) -> None:
        super().__init__(frame, library.get_vocab_size(), clean)
        library.no_truncation()
        library.no_padding()
        library.encode_special_tokens = literal  # in a text, "<end>" is five letters and no end
        self._library = library
        self._literal = literal
        self._in_bytes = type(library.decoder).__name__ == "ByteLevel"
        self._end_of_word: str = getattr(library.model, "end_of_word_suffix", None) or ""
        self._inside_word: str = getattr(library.model, "continuing_subword_prefix", None) or ""

    def __reduce__(self) -> tuple[Any, ...]:
        # The library forgets `encode_special_tokens` on the way to another process.
        return type(self), (self._library, self.frame, self.clean, self._literal)

    def _ids(self, text: str) -> list[int]:
        # One by one: the library answers several with a thread for each core.
        return self._library.encode(text, add_special_tokens=False).ids

    def _piece(self, number: int) -> str:
        piece = self._library.id_to_token(number) or ""
        piece = piece.removesuffix(self._end_of_word).removeprefix(self._inside_word)
        if self._in_bytes and all(letter in _bytes() for letter in piece):
            return _shown(bytes(_bytes()[letter] for letter in piece)).strip(" ")
        return piece.replace("▁", " ").strip()

    def _text(self, ids: Sequence[int]) -> str:
        text = self._library.decode(ids)
        return text.replace(self._end_of_word, " ") if self._end_of_word else text

    def _settings(self) -> dict[str, Any]:
        return {"literal": self._literal}

    def _save_vocabulary(self, folder: Path) -> None:
        write_whole(folder / "tokenizer.json", self._library.to_str() + "\n")


class Siglip(Tokenizer):
    """SigLIP's `spiece.model` as transformers reads it: lower case, without punctuation.

    A special token that is written in a text is one there, and ends what is cleaned together.
    """

    KIND = "siglip"
    _UNKNOWN, _END = "<unk>", "</s>"

    def __init__(self, model: "SentencePieceProcessor", frame: Frame) -> None:
        super().__init__(frame, model.get_piece_size(), "none")
        self._model = model
        self._marks = re.compile(rf"\s*({self._UNKNOWN}|{self._END})\s*")
        self._ahead = len(model.encode(self._UNKNOWN))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for i, part in enumerate(self._marks.split("▁" + text.replace("▁", " "))):
            if i % 2:
                ids.append(self._model.piece_to_id(part))
            else:
                # Letters ahead keep the library from adding or taking a space at the start.
                ids += self._model.encode(self._UNKNOWN + _siglip(part))[self._ahead :]
        return ids

    def _piece(self, number: int) -> str:
        return self._model.id_to_piece(number).removeprefix("▁")

    def _text(self, ids: Sequence[int]) -> str:
        return self._model.decode(list(ids))

    def _save_vocabulary(self, folder: Path) -> None:
        write_whole(folder / "spiece.model", self._model.serialized_model_proto())


# --- our own ------------------------------------------------------------------------------------


def learn(texts: Iterable[str], *, vocabulary: int = 1024, context: int = 32) -> Tokenizer:
    """Learn a small vocabulary from captions: bytes, then the pairs that are most frequent.

    Every text can be written with it, in any language, because every byte is a piece.
    """
    from tokenizers import Tokenizer as Library
    from tokenizers.decoders import ByteLevel as FromBytes
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    _demand_several(texts)
    marks = ["<pad>", "<begin>", "<end>"]
    if vocabulary < 256 + len(marks):
        raise BadInput(
            f"a vocabulary of {vocabulary}; bytes and marks alone are {256 + len(marks)}"
        )
    library = Library(BPE())
    library.pre_tokenizer = ByteLevel(add_prefix_space=True)
    library.decoder = FromBytes()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        show_progress=False,
        special_tokens=marks,
        initial_alphabet=list(_letters()),
    )
    frame = Frame(context, (1,), (2,), pad=0)
    library.train_from_iterator((_cleaned(text, "nfc") for text in texts), trainer)
    return HuggingFace(library, frame, "nfc", literal=True)
