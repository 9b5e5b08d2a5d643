"""The quality gate: no checkpoint ships that is broken, or that nobody has asked anything.

Each folder of assets/checkpoints has a card that states a score, the terms of its data and the
checksums of its weights and its tokenizer; loads strictly; and scores above a floor on a small set
that is made here.

A new checkpoint needs an entry below. Ask it something that it can honestly be asked without its
own data, in a second or two; look at what it scores; and set the floor below that by about what
another machine, another library or an equally good training could take away, but far above
what weights score that have learned nothing (the last test shuffles them, and the gate must shut).
Then seal it: python .ci/seal.py assets/checkpoints/NAME.
"""

import json
import random
import re
import runpy
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from huggingface_hub.repocard import metadata_load
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import save_file

from mmfm.data import shapes
from mmfm.data.digits import load_digits8
from mmfm.data.kinds import read_kinds
from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError
from mmfm.files import digest
from mmfm.models.checkpoints import load_clip, load_denoiser, load_vit
from mmfm.models.clip import CLIP
from mmfm.models.denoiser import Denoiser
from mmfm.models.retrieval import class_vectors
from mmfm.models.ruler import Ruler, load_ruler, look
from mmfm.models.vit import ViT
from mmfm.models.weights import read_settings
from mmfm.models.words import Reader
from mmfm.tasks.doctor import CARD, card_head, sealed_files
from mmfm.tasks.generate import chosen, order, samples

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = ROOT / "assets" / "checkpoints"
FOLDERS = sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir())
MOST = 60_000_000  # bytes of all of them together

TEN = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Photographs of scikit-image, by what a person calls them, and what else somebody might ask about.
PHOTOGRAPHS = {
    "coffee.png": ("cup of coffee", "커피 한 잔"),
    "rocket.jpg": ("rocket", "로켓"),
    "motorcycle_left.png": ("motorcycle", "오토바이"),
}
OTHERS = (("dog", "개"), ("pizza", "피자"), ("tree", "나무"), ("house", "집"), ("fish", "물고기"))

# What emoji-nano has learned to draw.
THINGS = (
    ("red heart", "빨간색 하트"),
    ("blue book", "파란색 책"),
    ("yellow circle", "노란색 원"),
    ("rocket", "로켓"),
    ("cat face", "고양이 얼굴"),
    ("automobile", "자동차"),
    ("cactus", "선인장"),
    ("house", "집"),
    ("smiling face", "웃는 얼굴"),
    ("soccer ball", "축구공"),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models run on one thread as fast as on two, and beside other programs far faster."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- what they are asked ------------------------------------------------------------------------


def drawn_shapes(clip: CLIP) -> dict[str, float]:
    """Colour and form of 200 new drawings, half of pairs that no training picture had, of 64."""
    right: dict[str, list[torch.Tensor]] = {"en": [], "ko": []}
    kinds: tuple[shapes.Kind, ...] = ("seen", "colour and shape")
    for kind in kinds:
        images, scenes = shapes.evaluation(kind, 100, seed=23, size=clip.preprocessing.size[0])
        rows = clip.encode_image(clip.preprocessing.normalise(images))
        for language in get_args(shapes.Language):
            asked = shapes.ask(scenes, "colour and shape", language)
            right[language].append(asked.judge(rows @ class_vectors(clip, asked.answers).T))
    return {language: share(torch.cat(answers)) for language, answers in right.items()}


def photographs_and_names(clip: CLIP) -> dict[str, float]:
    """What pieces of photographs are called, of eight labels; and for how many of three hundred
    things that it knows the Korean name lies nearest to their own English one."""
    right: dict[str, float] = {}
    for number, language in enumerate(get_args(shapes.Language)):
        labels = [both[number] for both in (*PHOTOGRAPHS.values(), *OTHERS)]
        vectors = class_vectors(clip, [[label] for label in labels])
        answers: list[torch.Tensor] = []
        for truth, file in enumerate(PHOTOGRAPHS):
            rows = clip.encode_image(clip.preprocessing.batch(pieces(file)))
            answers.append((rows @ vectors.T).argmax(dim=1) == truth)
        right[language] = share(torch.cat(answers))
    table = read_kinds(ROOT / "assets" / "names" / "photos.csv")
    called = dict.fromkeys((kind.names["en"][0], kind.names["ko"][0]) for kind in table.values())
    english, korean = (
        class_vectors(clip, [[one] for one in names]) for names in zip(*called, strict=True)
    )
    nearest = (korean @ english.T).argmax(dim=1)
    return right | {"names": share(nearest == torch.arange(len(called)))}


def photographs_and_ships(vit: ViT) -> dict[str, float]:
    """Whether pieces of photographs of a cup of coffee and of motorcycles are called that and any
    machine or vehicle, of 210 names; and whether drawn ships are, of CIFAR-10's ten."""
    table = read_kinds(ROOT / "assets" / "names" / "photos.csv")
    true = {kind.names["en"][0]: kind.everything for kind in table.values()}

    def logits(pictures: list[Image.Image]) -> torch.Tensor:
        with torch.no_grad():
            out = vit(vit.preprocessing.batch(pictures)).logits
        assert out is not None
        return out

    def called(pictures: list[Image.Image], *words: str) -> float:
        names = [vit.labels[number] for number in logits(pictures).argmax(dim=1).tolist()]
        return share(torch.tensor([not true[name].isdisjoint(words) for name in names]))

    cycles = [*pieces("motorcycle_left.png"), *pieces("motorcycle_right.png")]
    ten = torch.tensor([vit.labels.index(name) for name in TEN])
    lots = random.Random(1)
    among = logits([ship(lots) for _ in range(50)])[:, ten].argmax(dim=1)
    return {
        "coffee": called(pieces("coffee.png"), "cup of coffee"),
        "motorcycle": called(cycles, "machine", "vehicle"),
        "ships": share(among == TEN.index("ship")),
    }


def own_digits(den: Denoiser) -> dict[str, float]:
    """Ten of each digit, as the bundled ruler reads them."""
    images = torch.cat([images for _, images in samples(den, count=100, seed=0)])
    read = look(load_ruler("mnist-ruler"), images).logits.argmax(dim=1)
    return {"named right": share(read == torch.arange(100) % 10)}


def said_and_drawn(den: Denoiser) -> dict[str, float]:
    """Ten things asked for in each language, as clip-nano names them among the ten."""
    clip = load_clip(str(CHECKPOINTS / "clip-nano"))
    assert isinstance(clip, CLIP)
    right: dict[str, float] = {}
    for names, language in zip(zip(*THINGS, strict=True), get_args(shapes.Language), strict=True):
        asked = order(
            den, ["noto"], prompt=names, reader=Reader(clip), count=10, how=chosen(den, steps=12)
        )
        images = torch.cat([images for _, images in asked.pictures()])
        rows = clip.encode_image([Image.fromarray(picture.numpy()) for picture in images])
        vectors = class_vectors(clip, [[name] for name in names])
        answers = (rows @ vectors.T).argmax(dim=1)
        right[language] = share(answers == torch.arange(10))
    return right


def strange_digits(ruler: Ruler) -> dict[str, float]:
    """599 digits of scikit-learn, 8x8 pixels of other people's hands, enlarged as MNIST's lie."""
    digits = load_digits8()
    small = rearrange(torch.from_numpy(digits.test_images.copy()).float(), "n y x -> n 1 y x")
    large = F.interpolate(small, size=(18, 18), mode="bicubic").clamp(0, 255)
    images = rearrange(F.pad(large, (5, 5, 5, 5)).round().byte(), "n 1 y x -> n y x 1")
    read = look(ruler, images).logits.argmax(dim=1)
    return {"named right": share(read == torch.from_numpy(digits.test_labels.copy()).long())}


def share(right: torch.Tensor) -> float:
    return right.float().mean().item()


def pieces(file: str, count: int = 40) -> list[Image.Image]:
    """Squares of a photograph of scikit-image, large ones here and there, every other mirrored."""
    lots, photo = random.Random(0), open_picture(Path(str(files("skimage") / "data" / file)))
    cut: list[Image.Image] = []
    for number in range(count):
        side = round(min(photo.size) * lots.uniform(0.7, 1))
        x, y = lots.randint(0, photo.width - side), lots.randint(0, photo.height - side)
        piece = photo.crop((x, y, x + side, y + side))
        cut.append(piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else piece)
    return cut


def ship(lots: random.Random) -> Image.Image:
    picture = Image.new("RGB", (128, 128), lots.choice(["#9cc4e8", "#c8d8e4", "#7fb2e0"]))
    draw, x, y = ImageDraw.Draw(picture), lots.randint(-8, 8), lots.randint(-6, 6)
    draw.rectangle((0, 78 + y, 128, 128), fill=lots.choice(["#23537c", "#2f6c8f", "#1c4a66"]))
    hull = [(12 + x, 68 + y), (118 + x, 68 + y), (104 + x, 92 + y), (24 + x, 92 + y)]
    draw.polygon(hull, fill=lots.choice(["#333333", "#882222", "#224466"]))
    draw.rectangle((40 + x, 50 + y, 92 + x, 68 + y), fill="#f4f4f0")
    draw.rectangle((52 + x, 38 + y, 76 + x, 50 + y), fill="#e6e6e2")
    draw.rectangle((60 + x, 22 + y, 66 + x, 38 + y), fill="#b33333")
    return picture


@dataclass(frozen=True)
class Entry:
    """How a checkpoint is loaded, what it is asked, and the least shares of right answers."""

    load: Callable[[str], Any]
    ask: Callable[[Any], Mapping[str, float]]
    floors: Mapping[str, float]


# Beside each floor what was measured when it was set (2026-11-23, one thread), and the chance.
ENTRIES = {
    "clip-nano": Entry(  # 0.97, 0.89, of which one answer to all gives a third; 0.92, 1 in 302
        load_clip, photographs_and_names, {"en": 0.8, "ko": 0.75, "names": 0.8}
    ),
    "clip-shapes": Entry(load_clip, drawn_shapes, {"en": 0.96, "ko": 0.96}),  # 1.0, 1 in 64
    "emoji-nano": Entry(load_denoiser, said_and_drawn, {"en": 0.7, "ko": 0.7}),  # 1 in 10
    "mnist-fast": Entry(load_denoiser, own_digits, {"named right": 0.93}),  # 0.98, 1 in 10
    "mnist-nano": Entry(load_denoiser, own_digits, {"named right": 0.93}),  # 0.99, 1 in 10
    "mnist-ruler": Entry(load_ruler, strange_digits, {"named right": 0.93}),  # 0.963, 1 in 10
    "mnist-ruler-2": Entry(load_ruler, strange_digits, {"named right": 0.93}),  # 0.960, 1 in 10
    "vit-nano": Entry(  # 0.75, 1 in 210; 0.94, 24 in 210; 0.82, 1 in 10
        load_vit, photographs_and_ships, {"coffee": 0.6, "motorcycle": 0.8, "ships": 0.65}
    ),
}


def faults(folder: Path, entries: Mapping[str, Entry] = ENTRIES) -> list[str]:
    """All that keeps a checkpoint from shipping."""
    entry = entries.get(folder.name)
    if entry is None:
        return ["no entry: say in tests/test_gate.py what it is asked, and from when on it ships"]
    found = card_faults(folder)
    try:
        model = entry.load(str(folder))
    except MmfmError as error:
        return [*found, f"cannot be loaded: {error}"]
    found += weight_faults(folder)
    scores = entry.ask(model)
    for what, floor in entry.floors.items():
        if not scores[what] >= floor:
            found.append(f"below its floor: {what} {scores[what]:.3f}, not {floor}")
    return found


def card_faults(folder: Path) -> list[str]:
    """What is wrong with a card, or with the files by what their card says."""
    card = folder / CARD
    if not card.is_file():
        return ["no card"]
    head, text = metadata_load(card) or {}, card.read_text(encoding="utf-8")
    sealed = sealed_files(folder)
    needed = ("score", "license", *sealed)
    found = [f"no {key} in the card's head" for key in needed if key not in head]
    for key in (key for key in needed if key in head):
        if head[key] != card_head(card).get(key):
            found.append(f"the {key} in its head reads otherwise as YAML")
    below = text.split("\n---\n", 1)[-1]
    if not all(figure in below for figure in re.findall(r"\d[\d.,]*\b", f"{head.get('score')}")):
        found.append("the score in its head is not in its text")
    for key, path in sealed.items():
        if key in head and head[key] != digest(path):
            found.append(f"{path.name} has another checksum than the card says")
    return found


def weight_faults(folder: Path) -> list[str]:
    """What is wrong with weights that load: they take 16 bits each, and no more.

    Sealed with them are the settings inside the file, which those beside it have to equal.
    """
    weights = folder / "model.safetensors"
    with safe_open(weights, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    found = [f"weights are kept as {kind}" for kind in sorted(kinds - {"F16", "BF16"})]
    if json.loads((folder / "config.json").read_text(encoding="utf-8")) != read_settings(weights):
        found.append("the settings beside the weights are not those inside")
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_what_ships_is_whole_and_good_enough(folder: Path) -> None:
    assert faults(folder) == []


def test_every_entry_has_its_checkpoint() -> None:
    assert set(ENTRIES) == {folder.name for folder in FOLDERS}


def test_all_checkpoints_together_are_small() -> None:
    sizes = {path: path.stat().st_size for path in CHECKPOINTS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= MOST
    loose = [path.name for path in CHECKPOINTS.iterdir() if not path.is_dir()]
    assert loose == [], "a checkpoint has a folder of its own"


# --- the gate shuts -----------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., Path]:
    """A checkpoint that may be broken."""

    def take(name: str, called: str = "") -> Path:
        return Path(shutil.copytree(CHECKPOINTS / name, tmp_path / (called or name)))

    return take


def seal(folder: Path) -> str:
    return runpy.run_path(str(ROOT / ".ci" / "seal.py"))["seal"](folder)


def test_a_copy_passes(copy: Callable[..., Path]) -> None:
    assert faults(copy("mnist-ruler")) == []


def test_a_newcomer_without_an_entry_does_not_pass(copy: Callable[..., Path]) -> None:
    (fault,) = faults(copy("mnist-ruler", "newcomer"))
    assert fault.startswith("no entry")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_does_not_pass(share: float, copy: Callable[..., Path]) -> None:
    folder = copy("mnist-ruler")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * share)])
    checksum, load = faults(folder)
    assert "another checksum" in checksum and "cannot be loaded" in load


@pytest.mark.parametrize("name", ENTRIES)
def test_one_altered_bit_does_not_pass(name: str, copy: Callable[..., Path]) -> None:
    weights = copy(name) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    says = "model.safetensors has another checksum than the card says"
    assert card_faults(weights.parent) == [says]


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_settings.json"])
def test_an_altered_tokenizer_does_not_pass(file: str, copy: Callable[..., Path]) -> None:
    """Such a model may load and read nearly all texts as before, so that no score tells."""
    path = copy("clip-shapes") / file
    path.write_bytes(path.read_bytes() + b"\n")
    assert card_faults(path.parent) == [f"{file} has another checksum than the card says"]
    card = path.parent / CARD
    unsealed = re.sub(r"sha256-\S+ \w+\n", "", card.read_text(encoding="utf-8"))
    card.write_text(unsealed, encoding="utf-8")
    keys = ("sha256-tokenizer", "sha256-tokenizer-settings")
    assert card_faults(path.parent) == [f"no {key} in the card's head" for key in keys]


def test_a_weight_too_few_does_not_pass_however_it_is_sealed(copy: Callable[..., Path]) -> None:
    weights = copy("mnist-ruler") / "model.safetensors"
    with safe_open(weights, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = file.metadata()
    del state["stem.bias"]
    save_file(state, weights, about)
    seal(weights.parent)
    (fault,) = faults(weights.parent)
    assert fault.startswith("cannot be loaded") and "stem.bias" in fault


def test_weights_of_32_bits_do_not_pass_however_they_are_sealed(copy: Callable[..., Path]) -> None:
    weights = copy("mnist-ruler") / "model.safetensors"
    with safe_open(weights, "pt") as file:
        state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        about = file.metadata()
    save_file(state, weights, about)
    seal(weights.parent)
    assert faults(weights.parent) == ["weights are kept as F32"]


def test_settings_that_were_altered_do_not_pass(copy: Callable[..., Path]) -> None:
    """The model loads and draws in a step less, which its score does not show."""
    settings = copy("mnist-nano") / "config.json"
    text = settings.read_text(encoding="utf-8")
    assert text.count('"steps": 16') == 1
    settings.write_text(text.replace('"steps": 16', '"steps": 15'), encoding="utf-8")
    assert faults(settings.parent) == ["the settings beside the weights are not those inside"]


@pytest.mark.parametrize("name", ENTRIES)
def test_shuffled_weights_fall_below_the_floor_however_they_are_sealed(
    name: str, copy: Callable[..., Path]
) -> None:
    """Every weight is there, and none where it belongs."""
    weights = copy(name) / "model.safetensors"
    with safe_open(weights, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        about = file.metadata()
    mixed = {
        key: x.flatten()[torch.randperm(x.numel())].reshape(x.shape) for key, x in state.items()
    }
    save_file(mixed, weights, about)
    seal(weights.parent)
    found = faults(weights.parent)
    assert found and all(fault.startswith("below its floor") for fault in found)


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        (r"score: .*\n", "", "no score"),
        (r"license: .*\n", "", "no license"),
        (r"sha256: .*\n", "", "no sha256"),
        (r"score: .*", "score: 99.99 % of all there is", "is not in its text"),
        (r"(score: .*)", r"\1 # I hope", "reads otherwise as YAML"),
    ],
)
def test_a_card_that_leaves_out_or_makes_up_does_not_pass(
    line: str, instead: str, said: str, copy: Callable[..., Path]
) -> None:
    card = copy("vit-nano") / CARD
    text, count = re.subn(line, instead, card.read_text(encoding="utf-8"), count=1)
    assert count == 1
    card.write_text(text, encoding="utf-8")
    assert any(said in fault for fault in card_faults(card.parent))


def test_without_a_card_nothing_passes(copy: Callable[..., Path]) -> None:
    folder = copy("mnist-ruler")
    (folder / CARD).unlink()
    assert faults(folder) == ["no card"]


@pytest.mark.parametrize("name", ["mnist-ruler", "clip-shapes"])
def test_sealing_writes_the_checksums_and_nothing_else(
    name: str, copy: Callable[..., Path]
) -> None:
    folder = copy(name)
    card = folder / CARD
    before = card.read_text(encoding="utf-8")
    assert "as it was" in seal(folder) and card.read_text(encoding="utf-8") == before
    card.write_text(re.sub(r"sha256\S+ \w+\n", "", before), encoding="utf-8")
    seal(folder)
    assert card.read_text(encoding="utf-8") == before
    card.write_text(re.sub(r"sha256: \w{4}", "sha256: 0000", before), encoding="utf-8")
    assert faults(folder) == ["model.safetensors has another checksum than the card says"]
    seal(folder)
    assert card.read_text(encoding="utf-8") == before
    (folder / "tokenizer.json").unlink(missing_ok=True)
    seal(folder)
    assert "sha256-tokenizer:" not in card.read_text(encoding="utf-8")
