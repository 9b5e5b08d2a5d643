"""Teach a denoiser to draw what is said of a picture, in whatever language its names are in.

    mmfm train draw --data DATA --recipe emoji-nano --clip clip-nano --out runs/emoji-nano

Pictures and what is said of them come from a recipe's sources (`mmfm.data.mixture`). The words are
read by the text tower of a CLIP, which stays as it is: so each text that can be said is read once,
before the first step. Beside the words the denoiser is told whose hand draws, where the data says
that. At times it is not told the one or the other, each independently: so it can be guided to both.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmfm import hub
from mmfm.data.decode import check_size
from mmfm.data.draws import generator, key
from mmfm.data.mixture import Mixture, load_mixture
from mmfm.data.pictures import Preprocessing
from mmfm.diffusion import objectives
from mmfm.diffusion.schedules import TIMES
from mmfm.errors import BadInput, BadRun, NotHere
from mmfm.machine import pick_device
from mmfm.models.checkpoints import (
    denoiser_from,
    denoiser_settings,
    load_clip,
    load_denoiser,
    save_denoiser,
)
from mmfm.models.clip import CLIP
from mmfm.models.denoiser import Denoiser, DenoiserConfig, Told
from mmfm.models.words import Read, Reader
from mmfm.reports import Report, drawn_reports
from mmfm.runs import Run, absolute, of_another_version
from mmfm.tasks.generate import Order, Sampling, order
from mmfm.tasks.train_diffusion import (
    COLUMNS,
    FILES,
    ROWS,
    SIDES,
    DiffusionRecipe,
    DrawingRecipe,
    Sheets,
)
from mmfm.team import Team, own_device
from mmfm.train import Batch, Loss, fit

CLIP_NANO = "clip-nano"  # reads the words unless another CLIP is named

_BEGINNINGS = "a run of mmfm train draw"
_DRAWS = 4  # the stream of draws: noise, times, what is not told
_AT_ONCE = 256  # texts that are read

# For whoever opens the folder of a run, in its run.json.
_ABOUT = "A denoiser that draws what is said: mmfm train draw. In Python: mmfm.load_denoiser"
_FILES = FILES | {
    "run.json": "this: what is trained, on what, by which recipe, and which CLIP reads the words",
    "config.json": "the network, the hands it knows, whose words it reads, how it draws best",
    "grids/": "what it drew after so many steps, a column a prompt, a row a hand",
}


# --- the recipe -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DrawRecipe(DrawingRecipe):
    """How a denoiser is taught to draw what is said; [model] has fields of DenoiserConfig."""

    KIND: ClassVar[str] = "emoji"
    MIXES: ClassVar[bool] = True

    clip: str = CLIP_NANO  # whose text tower reads the words
    prompts: tuple[str, ...] = ()  # drawn while it learns; none named: some names out of the data
    drop_words: float = 0.1  # share of the pictures of which it is told nothing in words,
    drop_label: float = 0.2  # and of those whose hand it is not told

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.drop_words <= 1:
            raise BadInput(f"drop_words is a share from 0 to 1, not {self.drop_words}")
        if not self.sources:
            raise BadInput("who learns to draw what is said needs [[sources]] that say something")
        check_size(self.size, SIDES)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """A recipe from its plain form, which may name a CLIP and prompts."""
        rest = dict(content)
        clip, prompts = rest.pop("clip", CLIP_NANO), rest.pop("prompts", [])
        if not isinstance(clip, str):
            raise BadInput(f"a recipe's clip is the name of a model, not {clip!r:.60}")
        if not isinstance(prompts, list) or not all(isinstance(text, str) for text in prompts):
            raise BadInput(f"a recipe's prompts are a list of texts, not {prompts!r:.60}")
        return replace(super().of(rest), clip=clip, prompts=tuple(prompts))

    def plain(self) -> dict[str, Any]:
        """The other way: what `of` reads."""
        return super().plain() | {"clip": self.clip, "prompts": list(self.prompts)}

    @classmethod
    def _loss_fields(cls) -> list[str]:
        return [name for name in super()._loss_fields() if name not in ("clip", "prompts")]

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that a denoiser does not have, or that its CLIP decides."""
        if decided := [name for name in given if name.startswith("text_")]:
            raise BadInput(f"[model]: {decided[0]} is as the CLIP has it; leave it out")
        DiffusionRecipe.check_model(given)


# --- a run ----------------------------------------------------------------------------------------


def train_draw(
    data: str,
    out: Path,
    recipe: DrawRecipe,
    *,
    clip: str | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Start a run in a new folder; yields a report for every step.

    `clip` reads the words, in place of the one that the recipe names.
    """
    where = own_device(pick_device(device))
    Run.check_new(out)  # before the data, which may take long to come
    recipe = replace(recipe, clip=absolute(clip or recipe.clip, known=hub.bundled()))
    begun = recipe.begun(load_denoiser, _BEGINNINGS)
    lesson = _prepared(data, recipe, where, progress, stop)
    # A recipe that cannot be carried out must not leave a folder behind.
    model, one, prompts = _build(recipe, lesson, begun), torch.tensor([0]), _prompts(recipe, lesson)
    Shown(lesson, recipe, model, torch.device("cpu")).batch(one, one, recipe.plan.seed)
    Prompted(model, lesson.reader, prompts).asked(recipe.sampling)
    settings: dict[str, Any] = {
        "mmfm": 1,
        "train": "draw",
        "about": _ABOUT,
        "files": _FILES,
        "data": absolute(data),
        "pictures": _described(lesson),
        "words": lesson.reader.fingerprint,
        "prompts": list(prompts),
        "model": denoiser_settings(model),
        "recipe": recipe.plain(),
    }
    with Team.joined(where), Run.start(out, settings) as run:
        yield from _train(run, model, lesson, recipe, where, stop)


def resume_draw(
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
    with Team.joined(where), Run.resume(out, "draw") as run:
        try:
            recipe = DrawRecipe.of(settings["recipe"])
            words = str(settings["words"])
            begun = denoiser_from(settings["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise of_another_version(out, error) from error
        recipe = recipe.changed(changes or {})
        data = run.data_now(data)
        lesson = _prepared(data, recipe, where, progress, stop)
        if lesson.reader.fingerprint != words:
            raise BadRun(
                f"{out}: {recipe.clip} is not the CLIP that it was, whose words the run learned "
                "to read; put it back, or start a new run"
            )
        run.go_on_with(data, _described(lesson), _told)
        # The weights are in the checkpoint; without one it begins again, with those it began with.
        if not run.checkpoint.is_file():
            begun = _build(recipe, lesson, recipe.begun(load_denoiser, _BEGINNINGS))
        yield from _train(run, begun, lesson, recipe, where, stop)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned from: pictures, who reads what is said of them, and all that it has read."""

    mixture: Mixture
    reader: Reader
    said: "Said"


def _prepared(
    data: str,
    recipe: DrawRecipe,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
    stop: Callable[[], bool],
) -> Lesson:
    reader = _reader(recipe.clip, device)  # first: it is quick to say that it is not there
    assert recipe.size is not None  # or it would not be a recipe
    mixture = load_mixture(recipe.sources, data, size=recipe.size, progress=progress)
    return Lesson(mixture, reader, Said(reader, mixture.sayable, stop))


def _reader(name: str, device: torch.device) -> Reader:
    """The text tower of a CLIP, and nothing else of it."""
    try:
        clip = load_clip(name, towers="text", device=str(device))
    except BadInput as error:
        raise BadInput(
            f"{name} cannot read what is said; name a CLIP with --clip ({error})"
        ) from error
    except NotHere as error:
        raise NotHere(
            f"the words are read by {name}, which is not here: a new run may name another CLIP "
            f"with --clip, one that goes on needs it back ({error})"
        ) from error
    if not isinstance(clip, CLIP):
        raise BadInput(
            f"{name} cannot read what is said: its text tower is no plain transformer; name "
            "another CLIP with --clip"
        )
    return Reader(clip)


def _described(lesson: Lesson) -> dict[str, Any]:
    """What a run learns from, in a few words and a checksum by which any change is noticed."""
    mixture, texts = lesson.mixture, list(lesson.said.rows)
    return {
        "count": len(mixture),
        "side": mixture.shape[0],
        "kinds": sum(len(shown.unique()) for shown in mixture.shown),
        "hands": list(mixture.drawers),
        "texts": len(texts),
        "sha256": mixture.described("\n".join(texts), *mixture.hands)["sha256"],
    }


def _told(pictures: Mapping[str, Any]) -> str:
    start = str(pictures["sha256"])[:8]
    return (
        f"{pictures['count']} pictures of {pictures['kinds']} kinds and {pictures['texts']} texts "
        f"({start})"
    )


def _prompts(recipe: DrawRecipe, lesson: Lesson) -> tuple[str, ...]:
    """What is drawn while it learns: what the recipe says, else names in each language in turn."""
    if recipe.prompts:
        return recipe.prompts
    mixture = lesson.mixture
    learned = torch.cat([shown.unique() for shown in mixture.shown])
    chosen = learned[torch.linspace(0, len(learned) - 1, COLUMNS).round().long()].tolist()
    names: dict[str, None] = {}
    for number, kind in enumerate(chosen):
        several = list(mixture.kinds[kind].names.values())
        names[several[number % len(several)][0]] = None
    return tuple(names)


def _build(recipe: DrawRecipe, lesson: Lesson, begun: Denoiser | None = None) -> Denoiser:
    """The model with its first weights, which the seed decides, unless it has begun elsewhere."""
    mixture, reader = lesson.mixture, lesson.reader
    if begun is not None:
        return _begin_with(begun, recipe, lesson)
    fixed: dict[str, Any] = {
        "image_size": mixture.shape[0],
        "channels": mixture.shape[2],
        "classes": len(mixture.drawers),
        "text_dim": reader.dim,
        "text_context": reader.context,
        "text_model": reader.fingerprint,
    }
    try:
        config = DenoiserConfig(**{**recipe.model, **fixed})
    except TypeError as error:
        raise BadInput(f"the recipe's [model] does not fit a denoiser ({error})") from error
    model = Denoiser(config, mixture.drawers, asdict(recipe.sampling), reads=recipe.clip)
    model.reset(generator(recipe.plan.seed))
    return model


def _begin_with(model: Denoiser, recipe: DrawRecipe, lesson: Lesson) -> Denoiser:
    """A trained model to go on with, of the same size, words and hands."""
    mixture, c = lesson.mixture, model.config
    if not model.ours or c.jumps != "none" or not c.text_dim:
        raise BadInput(
            f"{recipe.start} does not draw what is said: begin with a run of mmfm train draw"
        )
    side, _, channels = mixture.shape
    if (c.image_size, c.channels) != (side, channels):
        raise BadInput(
            f"{recipe.start} draws {c.image_size}x{c.image_size} pixels in {c.channels} channels, "
            f"the data has {side}x{side} and {channels}; --size brings it to its size"
        )
    if c.text_model != lesson.reader.fingerprint:
        raise BadInput(
            f"{recipe.start} reads the words of another CLIP than {recipe.clip}; name its own, "
            f"--clip {model.reads}"
        )
    if model.labels != mixture.drawers:
        known, new = (", ".join(names) or "none" for names in (model.labels, mixture.drawers))
        raise BadInput(
            f"{recipe.start} knows the hands {known}, the data has {new}; leave out --start"
        )
    model.sampling, model.reads = asdict(recipe.sampling), recipe.clip
    return model


def _train(
    run: Run,
    model: Denoiser,
    lesson: Lesson,
    recipe: DrawRecipe,
    device: torch.device,
    stop: Callable[[], bool],
) -> Iterator[Report]:
    averaged = copy.deepcopy(model)
    prompts = _prompts(recipe, lesson)
    steps = fit(
        model,
        Shown(lesson, recipe, model, device),
        _loss(model),
        recipe.plan,
        averaged=averaged,
        matrices=model.matrices(),
        run=run,
        device=device,
        stop=stop,
    )
    told = drawn_reports(
        steps,
        run,
        drawings=Prompted(averaged, lesson.reader, prompts),
        # Half precision is as exact as drawing needs it; a checkpoint holds all of it.
        save=lambda: save_denoiser(averaged, run.folder, dtype=torch.float16),
        skipped=lesson.mixture.skipped,
    )
    notes = lesson.reader.notes(prompts)
    with closing(told):
        for report in told:
            report.step.notes += notes
            notes = []
            yield report


# --- what the model is shown, and asked -----------------------------------------------------------


class Said:
    """Every text that can be said, as a text tower has read it once.

    The tokens lie one behind the other, without padding, in half precision: tens of thousands of
    texts take less room than the pictures of a large set.
    """

    def __init__(
        self, reader: Reader, texts: Sequence[str], stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.rows = {text: row for row, text in enumerate(texts)}
        tokens: list[Tensor] = []
        lengths: list[Tensor] = []
        for start in range(0, len(texts), _AT_ONCE):
            if stop():  # there is no run as yet that could be gone on with
                raise KeyboardInterrupt
            read = reader(texts[start : start + _AT_ONCE])
            tokens.append(read.words[read.seen].half())
            lengths.append(read.seen.sum(dim=1))
        self.tokens, self.lengths = torch.cat(tokens), torch.cat(lengths)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def to(self, device: torch.device) -> Self:
        """The same where it is computed with."""
        moved = copy.copy(self)
        for name in ("tokens", "lengths", "starts"):
            setattr(moved, name, getattr(self, name).to(device))
        return moved

    def __call__(self, texts: Sequence[str]) -> Read:
        """The tokens of these texts, padded to the longest of them."""
        rows = torch.tensor([self.rows[text] for text in texts], device=self.tokens.device)
        lengths = self.lengths[rows][:, None]  # b 1
        place = torch.arange(int(lengths.max()), device=rows.device)  # m
        seen = place < lengths  # b m
        words = self.tokens[self.starts[rows][:, None] + torch.where(seen, place, 0)]  # b m d
        return Read(words.float() * seen[..., None], seen)


class Shown:
    """The training pictures, each time under other noise and said in other words.

    All that a batch draws comes from one generator, whose seed is the address of its first picture;
    what is said, and how a picture is varied, is the mixture's to draw by addresses of their own.
    """

    def __init__(
        self, lesson: Lesson, recipe: DrawRecipe, model: Denoiser, device: torch.device
    ) -> None:
        self.recipe, self.null, self.device = recipe, model.null, device
        # Where they are computed with: then little has to be moved at any step.
        self.mixture, self.said = lesson.mixture.to(device), lesson.said.to(device)
        half = (0.5,) * 3
        self.preprocessing = Preprocessing(lesson.mixture.shape[:2], half, half)  # from -1 to 1
        self.random = torch.Generator(device)

    def __len__(self) -> int:
        return len(self.mixture)

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        drawn = self.mixture.draw(index, epoch, seed)
        captions, _ = self.mixture.say(drawn, index, epoch, seed)
        images = self.mixture.show(drawn, index, epoch, seed, self.preprocessing)
        words, seen = self.said(captions)
        random = self.random.manual_seed(key(seed, int(epoch[0]), int(index[0]), stream=_DRAWS))
        noise = torch.randn(images.shape, generator=random, device=self.device)
        t = TIMES[self.recipe.times](len(index), random)
        lots = torch.rand(2, len(index), generator=random, device=self.device)
        hands = self.mixture.drawn_by(drawn).to(self.device)
        untold = (hands < 0) | (lots[0] < self.recipe.drop_label)
        return {
            "images": images,
            "noise": noise,
            "t": t,
            "kinds": torch.where(untold, self.null, hands),
            "words": words,
            "seen": seen,
            "silent": lots[1] < self.recipe.drop_words,
        }


def _loss(model: Denoiser) -> Loss:
    c = model.config

    def loss(network: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        told = Told(batch["kinds"], batch["words"], batch["seen"])
        return objectives.loss(
            network,
            batch["images"],
            batch["noise"],
            batch["t"],
            model.silent(told, batch["silent"]),  # what silence is, is learned too
            objective=c.objective,
            schedule=c.schedule,
        )

    return loss


# --- what it draws --------------------------------------------------------------------------------


class Prompted(Sheets):
    """What the model makes of some prompts, a column each, from noises that are always the same.

    A row is a hand: first none in particular, then those it knows, as far as there is room.
    """

    wide = 660  # ten pictures of 32x32, twice as large

    def __init__(self, model: Denoiser, reader: Reader, prompts: Sequence[str]) -> None:
        super().__init__(model)
        self.reader, self.prompts = reader, list(prompts)
        self.columns = len(prompts)
        hands: list[str | None] = [None, *model.labels][:ROWS]
        rows = [hands[row % len(hands)] for row in range(ROWS)]
        self.hands = [hand for hand in rows for _ in prompts]

    def asked(self, how: Sampling) -> Order:
        """What is drawn on a sheet, row by row."""
        return order(
            self.model,
            self.hands if self.model.labels else None,
            prompt=self.prompts,
            reader=self.reader,
            count=len(self.hands),
            seed=0,
            how=how,
            warn=lambda line: None,  # it was said at the beginning
        )
