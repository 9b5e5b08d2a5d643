"""Teach two towers which caption goes with which picture, from drawn shapes to one's own pairs."""

import copy
import math
import os
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mmfm.data.augment import augment
from mmfm.data.captions import KNOWN, CaptionedPictures, load_captioned
from mmfm.data.draws import generator, uniform
from mmfm.data.labelled import description
from mmfm.data.mixture import Mixture, load_mixture
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, NotHere
from mmfm.machine import pick_device
from mmfm.models import tokenizer_files
from mmfm.models.checkpoints import clip_from, clip_settings, load_clip, save_clip
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.contrastive import Kind, contrastive_loss
from mmfm.models.held_out import examine
from mmfm.models.retrieval import class_vectors, recall
from mmfm.models.tokenizer import Tokenizer, learn
from mmfm.models.vit import ViTConfig
from mmfm.recipes import Recipe, check_types
from mmfm.reports import Report, Scores, reports
from mmfm.runs import Run, absolute, of_another_version
from mmfm.team import Team, own_device
from mmfm.train import Batch, Examples, fit

_BEGINNINGS = "a run of mmfm train clip"
_HELD_OUT = 0.1  # of data that has no held-out part of its own
_KEEP, _CAPTION = 2, 3  # streams of draws: patches, and captions of a picture
_HIGHEST_SCALE = math.log(100)  # Radford et al. 2021, section 2.5: a higher one made them diverge
# What the sigmoid loss begins with (Zhai et al. 2023, section 3.2): nearly all pairs are wrong.
_SIGMOID = {"scale": math.log(10), "bias": -10.0}

# A mixture has its held-out pictures with it.
_Pictures = CaptionedPictures | Mixture


@dataclass(frozen=True)
class Pairs:
    """Where pictures with captions come from; of a recipe of several sources, their folder."""

    data: str
    text: tuple[str, ...] = ()  # the columns that hold captions
    names: Path | None = None  # a file that says what the classes are called

    def plain(self, known: Collection[str]) -> dict[str, Any]:
        """As a run remembers it; data that are `known` by their name are no path."""
        names = None if self.names is None else absolute(str(self.names))
        data = absolute(self.data, known=known)
        return {"data": data, "text": list(self.text), "names": names}


@dataclass(frozen=True, kw_only=True)
class ClipRecipe(Recipe):
    """How a CLIP is taught.

    [model] has the fields of CLIPConfig, with those of ViTConfig and TextConfig in [model.image]
    and [model.text]. The vocabulary is learned from the captions, `vocabulary` pieces at the most.
    """

    KIND: ClassVar[str] = "clip"
    MIXES: ClassVar[bool] = True

    kind: Kind = "info_nce"
    chunk: int | None = None  # pairs that the towers remember at a time; None: all of them
    keep_patches: float = 1.0  # share of the patches that the model is shown in training
    only_image: bool = False  # the words stay as the model that is begun with reads them

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise BadInput(f"chunks of {self.chunk} pairs are not possible; name at least one")
        if not 0 < self.keep_patches <= 1:
            raise BadInput(f"keep_patches lies above 0 and up to 1, not at {self.keep_patches}")
        if self.plan.accumulate > 1:
            raise BadInput("a batch of pairs is compared as a whole: use chunk, not accumulate")

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that a CLIP does not have."""
        towers = {"image": ViTConfig, "text": TextConfig}
        for tower, kind in towers.items():
            if not isinstance(given.get(tower, {}), Mapping):
                raise BadInput(f"[model]: {tower} is a table, [model.{tower}]")
            check_types(f"[model.{tower}]", kind, given.get(tower, {}))
        own = {name: value for name, value in given.items() if name not in towers}
        check_types("[model]", CLIPConfig, own)

    def check_beginning(self) -> None:
        """Refuse what begins with nothing; to words that nobody taught no picture can be put."""
        if self.only_image and self.start is None:
            raise BadInput(
                "only_image puts pictures to the words of a trained model: name one, "
                "--start clip-nano"
            )
        super().check_beginning()


def recipe_for(data: str) -> str:
    """The name of the recipe that fits a data set best."""
    return "clip-shapes" if data == "shapes" else "clip-pictures"


# --- a run --------------------------------------------------------------------------------------


def train_clip(
    pairs: Pairs,
    out: Path,
    recipe: ClipRecipe,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Start a run in a new folder; yields a report for every step."""
    where = own_device(pick_device(device))
    recipe.check_beginning()  # before the data, which may take long to come
    Run.check_new(out)
    begun = recipe.begun(load_clip, _BEGINNINGS)
    pictures, held_out = _load(pairs, recipe, progress)
    asked, recipe = recipe.plan.batch, _within(recipe, len(pictures), pairs.data)
    # A recipe that cannot be carried out must not leave a folder behind.
    model = build(recipe, pictures, begun=begun)
    one = torch.tensor([0])
    _shown(pictures, recipe, model, torch.device("cpu")).batch(one, one, recipe.plan.seed)
    settings = {
        "mmfm": 1,
        "train": "clip",
        **pairs.plain(_known(recipe)),
        "pictures": _described(pictures),
        "model": clip_settings(model),
        "recipe": recipe.plain(),
    }
    with (
        Team.joined(where),
        Run.start(out, settings) as run,
        closing(_train(run, model, pictures, held_out, recipe, where, stop)) as told,
    ):
        if run.writable:  # it goes on with the tokenizer that it began with, learned once
            assert model.tokenizer is not None  # or nothing could be said to it
            model.tokenizer.save(out)
        for report in told:
            if report.step.number == 1 and recipe.plan.batch < asked:
                note = f"batches of {recipe.plan.batch} pairs, not {asked}: there are no more"
                report.step.notes.insert(0, note)
            yield report


def resume_clip(
    out: Path,
    *,
    data: str | None = None,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Go on with a run from its last checkpoint; `changes` may set its end or its threads anew."""
    settings = Run.read_settings(out)
    where = own_device(pick_device(device))
    with Team.joined(where), Run.resume(out, "clip") as run:
        try:
            recipe = ClipRecipe.of(settings["recipe"])
            text = tuple(settings["text"])
            names = None if settings["names"] is None else Path(settings["names"])
            tokenizer = tokenizer_files.ours(out)
            begun = clip_from(settings["model"], tokenizer)
        except (KeyError, TypeError, ValueError, NotHere) as error:
            raise of_another_version(out, error) from error
        recipe = recipe.changed(changes or {})
        pairs = Pairs(run.data_now(data, known=_known(recipe)), text, names)
        pictures, held_out = _load(pairs, recipe, progress)
        run.go_on_with(pairs.data, _described(pictures))
        # The weights are in the checkpoint; without one it begins again, with those it began with.
        if not run.checkpoint.is_file():
            begun = build(recipe, pictures, tokenizer, recipe.begun(load_clip, _BEGINNINGS))
        yield from _train(run, begun, pictures, held_out, recipe, where, stop)


def _known(recipe: ClipRecipe) -> tuple[str, ...]:
    """Data that are no path; several sources lie in a folder, however it is called."""
    return () if recipe.sources else KNOWN


def _load(
    pairs: Pairs, recipe: ClipRecipe, progress: Callable[[int, int], None] | None
) -> tuple[_Pictures, _Pictures]:
    """What is learned from, and what is held out; a mixture holds out its own."""
    if recipe.sources:
        if pairs.text or pairs.names is not None:
            raise BadInput("this recipe says what its sources are called; no --text, no --names")
        assert recipe.size is not None  # or it would not be a recipe
        mixture = load_mixture(recipe.sources, pairs.data, size=recipe.size, progress=progress)
        return mixture, mixture
    pictures, held_out = load_captioned(
        pairs.data, size=recipe.size, text=pairs.text, names=pairs.names, progress=progress
    )
    if held_out is None:
        pictures, held_out = pictures.split(_HELD_OUT, recipe.plan.seed)
    if len(held_out) == 0:
        raise BadInput(f"{pairs.data}: {len(pictures)} pictures are too few to hold some out")
    return pictures, held_out


def _described(pictures: _Pictures) -> dict[str, Any]:
    """What is learned from, and what is said of it; what is held out may change."""
    if isinstance(pictures, Mixture):
        return pictures.described("\n".join(pictures.texts), pictures.truth)
    facts = [part for part in (pictures.labels, pictures.facts) if part is not None]
    said = "\n".join(pictures.texts), pictures.captions, pictures.offsets
    return description(pictures.images.shape, pictures.names, pictures.images, *said, *facts)


def _within(recipe: ClipRecipe, pictures: int, data: str) -> ClipRecipe:
    """The recipe with a batch in which no picture has to come twice."""
    team = int(os.environ.get("WORLD_SIZE", "1"))  # each process takes as many
    most = pictures // team * team
    if most < 2:
        raise BadInput(
            f"{data}: too few to train on ({pictures}): pictures are compared with one another"
        )
    return recipe.changed({"batch": most}) if recipe.plan.batch > most else recipe


def build(
    recipe: ClipRecipe,
    pictures: _Pictures,
    tokenizer: Tokenizer | None = None,
    begun: TwoTowers | None = None,
) -> CLIP:
    """The model with its first weights, which the seed decides, unless it has begun elsewhere.

    Its tokenizer is learned from what is said of the pictures, unless it is there already.
    """
    height, width, channels = _shape(pictures)
    if begun is not None:
        return _begin_with(begun, (height, width), recipe)
    half = (0.5,) * channels
    given: dict[str, Any] = (_SIGMOID if recipe.kind == "sigmoid" else {}) | dict(recipe.model)
    image: dict[str, Any] = {**given.pop("image", {}), "channels": channels}
    image["image_size"] = height, width
    text: dict[str, Any] = {
        "vocabulary": 1024,
        "context": 32,
        "pool": "end",
        **given.pop("text", {}),
    }
    if tokenizer is None:
        tokenizer = learn(pictures.texts, vocabulary=text["vocabulary"], context=text["context"])
    text["vocabulary"] = tokenizer.vocabulary
    if text["pool"] == "argmax":
        raise BadInput(
            "pool 'argmax' is for CLIP's own vocabulary, which ends on the end; use 'end'"
        )
    if text["pool"] == "end":
        text["end"] = tokenizer.frame.end[0]
    try:
        config = CLIPConfig(image=ViTConfig(**image), text=TextConfig(**text), **given)
    except TypeError as error:
        raise BadInput(f"the recipe's [model] does not fit a CLIP ({error})") from error
    model = CLIP(config, Preprocessing((height, width), half, half), tokenizer)
    model.reset(generator(recipe.plan.seed))
    return model


def _shape(pictures: _Pictures) -> tuple[int, ...]:
    shown = pictures.shape if isinstance(pictures, Mixture) else pictures.images.shape[1:]
    return tuple(shown)


def _begin_with(model: TwoTowers, sides: tuple[int, int], recipe: ClipRecipe) -> CLIP:
    """A trained model to go on with, with its own tokenizer."""
    name = recipe.start
    if not isinstance(model, CLIP) or model.tokenizer is None:
        raise BadInput(
            f"{name} cannot be trained on: it is no plain CLIP, or has no tokenizer; begin with "
            "another, or leave out --start"
        )
    if model.preprocessing.size != sides:
        height, width = model.preprocessing.size
        raise BadInput(
            f"{name} looks at {height}x{width} pixels, the data has {sides[0]}x{sides[1]}; --size "
            "brings it to its size"
        )
    if recipe.kind == "sigmoid" and model.bias is None:
        raise BadInput(f"{name} has no bias, which the sigmoid loss needs; use info_nce")
    return model


def _train(
    run: Run,
    model: CLIP,
    pictures: _Pictures,
    held_out: _Pictures,
    recipe: ClipRecipe,
    device: torch.device,
    stop: Callable[[], bool],
) -> Generator[Report]:
    if recipe.only_image:  # Zhai et al. 2022
        for name, weight in model.named_parameters():
            weight.requires_grad_(not name.startswith(("text.", "text_projection.")))
    averaged = copy.deepcopy(model)

    def hold_scale() -> None:
        if recipe.kind == "info_nce":
            model.scale.data.clamp_(max=_HIGHEST_SCALE)

    truth = pictures.truth.to(device) if isinstance(pictures, Mixture) else None
    steps = fit(
        model,
        _shown(pictures, recipe, model, device),
        contrastive_loss(recipe.kind, chunk=recipe.chunk, truth=truth),
        recipe.plan,
        averaged=averaged,
        # Muon takes the matrices inside the blocks; the first and last layers are AdamW's.
        matrices=[
            name
            for name, p in model.named_parameters()
            if name.startswith(("image.blocks.", "text.blocks."))
            and p.ndim == 2
            and p.requires_grad
        ],
        run=run,
        device=device,
        stop=stop,
        after_step=hold_scale,
    )
    yield from reports(
        steps,
        run,
        measure=lambda count: measure(averaged, held_out, count),
        held_out=_held_out(held_out),
        # Half precision is as exact as seeing needs it; a checkpoint holds all of it.
        save=lambda: save_clip(averaged, run.folder, dtype=torch.float16),
        # Both parts of one set that was split name the same files.
        skipped=tuple(dict.fromkeys(pictures.skipped + held_out.skipped)),
    )


def _shown(pictures: _Pictures, recipe: ClipRecipe, model: CLIP, device: torch.device) -> Examples:
    if isinstance(pictures, Mixture):
        return ShownMixture(pictures.to(device), recipe, model)
    return Shown(pictures, recipe, model)


class Shown:
    """The training pairs: pictures varied anew, with another of their captions, each time."""

    def __init__(self, pictures: CaptionedPictures, recipe: ClipRecipe, model: CLIP) -> None:
        assert model.tokenizer is not None
        self.pictures, self.recipe, self.preprocessing = pictures, recipe, model.preprocessing
        self.ids = _tokenized(model.tokenizer, pictures.texts)
        self.patches = math.prod(model.config.image.grid)
        self.short = _Short(model)
        self.groups = torch.arange(len(pictures.texts))
        if pictures.meanings is not None:
            self.groups = pictures.meanings.unique(dim=0, return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        images = self.preprocessing.normalise(self.pictures.images[index])
        offsets = self.pictures.offsets
        count = offsets[index + 1] - offsets[index]
        # In float64, because a float32 just below 1, times a count, may round up to the count.
        lot = uniform(seed, epoch, index, 1, stream=_CAPTION).squeeze(1).double()
        text = self.pictures.captions[offsets[index] + (lot * count).long()]
        labels = self.pictures.labels
        ids = self.short(self.ids[text].long())
        batch = {
            "images": augment(images, self.recipe.augment, seed, epoch, index),
            "ids": ids,
            # Pairs that say the same of their pictures are no wrong answers to each other.
            "groups": self.groups[text] if labels is None else labels[index],
        }
        return batch | _kept(self.recipe, self.patches, seed, epoch, index)


class ShownMixture:
    """Pictures of several sources, each time varied anew and said in other words."""

    def __init__(self, mixture: Mixture, recipe: ClipRecipe, model: CLIP) -> None:
        assert model.tokenizer is not None
        self.mixture, self.recipe = mixture, recipe
        self.preprocessing, self.tokenizer = model.preprocessing, model.tokenizer
        self.rows: dict[str, Tensor] = {}  # of what was said so far: the same is said often
        self.patches = math.prod(model.config.image.grid)
        self.short = _Short(model)

    def __len__(self) -> int:
        return len(self.mixture)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        drawn = self.mixture.draw(index, epoch, seed)
        captions, words = self.mixture.say(drawn, index, epoch, seed)
        batch = {
            "images": self.mixture.show(drawn, index, epoch, seed, self.preprocessing),
            "ids": self.short(self.tokenized(captions)),
            "groups": drawn.kinds,
            "said": words,
        }
        return batch | _kept(self.recipe, self.patches, seed, epoch, index)

    def tokenized(self, captions: Sequence[str]) -> Int64[Tensor, "b n"]:
        """These captions as rows of numbers, each cut into pieces the first time that it occurs."""
        fresh = [caption for caption in dict.fromkeys(captions) if caption not in self.rows]
        if fresh:
            self.rows.update(zip(fresh, self.tokenizer(fresh).int(), strict=True))
        return torch.stack([self.rows[caption] for caption in captions]).long()


class _Short:
    """Cuts off padding that nothing looks at.

    Where a token looks only at those before it, what stands behind the longest text of a batch
    changes nothing, and costs as much as the text.
    """

    def __init__(self, model: CLIP) -> None:
        assert model.tokenizer is not None
        c, frame = model.config.text, model.tokenizer.frame
        self.padding_is_unseen = c.causal and c.pool != "last"
        self.pad = frame.pad
        # Some pad with the mark of the end, which must stay behind the longest text as well.
        self.ends = len(frame.end) if frame.pad in frame.end else 0

    def __call__(self, ids: Int64[Tensor, "b n"]) -> Int64[Tensor, "b m"]:
        if not self.padding_is_unseen:
            return ids
        longest = int((ids != self.pad).any(dim=0).nonzero().max()) + 1
        return ids[:, : longest + self.ends]


def _kept(
    recipe: ClipRecipe,
    patches: int,
    seed: int,
    epoch: Int64[Tensor, " b"],
    index: Int64[Tensor, " b"],
) -> Batch:
    """Which patches of each picture are looked at, where not all are."""
    kept = max(1, round(recipe.keep_patches * patches))
    if kept == patches:
        return {}
    lots = uniform(seed, epoch, index, patches, stream=_KEEP)
    return {"keep": lots.argsort(dim=1).argsort(dim=1) < kept}


def _tokenized(tokenizer: Tokenizer, texts: tuple[str, ...]) -> Tensor:
    """All texts as rows of numbers, once; in 32 bits, for there may be millions."""
    parts = [texts[start : start + 4096] for start in range(0, len(texts), 4096)]
    return torch.cat([tokenizer(part).int() for part in parts])


# --- how good it is -----------------------------------------------------------------------------


def measure(model: TwoTowers, pictures: _Pictures, count: int | None = None) -> Scores:
    """What the model makes of pictures that it was not trained on; `count` of them, spread evenly.

    `zero-shot` asks each picture for its class among all, where there are classes; `text R@k` for a
    caption that is true of it among all captions of these pictures; `picture R@k` asks each caption
    for a picture of which it is true. Is one among the first k? Of a mixture each held-out part is
    asked in its own way, `count` pictures of each.
    """
    if isinstance(pictures, Mixture):
        return _examined(model, pictures, count)
    chosen = torch.linspace(0, len(pictures) - 1, count or len(pictures)).round().long()
    some = pictures.select(chosen)
    image = encode_pictures(model, some)
    scores: Scores = {}
    if some.labels is not None and some.prompts:
        own_class = torch.stack([torch.arange(len(some)), some.labels], dim=1)
        (scores["zero-shot"],) = recall(
            image, class_vectors(model, some.prompts).cpu(), own_class, at=(1,)
        )
    text = model.encode_text(some.texts).cpu()
    pairs = _true_pairs(some)
    (scores["text R@1"], text_at_5) = recall(image, text, pairs)
    (scores["picture R@1"], picture_at_5) = recall(text, image, pairs.flip(1))
    return scores | {"text R@5": text_at_5, "picture R@5": picture_at_5}


def _examined(model: TwoTowers, mixture: Mixture, count: int | None) -> Scores:
    """The share of right answers to each sort of question, over all galleries."""
    right: dict[str, list[Tensor]] = {}
    for outcome in examine(model, mixture, count):
        name = f"{outcome.title} {outcome.measure} {outcome.language}"
        right.setdefault(name, []).append(outcome.right)
    return {name: float(torch.cat(several).double().mean()) for name, several in right.items()}


def _held_out(pictures: _Pictures) -> int:
    """How many pictures there are to be asked about."""
    if isinstance(pictures, Mixture):
        return sum(len(part.kinds) for part in pictures.held_out)
    return len(pictures)


def encode_pictures(model: TwoTowers, pictures: CaptionedPictures) -> Float[Tensor, "n d"]:
    """Unit rows of pictures that lie in memory."""
    parts = pictures.images.split(250)
    return torch.cat([model.encode_image(model.preprocessing.normalise(p)).cpu() for p in parts])


def _true_pairs(pictures: CaptionedPictures) -> Int64[Tensor, "p 2"]:
    """Every pair of a picture and a text that is true of it, by their numbers."""
    texts = torch.arange(len(pictures.texts))
    pairs: list[Tensor] = []
    for some in torch.arange(len(pictures)).split(250):  # the whole table may not fit
        picture, text = pictures.fits(some, texts).nonzero().unbind(dim=1)
        pairs.append(torch.stack([some[picture], text], dim=1))
    return torch.cat(pairs)
