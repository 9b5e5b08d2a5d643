"""Our tokenizers give the numbers that open_clip's and transformers' give, from the same folders.

Each folder is written by the publisher's own library, as the checkpoint's is; where the real
vocabulary is not on the machine, a small one is learnt here. Compared are whole rows, with their
beginning, end, cut and padding, for a hundred awkward texts.
"""

import copy
import importlib.util
import json
import pickle
import random
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import open_clip
import pytest
import sentencepiece
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers, trainers

from mmfm.errors import BadInput, BadWeights, MmfmError, NotHere
from mmfm.models import tokenizer_files
from mmfm.models.tokenizer import Tokenizer, _clip_pairs, clip_bpe, learn

AWKWARD = [
    "",
    " ",
    " \t\n\r ",
    "a photo of a cat.",
    "A Photo Of A CAT!",
    "a photo of a cat",
    "don't can't we'll they've i'm he'd it's you're",
    "DON'T CAN'T WE'LL",
    "don’t “quote” ‘it’ — really…",
    "it'ſ odd",
    "'s",
    "''''",
    "강아지",
    "강아지 사진",
    "\u1100\u1161\u11bc\u110b\u1161\u110c\u1175",  # the same, decomposed
    "강아지 사진 a dog's picture 123",
    "ㅋㅋㅋㅋ ㅠㅠ",
    "🐶",
    "🐶🐱 🐶",
    "👨‍👩‍👧‍👦",
    "👩🏽‍🚀 in space",
    "🇰🇷 🇬🇧",
    "❤️ ❤",
    "1️⃣2️⃣",
    "&amp;",
    "&amp;amp;",
    "&lt;b&gt;bold&lt;/b&gt;",
    "cats &amp; dogs &#39;n&#39; birds",
    "&amp;lt;p&amp;gt;",
    "<i>cats</i> &amp;lt; dogs",  # with a tag in it, ftfy leaves entities alone
    "&nbsp;&nbsp;x&nbsp;",
    "&notanentity; & ; &#x1F600; &#128054;",
    "&#0; &#xD800; &#1114112;",
    "schÃ¶n",
    "â€œquotedâ€\x9d",
    "âœ” No problems",
    "l’humanitÃ©",
    "café cafe\u0301",
    "Ångström Å Å",
    "ﬁne ﬂuﬀ",
    "ＦＵＬＬ ｗｉｄｔｈ　１２３",
    "①②③ ½ ¼ x² H₂O",
    "İstanbul ISTANBUL ıi",
    "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ",
    "straße STRASSE ẞ",
    "Привет, мир",
    "مرحبا بالعالم",
    "ﷺ",
    "שָׁלוֹם",
    "你好，世界",
    "日本語のテキスト、カタカナ",
    "ภาษาไทย",
    "हिन्दी में",
    "tiếng Việt",
    "𝒻𝒶𝓃𝒸𝓎 𝔱𝔢𝔵𝔱",
    "Z̸̡̢͎a̶l̷g̵o̴",
    "a\u00adb soft hyphen",
    "zero\u200bwidth\u200djoin\ufeffbom",
    "non\u00a0breaking\u2003em\u3000space",
    "line\nbreak\r\nwindows\u2028sep\u0085nel",
    "tab\tand\vvertical\fform",
    "control \x00\x01\x07\x1b[31m red \x1b[0m \x7f",
    "\x1c\x1d\x1e\x1f",
    "\ufffd \ufffe",
    "0123456789",
    "3.14 1,000,000 1e-5 -7 +8",
    "2024-01-31 12:30:59",
    "https://example.org/a?b=c&d=e#f",
    "someone@example.org @handle #hashtag",
    "C:\\path\\to\\file.png",
    "snake_case camelCase kebab-case",
    "__init__ _a_ a_b",
    "f(x) = x**2 + {y: [1, 2]} ~ `z` | \\",
    "!!!???...,,,;;;",
    "!",
    '"',
    "<start_of_text>",
    "<end_of_text> a cat",
    "a <start_of_text>cat<end_of_text> dog",
    "<START_OF_TEXT>",
    "<|startoftext|> a <|endoftext|> b",
    "<|ENDOFTEXT|>",
    "</s>",
    "a </s> b</s>c",
    "<s> <pad> <unk> a<unk>b",
    "</w> dog</w>",
    "<eos><bos>x<mask>",
    "[CLS] a [SEP] b [PAD] [MASK] [UNK]",
    "##ing ##s",
    "<0xEA><0xB0>",
    "▁under ▁",
    "▁",
    "Ġa Ċ",
    "a" * 3,
    "word " * 100,
    "supercalifragilisticexpialidocious" * 5,
    "🐶" * 100,
    "가나다라마바사" * 30,
    "a, b; " * 60,
    "x" * 100_000,
    "the quick brown fox jumps over the lazy dog",
    "The  quick   brown\tfox",
    " leading and trailing ",
    "\ud83d\udc36 in two halves",
    'a black-and-white photo of the number: "7".',
    "a photo of many {}.",
    "itap of my 개.",
]
HALVES = AWKWARD.index("\ud83d\udc36 in two halves")  # a string that only ftfy can put into bytes

# Enough to learn from: every script above, and English in plenty.
CORPUS = [text[:200] for i, text in enumerate(AWKWARD) if i != HALVES] + [
    f"a photo of {article} {colour} {thing} {place}"
    for article in ("a", "the")
    for colour in ("red", "blue", "black and white")
    for thing in ("cat", "dog", "bird", "강아지", "고양이", "house", "number 7")
    for place in ("in the garden", "under the table", "on the street", "")
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity_warning()


def assert_same_rows(
    ours: Tokenizer, theirs: Callable[[list[str]], torch.Tensor], *, but: Sequence[str] = ()
) -> None:
    texts = [text for i, text in enumerate(AWKWARD) if i != HALVES and text not in but]
    wanted = theirs(texts)
    rows = ours(texts)
    assert rows.dtype == torch.int64
    assert rows.shape == wanted.shape == (len(texts), ours.context)
    different = [text for text, a, b in zip(texts, rows, wanted, strict=True) if not a.equal(b)]
    assert not different, [t[:80] for t in different]
    assert rows.max() < ours.vocabulary
    assert len({tuple(row.tolist()) for row in rows}) > 50  # the small vocabulary tells them apart


def padded(library: Any, context: int) -> Callable[[list[str]], torch.Tensor]:
    def rows(texts: list[str]) -> torch.Tensor:
        return library(
            texts, padding="max_length", truncation=True, max_length=context, return_tensors="pt"
        ).input_ids

    return rows


# --- folders as publishers write them -------------------------------------------------------------


def write_open_clip(folder: Path, **text_cfg: Any) -> dict[str, Any]:
    """open_clip's configuration, in whose folder open_clip looks for the tokenizer then."""
    text_cfg = {"context_length": 16, **text_cfg}
    settings = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": text_cfg}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    return text_cfg


def write_pieces(path: Path, **options: Any) -> None:
    """A SentencePiece vocabulary with T5's special tokens, as SigLIP's is."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in CORPUS if "\n" not in text and "\0" not in text]),
        model_prefix=str(path.with_suffix("")),
        vocab_size=400,
        hard_vocab_limit=False,
        character_coverage=0.98,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        num_threads=1,
        **options,
    )


def clip_library() -> Any:
    """transformers' tokenizer over the real vocabulary of CLIP."""
    simple = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(piece, piece): number for piece, number in simple.encoder.items()}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=list(simple.bpe_ranks))


def gemma_parts() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A byte-pair vocabulary with bytes to fall back on and Gemma's special tokens."""
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    library = Library(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    library.normalizer = normalizers.Replace(" ", "▁")
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=marks + alphabet, limit_alphabet=120, show_progress=False
    )
    library.train_from_iterator((text.lower() for text in CORPUS), trainer)
    model = json.loads(library.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def bert_library() -> Any:
    library = Library(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, limit_alphabet=120, special_tokens=marks, show_progress=False
    )
    library.train_from_iterator(CORPUS, trainer)
    return transformers.BertTokenizer(vocab=library.get_vocab(), do_lower_case=True)


# --- CLIP's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
@pytest.mark.parametrize("context", [77, 32, 8])
def test_clips_numbers_are_open_clips(clean: str, context: int):
    ours = clip_bpe(context, clean=clean)
    theirs = SimpleTokenizer(context_length=context, clean=clean)
    assert_same_rows(ours, theirs)
    assert ours([AWKWARD[HALVES]]).equal(theirs([AWKWARD[HALVES]]))


def test_a_checkpoint_of_open_clip_without_a_tokenizers_name_has_clips(tmp_path: Path):
    cfg = write_open_clip(tmp_path, context_length=12, tokenizer_kwargs={"clean": "whitespace"})
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs)


# --- transformers' --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["tokenizer.json", "vocab.json"])
def test_a_clip_of_transformers_is_read_as_transformers_reads_it(layout: str, tmp_path: Path):
    library = clip_library()
    library.save_pretrained(tmp_path)
    settings = {"model_type": "clip", "text_config": {"max_position_embeddings": 20}}
    if layout == "vocab.json":
        library.backend_tokenizer.model.save(str(tmp_path))
        (tmp_path / "tokenizer.json").unlink()
        (tmp_path / "config.json").write_text(json.dumps(settings))
    ours = tokenizer_files.for_transformers(settings, tmp_path)
    assert ours.vocabulary == 49_408
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert_same_rows(ours, padded(theirs, 20))


@pytest.mark.filterwarnings("ignore:This sequence already has </s>")
@pytest.mark.parametrize("settings", ["whole", "none"])
def test_a_siglip_of_transformers_is_read_as_transformers_reads_it(settings: str, tmp_path: Path):
    write_pieces(tmp_path / "trained.model")
    library = transformers.SiglipTokenizer(str(tmp_path / "trained.model"))
    library.save_pretrained(tmp_path)
    if settings == "none":
        (tmp_path / "tokenizer_config.json").unlink()
    ours = tokenizer_files.for_transformers({"model_type": "siglip"}, tmp_path)
    theirs = transformers.SiglipTokenizer.from_pretrained(str(tmp_path))
    assert_same_rows(ours, padded(theirs, 64))


def test_a_siglip2_of_transformers_is_read_as_transformers_reads_it(tmp_path: Path):
    vocabulary, merges = gemma_parts()
    library = transformers.Siglip2Tokenizer(
        vocab=vocabulary, merges=merges, padding_side="right", add_eos_token=True
    )
    library.save_pretrained(tmp_path)
    ours = tokenizer_files.for_transformers({"model_type": "siglip"}, tmp_path)
    theirs = transformers.Siglip2Tokenizer.from_pretrained(str(tmp_path))
    assert_same_rows(ours, padded(theirs, 64))
    assert ours(["A Cat"]).equal(ours(["a cat"]))


def test_the_first_folders_of_siglip2_are_in_lower_case_too(tmp_path: Path):
    vocabulary, merges = gemma_parts()
    library = transformers.GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        padding_side="right",
        add_bos_token=False,
        add_eos_token=True,
        do_lower_case=True,
    )
    library.save_pretrained(tmp_path)
    ours = tokenizer_files.for_transformers({"model_type": "siglip"}, tmp_path)
    theirs = padded(transformers.AutoTokenizer.from_pretrained(str(tmp_path)), 64)
    text = "A Photo of a CAT, under the Table"
    assert ours([text]).equal(theirs([text.lower()]))
    assert not ours([text]).equal(theirs([text]))  # transformers forgets what the folder says


def test_a_multilingual_clip_of_transformers_is_read_as_transformers_reads_it(tmp_path: Path):
    write_pieces(tmp_path / "trained.model")
    pieces = sentencepiece.SentencePieceProcessor(str(tmp_path / "trained.model"))
    vocabulary = [(mark, 0.0) for mark in ("<s>", "<pad>", "</s>", "<unk>")]
    vocabulary += [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, len(pieces))]
    library = transformers.XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)])
    library.save_pretrained(tmp_path)
    settings = {"model_type": "metaclip_2", "text_config": {"max_position_embeddings": 77}}
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert_same_rows(tokenizer_files.for_transformers(settings, tmp_path), padded(theirs, 77))
    cfg = write_open_clip(tmp_path, hf_tokenizer_name="facebook/xlm-v-base")
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs)


# --- open_clip's over Hugging Face's --------------------------------------------------------------


def write_t5(folder: Path) -> None:
    """What open_clip's repositories of SigLIP hold: T5's tokenizer, padded with its end."""
    write_pieces(folder / "spiece.model")
    library = transformers.T5Tokenizer.from_pretrained(
        str(folder), extra_ids=0, pad_token="</s>", eos_token="</s>"
    )
    library.save_pretrained(folder)
    (folder / "spiece.model").unlink()


@pytest.mark.parametrize("clean", ["canonicalize", "lower", "whitespace", None])
def test_a_siglip_of_open_clip_is_read_as_open_clip_reads_it(clean: str | None, tmp_path: Path):
    write_t5(tmp_path)
    kwargs = {"clean": clean} if clean else {}
    cfg = write_open_clip(
        tmp_path, hf_tokenizer_name="timm/ViT-B-16-SigLIP", tokenizer_kwargs=kwargs
    )
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs)


def test_a_siglip_that_an_older_transformers_wrote_is_read_the_same(tmp_path: Path):
    write_t5(tmp_path)
    path = tmp_path / "tokenizer.json"
    written = json.loads(path.read_text())
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    written["normalizer"] = {"type": "Sequence", "normalizers": [written["normalizer"], spaces]}
    written["pre_tokenizer"] = written["pre_tokenizer"]["pretokenizers"][1]  # no splitting at \s
    path.write_text(json.dumps(written))
    cfg = write_open_clip(
        tmp_path, hf_tokenizer_name="x", tokenizer_kwargs={"clean": "canonicalize"}
    )
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    # We take the file at its word; transformers 5 splits at spaces that cleaning itself made.
    but = ["&#0; &#xD800; &#1114112;", "▁under ▁", "▁"]
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs, but=but)


@pytest.mark.parametrize("clean", ["canonicalize", "lower", "whitespace"])
def test_a_siglip2_of_open_clip_is_read_as_open_clip_reads_it(clean: str, tmp_path: Path):
    vocabulary, merges = gemma_parts()
    transformers.GemmaTokenizer(
        vocab=vocabulary,
        merges=merges,
        padding_side="right",
        add_bos_token=False,
        add_eos_token=True,
    ).save_pretrained(tmp_path)
    cfg = write_open_clip(
        tmp_path,
        context_length=64,
        hf_tokenizer_name="timm/ViT-B-16-SigLIP2",
        tokenizer_kwargs={"clean": clean},
    )
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs)


def test_a_vocabulary_of_sentencepiece_alone_is_read_as_open_clip_reads_it(tmp_path: Path):
    write_pieces(tmp_path / "spiece.model", byte_fallback=True)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer"}')
    cfg = write_open_clip(
        tmp_path,
        hf_tokenizer_name="google/mt5-base",
        tokenizer_kwargs={"clean": "canonicalize"},
    )
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs)


@pytest.mark.parametrize("layout", ["tokenizer.json", "vocab.txt"])
def test_a_clipa_of_open_clip_is_read_as_open_clip_reads_it(layout: str, tmp_path: Path):
    library = bert_library()
    library.save_pretrained(tmp_path)
    if layout == "vocab.txt":
        library.backend_tokenizer.model.save(str(tmp_path))
        (tmp_path / "tokenizer.json").unlink()
    cfg = write_open_clip(
        tmp_path,
        hf_tokenizer_name="bert-base-uncased",
        tokenizer_kwargs={"strip_sep_token": True},
    )
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    ours = tokenizer_files.for_open_clip(cfg, tmp_path)
    assert_same_rows(ours, theirs)
    assert ours.decode(ours(["A cat under the table"])[0]) == "a cat under the table"


def test_the_length_of_a_row_is_the_models_and_not_that_of_the_file(tmp_path: Path):
    bert_library().save_pretrained(tmp_path)
    library = Library.from_file(str(tmp_path / "tokenizer.json"))
    library.enable_truncation(6)
    library.enable_padding(length=6, pad_id=4, pad_token="[MASK]")
    library.save(str(tmp_path / "tokenizer.json"))
    cfg = write_open_clip(tmp_path, hf_tokenizer_name="bert-base-uncased")
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    assert_same_rows(tokenizer_files.for_open_clip(cfg, tmp_path), theirs)


def test_a_clips_of_open_clip_is_read_as_open_clip_reads_it(tmp_path: Path):
    library = bert_library()
    library.add_special_tokens({"bos_token": "[UNK]", "eos_token": "[MASK]"})
    library.save_pretrained(tmp_path)
    cfg = write_open_clip(tmp_path, hf_tokenizer_name="bert-base-uncased", tokenizer_mode="clips")
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    ours = tokenizer_files.for_open_clip(cfg, tmp_path)
    assert_same_rows(ours, theirs)
    assert ours.decode(ours(["a cat"])[0]) == "a cat"


# --- our own --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt() -> Tokenizer:
    return learn(CORPUS, vocabulary=500, context=24)


def plain(text: str) -> str:
    """What our own cleaning leaves of a text."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(unicodedata.normalize("NFC", text.lower()).split())


ANYTHING = [*AWKWARD, "\ud800", "a\udfffb", "\0", "\0" * 50, "word " * 2000, "가" * 10_000]


def test_any_text_can_be_written_with_a_learnt_vocabulary(learnt: Tokenizer):
    rows = learnt(ANYTHING)
    assert rows.shape == (len(ANYTHING), 24)
    assert rows.min() >= 0 and rows.max() < learnt.vocabulary == 500
    assert (rows[:, 0] == 1).all()
    assert ((rows == 2).sum(dim=1) == 1).all()  # one end, however long the text
    fitting = [text for text in ANYTHING if not learnt.too_long(text)]
    assert len(fitting) > 60
    for text in fitting:
        assert learnt.decode(learnt([text])[0]) == plain(text)


@given(st.text(st.characters(codec=None), max_size=24))
def test_a_learnt_vocabulary_loses_nothing(text: str):
    everything = learn([], vocabulary=259, context=600)
    assert everything.decode(everything([text])[0]) == plain(text)


def test_a_learnt_vocabulary_joins_what_is_frequent_and_only_that():
    few = learn(["the cat"] * 9 + ["xylophone"], vocabulary=300)
    assert few.pieces("the cat") == ["the", "cat"]
    assert few.pieces("xyl") == ["␣", "x", "y", "l"]
    assert few.vocabulary < 300  # there was no more to learn
    assert learn(["the cat"] * 9, vocabulary=260).vocabulary == 260


def test_the_same_captions_teach_the_same_vocabulary(tmp_path: Path):
    for i in range(3):
        learn(CORPUS, vocabulary=600).save(tmp_path / str(i))
    first, *others = [(tmp_path / str(i) / "tokenizer.json").read_bytes() for i in range(3)]
    assert others == [first, first]


def test_composed_and_decomposed_letters_are_one_to_a_learnt_vocabulary(learnt: Tokenizer):
    assert learnt(["강아지"]).equal(learnt([unicodedata.normalize("NFD", "강아지")]))
    assert learnt(["A  Cat\n"]).equal(learnt(["a cat"]))


def test_a_mark_that_is_written_in_a_text_is_only_letters(learnt: Tokenizer):
    for text in ("a <end> b", "<begin>", "<pad><pad> x"):
        row = learnt([text])[0]
        assert (row == 2).sum() == (row == 1).sum() == 1
        assert learnt.decode(row) == text


# --- every kind -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["clip", "learnt", "siglip", "gemma", "bert", "clip-hf"])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, learnt: Tokenizer
) -> Tokenizer:
    folder = tmp_path_factory.mktemp("folder")
    match request.param:
        case "clip":
            return clip_bpe(24)
        case "learnt":
            return learnt
        case "siglip":
            write_pieces(folder / "spiece.model")
            settings = {"model_type": "siglip", "text_config": {"max_position_embeddings": 24}}
            return tokenizer_files.for_transformers(settings, folder)
        case "gemma":
            vocabulary, merges = gemma_parts()
            transformers.Siglip2Tokenizer(
                vocab=vocabulary, merges=merges, padding_side="right"
            ).save_pretrained(folder)
            return tokenizer_files.for_transformers({"model_type": "siglip"}, folder)
        case "bert":
            bert_library().save_pretrained(folder)
            cfg = {"context_length": 24, "hf_tokenizer_name": "bert", "tokenizer_kwargs": {}}
            return tokenizer_files.for_open_clip(cfg, folder)
        case _:
            clip_library().save_pretrained(folder)
            return tokenizer_files.for_transformers({"model_type": "clip"}, folder)


def test_a_saved_tokenizer_comes_back_the_same(tokenizer: Tokenizer, tmp_path: Path):
    tokenizer.save(tmp_path)
    loaded = tokenizer_files.ours(tmp_path)
    assert (loaded.context, loaded.vocabulary) == (tokenizer.context, tokenizer.vocabulary)
    assert loaded(ANYTHING).equal(tokenizer(ANYTHING))
    for text in AWKWARD[:40]:
        assert loaded.pieces(text) == tokenizer.pieces(text)


def test_a_tokenizer_goes_to_another_process_as_it_is(tokenizer: Tokenizer):
    sent = pickle.loads(pickle.dumps(tokenizer))
    assert sent(ANYTHING).equal(tokenizer(ANYTHING))


def test_a_copy_of_a_model_shares_the_tokenizer(tokenizer: Tokenizer):
    assert copy.deepcopy({"tokenizer": tokenizer})["tokenizer"] is tokenizer


def test_a_row_can_be_read_back(tokenizer: Tokenizer):
    for text in ("a photo of a red cat", "the dog in the garden", ""):
        assert tokenizer.decode(tokenizer([text])[0]) == text
        assert tokenizer.decode(tokenizer([text])[0].tolist()) == text
        assert re.sub("[␣ ]", "", "".join(tokenizer.pieces(text))) == text.replace(" ", "")


def test_a_text_is_too_long_when_another_one_with_the_same_beginning_looks_the_same(
    tokenizer: Tokenizer,
):
    lengths = [n for n in range(1, 100) if tokenizer.too_long("cat " * n)]
    assert lengths == list(range(lengths[0], 100))  # from there on, and not before
    fits, cut = "cat " * (lengths[0] - 1), "cat " * lengths[0]
    assert not tokenizer([fits]).equal(tokenizer([fits + "dog"])) or tokenizer.too_long(
        fits + "dog"
    )
    assert tokenizer([cut + "cat"]).equal(tokenizer([cut + "dog"]))


def test_no_texts_are_no_rows(tokenizer: Tokenizer):
    assert tokenizer([]).shape == (0, tokenizer.context)


def test_a_text_alone_and_what_is_no_text_are_refused(tokenizer: Tokenizer):
    with pytest.raises(BadInput, match=r"write \[text\]"):
        tokenizer("a cat")
    with pytest.raises(BadInput, match="not int: 7"):
        tokenizer(["a cat", 7])  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="no piece has the number"):
        tokenizer.decode([tokenizer.vocabulary])
    with pytest.raises(BadInput, match="no piece has the number -1"):
        tokenizer.decode([-1])


def test_ten_thousand_short_texts_take_less_than_a_second(tokenizer: Tokenizer):
    texts = [f"a photo of a thing number {i} 강아지" for i in range(10_000)]
    before = time.process_time()
    rows = tokenizer(texts)
    assert time.process_time() - before < 10  # 0.2 to 0.5 alone; twice a second for a busy machine
    assert len(rows.unique(dim=0)) > 5000


def test_a_word_of_a_hundred_thousand_letters_takes_no_time_to_speak_of():
    letters = random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=100_000)
    word = "".join(letters)
    tokenizer = clip_bpe()
    before = time.process_time()
    pieces = tokenizer.pieces(word)
    assert time.process_time() - before < 5  # 0.2 alone; joining pair after pair takes minutes
    assert "".join(pieces) == word
    assert tokenizer.pieces(word[:500])[:80] == pieces[:80]


def test_part_of_a_letter_is_shown_as_its_bytes():
    pieces = clip_bpe().pieces("강아지")
    assert pieces == ["강", "아", "<0xEC><0xA7>", "<0x80>"]


# --- what is not there, or not whole --------------------------------------------------------------


def refusal(kind: type[MmfmError], call: Callable[[], object], *words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_a_folder_without_a_tokenizer_is_refused_in_one_line(tmp_path: Path):
    cfg = {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}
    for call, more in (
        (lambda: tokenizer_files.for_open_clip(cfg, tmp_path), "timm/ViT-B-16-SigLIP"),
        (lambda: tokenizer_files.for_transformers({"model_type": "clip"}, tmp_path), "copy"),
        (lambda: tokenizer_files.for_transformers({"model_type": "siglip"}, tmp_path), "copy"),
    ):
        refusal(NotHere, call, "no tokenizer", str(tmp_path), "tokenizer.json", more)
    refusal(NotHere, lambda: tokenizer_files.ours(tmp_path), "no tokenizer", str(tmp_path))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_cut_short_is_refused_in_one_line(name: str, tmp_path: Path):
    bert_library().save_pretrained(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    cfg = {"hf_tokenizer_name": "bert-base-uncased"}
    refusal(BadWeights, lambda: tokenizer_files.for_open_clip(cfg, tmp_path), name)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_sentencepiece_model_that_is_cut_short_is_refused_in_one_line(
    part: float, tmp_path: Path
):
    write_pieces(tmp_path / "spiece.model")
    whole = (tmp_path / "spiece.model").read_bytes()
    (tmp_path / "spiece.model").write_bytes(whole[: int(part * len(whole))])
    siglip = {"model_type": "siglip"}
    refusal(BadWeights, lambda: tokenizer_files.for_transformers(siglip, tmp_path), "spiece.model")


def test_a_file_that_transformers_cannot_read_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    refusal(
        BadWeights,
        lambda: tokenizer_files.for_transformers({"model_type": "clip"}, tmp_path),
        "vocab.json",
    )


@pytest.mark.parametrize("missing", ["merges.txt", "tokenizer_settings.json"])
def test_our_folder_with_a_file_missing_is_refused_in_one_line(missing: str, tmp_path: Path):
    clip_bpe().save(tmp_path)
    (tmp_path / missing).unlink()
    refusal(NotHere, lambda: tokenizer_files.ours(tmp_path), "no tokenizer", missing)


@pytest.mark.parametrize(
    "settings", ["{", "[]", "{}", '{"kind": "new", "clean": "none", "frame": {"context": 9}}']
)
def test_our_settings_of_another_version_are_refused_in_one_line(settings: str, tmp_path: Path):
    clip_bpe().save(tmp_path)
    (tmp_path / "tokenizer_settings.json").write_text(settings)
    refusal(BadWeights, lambda: tokenizer_files.ours(tmp_path), "tokenizer_settings.json")


@pytest.mark.parametrize(
    "text_cfg",
    [
        {"tokenizer_kwargs": {"reduction_mask": "random"}},
        {"tokenizer_kwargs": {"clean": "spotless"}},
        {"tokenizer_mode": "sideways"},
        {"context_length": 2},
        {"hf_tokenizer_name": "bert", "tokenizer_kwargs": {"language": "kor_Hang"}},
    ],
)
def test_options_that_we_do_not_know_are_refused_in_one_line(
    text_cfg: dict[str, Any], tmp_path: Path
):
    refusal(BadInput, lambda: tokenizer_files.for_open_clip(text_cfg, tmp_path))


def test_a_tokenizer_that_pads_on_the_left_is_refused_in_one_line(tmp_path: Path):
    bert_library().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"padding_side": "left"}')
    cfg = {"hf_tokenizer_name": "bert"}
    refusal(BadInput, lambda: tokenizer_files.for_open_clip(cfg, tmp_path), "padding_side", "left")


def test_a_padding_token_that_is_not_in_the_vocabulary_is_refused_in_one_line(tmp_path: Path):
    bert_library().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<nothing>"}')
    cfg = {"hf_tokenizer_name": "bert"}
    refusal(BadWeights, lambda: tokenizer_files.for_open_clip(cfg, tmp_path), "'<nothing>'")


def test_clips_vocabulary_is_missed_in_one_line(monkeypatch: pytest.MonkeyPatch):
    _clip_pairs.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    try:
        refusal(NotHere, clip_bpe, "open_clip_torch")
    finally:
        monkeypatch.undo()
        _clip_pairs.cache_clear()


def test_a_vocabulary_too_small_for_the_bytes_is_refused():
    refusal(BadInput, lambda: learn(CORPUS, vocabulary=258), "258", "259")
    refusal(BadInput, lambda: learn("a cat"), "write [text]")
    refusal(BadInput, lambda: learn(CORPUS, context=2), "context of 2")


def test_our_own_tokenizers_import_no_foreign_model_library(tmp_path: Path):
    learn(CORPUS).save(tmp_path)
    code = f"""
import sys
from pathlib import Path
from mmfm.models import tokenizer, tokenizer_files
tokenizer.clip_bpe()(["a cat"])
tokenizer_files.ours(Path({str(tmp_path)!r}))(["a cat"])
print(sorted({{"open_clip", "transformers", "timm", "sentencepiece"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
