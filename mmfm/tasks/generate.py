"""Pictures out of noise: what a denoiser has learned to draw, step by step or by the thousand.

    for step in generate(den, labels=[3, 7], steps=20, sampler="dpm++", guidance=2.0, seed=0):
        step.t, step.x0, step.x  # a time, the guess of the pictures then, what the step makes of it
    for done, images in samples(den, count=10_000):
        images                           # finished pictures as they are kept: bytes
    for step in generate(emoji, prompt=["red heart", "웃는 얼굴"]):
        ...                              # of a model that reads words

Labels are taken in turn: the pictures of [3, 7] show 3, 7, 3, 7 and so on. So are prompts, beside
them: the first picture is of the first prompt and the first label. A picture's noise, that of the
start and that of each step, depends on the seed and on the picture's number alone: to ask for more
adds pictures and changes none, in whatever batches they are made.

Shapes: b pictures, c channels, y x pixels.
"""

import itertools
import math
import operator
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch import Tensor

from mmfm import keepsakes, plot
from mmfm.data.draws import normal
from mmfm.diffusion.course import Course, course
from mmfm.diffusion.few_steps import by_way_of_pictures
from mmfm.diffusion.guidance import guided
from mmfm.diffusion.samplers import SAMPLERS, Jumper, Step, euler, jump
from mmfm.errors import BadInput
from mmfm.files import write_named, write_whole
from mmfm.models.denoiser import Condition, Denoiser, Told, pieces
from mmfm.models.reading import some
from mmfm.models.words import Reader, check_reader, reader_for
from mmfm.recipes import check_types

Label = int | str | None  # a label's name, its number if no name is one, or no label at all
Prompt = str | Sequence[str]  # what is to be drawn, in words: one text, or several
Progress = Callable[[int, int], None]  # (done, total)
Via = Callable[..., Iterator[Step]]  # walks in place of a sampler, which it is called with

JUMP = "jump"  # the sampler of models that were made for few steps

_NOISE = 3  # the stream of draws; the pictures that a training varies have others
_MOST_STEPS = 10_000
_MOST_GUIDANCE = 1000  # far beyond what makes pictures, and near enough that numbers stay finite
_PIXELS_AT_ONCE = 200_000  # 250 digits: enough to keep a processor busy, and little memory
_SHEET_PIXELS = 2**26  # of all frames together; more is not looked at but browsed
_LONG = 8192  # pixels: no sheet is enlarged beyond that
_FILM_SIDE = 65_535  # pixels: GIF knows no longer ones
_GAP = 1  # between the pictures of a sheet
_FRAMES = 60  # of a film
_EACH = 10  # pictures of a label, unless said otherwise
_UNLABELLED = 16  # pictures of a model without labels
_LETTERS = 2000  # of a prompt; no text tower reads as many


# --- how ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sampling:
    """How noise is turned into pictures."""

    sampler: str = "euler"
    steps: int = 16  # in each the network is asked once, by heun twice but for the last
    guidance: float = 1.0  # 1: as the network says; more: truer to the label, and less varied
    interval: tuple[float, float] = (0.0, 1.0)  # guidance acts between these times only
    rescale: float = 0.0  # share of the contrast that guidance adds which is taken away again

    def __post_init__(self) -> None:
        known = (*SAMPLERS, JUMP)
        if self.sampler not in known:
            raise BadInput(f"no sampler {self.sampler!r}: there are {', '.join(known)}")
        steps = _whole(self.steps)
        if steps is None or not 1 <= steps <= _MOST_STEPS:
            raise BadInput(f"{self.steps} steps: from 1 to {_MOST_STEPS:,} lead to a picture")
        if not _is_number(self.guidance) or not 0 <= self.guidance <= _MOST_GUIDANCE:
            raise BadInput(
                f"guidance of {self.guidance}: it is a number from 0 to {_MOST_GUIDANCE:,}; 1 "
                "leaves the model as it is, 2 is strong"
            )
        if not _are_times(self.interval):
            raise BadInput(
                f"guidance between times {self.interval}: name two from 0 (picture) to 1 (noise), "
                "the lower one first"
            )
        if not _is_number(self.rescale) or not 0 <= self.rescale <= 1:
            raise BadInput(f"rescale of {self.rescale}: it is a share from 0 to 1")
        # Numpy's numbers are taken, too, but could not be written down.
        low, high = self.interval
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "guidance", float(self.guidance))
        object.__setattr__(self, "interval", (float(low), float(high)))
        object.__setattr__(self, "rescale", float(self.rescale))

    @property
    def counted(self) -> str:
        """Its steps, for a person."""
        return "1 step" if self.steps == 1 else f"{self.steps} steps"


def _is_number(value: object) -> bool:
    """Settings may come from a file that somebody has written."""
    return isinstance(value, Real) and math.isfinite(value)


def _are_times(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_number, value)):
        return False
    return 0 <= value[0] < value[1] <= 1


def chosen(
    den: Denoiser,
    *,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float | None = None,
) -> Sampling:
    """What was asked for, and the rest as this model samples best."""
    said: dict[str, Any] = {
        "steps": steps,
        "sampler": sampler,
        "guidance": guidance,
        "interval": interval,
        "rescale": rescale,
    }
    check_types(f"the sampling of {_called(den)}", Sampling, den.sampling)
    first = {} if den.config.jumps == "none" else {"sampler": JUMP}
    best: dict[str, Any] = {
        **first,
        **den.sampling,
        **{name: value for name, value in said.items() if value is not None},
    }
    if isinstance(best.get("interval"), list):  # JSON knows no tuples
        best["interval"] = tuple(best["interval"])
    how = Sampling(**best)
    _check_sampler(den, how)
    if guidance not in (None, 1) and not den.config.classes and not den.config.text_dim:
        raise BadInput(
            f"guidance of {guidance}: {_called(den)} knows no labels that it could be guided to"
        )
    if how.guidance != 1:
        _ = den.null  # refused by a model that was never shown pictures without their label
    return how


def samplers_of(den: Denoiser) -> tuple[str, ...]:
    """What this model can be drawn with: by jumps if it was made for few steps, else all others."""
    return tuple(SAMPLERS) if den.config.jumps == "none" else (JUMP,)


def _check_sampler(den: Denoiser, how: Sampling) -> None:
    if how.sampler in samplers_of(den):
        return
    if how.sampler == JUMP:
        raise BadInput(
            f"sampler {JUMP}: {_called(den)} only knows small steps; mmfm train few-steps makes a "
            f"model of it that jumps, and there are {', '.join(SAMPLERS)}"
        )
    raise BadInput(
        f"sampler {how.sampler}: {_called(den)} was made for few steps, and draws by {JUMP} alone"
    )


def steps_taught(den: Denoiser) -> tuple[int, ...]:
    """In how many steps a model was taught to draw; (): it draws in any number.

    Of one that does not say it, those are taken that lead by stops of the way it draws best by.
    """
    if den.config.jumps != "anywhere":  # each step of a consistency model leads to the picture
        return ()
    if den.taught is not None or "steps" not in den.sampling:
        return den.taught or ()
    best = chosen(den).steps
    return tuple(steps for steps in range(1, best + 1) if best % steps == 0)


def _check_steps(den: Denoiser, how: Sampling, warn: Callable[[str], None]) -> None:
    """Say that a model for few steps is asked for jumps of a length that it never made."""
    taught = steps_taught(den)
    if taught and how.steps not in taught:
        *few, last = map(str, taught)
        known = f"{', '.join(few)} or {last}" if few else last
        many = "step" if known == "1" else "steps"
        warn(
            f"{_called(den)} was taught to draw in {known} {many}, and never in {how.steps}: what "
            "comes of that may be worse"
        )


# --- what -----------------------------------------------------------------------------------------


def names_of(den: Denoiser) -> tuple[str, ...]:
    """What the model's labels are called; those without a name by their numbers."""
    return den.labels or tuple(str(number) for number in range(den.config.classes))


def label_numbers(den: Denoiser, labels: Iterable[Label] | Label) -> tuple[int, ...]:
    """The numbers of labels that are given by name, by number, or as a range: "0-9".

    Of a model that knows digits, 3 is the digit three, however few of them it knows. Without any:
    all that the model has. None is no label, as the model was now and then shown it.
    """
    names = names_of(den)
    if labels is None:
        return tuple(range(len(names)))
    if not names:
        raise BadInput(f"labels: {_called(den)} was trained without any; leave them out")
    given = [labels] if isinstance(labels, str) or not isinstance(labels, Iterable) else labels
    found = [number for label in given for number in _numbers(den, names, label)]
    if not found:
        raise BadInput(f"an empty list of labels; {_known(names)}")
    return tuple(found)


def _numbers(den: Denoiser, names: Sequence[str], label: Label) -> Iterator[int]:
    if label is None:
        yield den.null
        return
    number = _whole(label)
    called = label if isinstance(label, str) else "" if number is None else str(number)
    if called in names:
        yield names.index(called)
    elif ends := re.fullmatch(r"(\d{1,9})\s*-\s*(\d{1,9})", called):
        first, last = int(ends[1]), int(ends[2])
        if last < first:
            raise BadInput(f"labels {label}: a range goes up, {last}-{first}")
        for number in range(first, last + 1):
            yield from _numbers(den, names, str(number))
    elif _is_place(called, names):
        yield int(called)
    else:
        raise BadInput(f"no label {label!r:.60} in {_called(den)}; {_known(names)}")


def _is_place(called: str, names: Sequence[str]) -> bool:
    """Labels can be counted, unless that might be taken for a name: a 1 of models of 3 and 7."""
    counted = re.fullmatch(r"\d{1,9}", called) and not any(name.isdecimal() for name in names)
    return bool(counted) and int(called) < len(names)


def crossed(
    den: Denoiser, labels: Iterable[Label] | Label, prompts: Prompt
) -> tuple[str | None, ...]:
    """Labels beside which each prompt is drawn with each label: first all prompts with one."""
    called = dict(enumerate(names_of(den)))
    count = len(_several(prompts))
    return tuple(called.get(number) for number in label_numbers(den, labels) for _ in range(count))


def prompts_of(den: Denoiser, prompt: Prompt | None) -> tuple[str, ...]:
    """Prompts, one or several, held against what the model can read; () where there are none."""
    if prompt is None:
        return ()
    given = _several(prompt)
    if not given:
        raise BadInput("an empty list of prompts; say what is to be drawn, or leave it out")
    if not den.config.text_dim:
        known = _known(names_of(den)) if den.config.classes else "it has no labels either"
        raise BadInput(f"prompt {given[0]!r:.60}: {_called(den)} reads no words; {known}")
    for text in given:
        _check_prompt(text)
    return tuple(given)


def _several(prompt: Any) -> list[Any]:
    one = isinstance(prompt, str) or not isinstance(prompt, Iterable)
    return [prompt] if one else list(prompt)


def _check_prompt(text: Any) -> None:
    if not isinstance(text, str):
        raise BadInput(f"a prompt is a text, not {type(text).__name__}: {text!r:.60}")
    if not text.strip():
        raise BadInput("an empty prompt: say what is to be drawn, or leave the prompt out")
    if len(text) > _LETTERS:
        raise BadInput(
            f"a prompt of {len(text):,} letters, {text[:40]!r}…: say it in {_LETTERS:,} at most"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"prompt {text!r:.60}: no text, for halves of letters are in it") from error


def _whole(value: Any) -> int | None:
    """A whole number, numpy's and torch's too."""
    if isinstance(value, bool | str):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _known(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    shown = [f'"{name}"' if "," in name else name for name in names[:most]]
    return f"it knows {', '.join(shown)}{more}"


def _called(den: Denoiser) -> str:
    return den.name or "this model"


# --- the order ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be drawn, held against what the model can do."""

    den: Denoiser
    kinds: tuple[int, ...]  # the labels' numbers, taken in turn; none for a model without
    count: int
    seed: int
    how: Sampling
    prompts: tuple[str, ...] = ()  # in turn as well; none: the model is told no words
    reader: Reader | None = None  # who reads them

    def __post_init__(self) -> None:
        if (count := _whole(self.count)) is None or count < 1:
            raise BadInput(f"{self.count} pictures: ask for one at least, a whole number of them")
        object.__setattr__(self, "count", count)
        if (seed := _whole(self.seed)) is None:
            raise BadInput(f"seed {self.seed!r:.60}: a whole number says which noise it shall be")
        object.__setattr__(self, "seed", seed)
        if self.prompts and self.reader is None:
            raise BadInput("prompts are read by someone: words.reader_for(den) says who it is")
        _check_sampler(self.den, self.how)

    def kind(self, number: int) -> str | None:
        """What the picture of this number shows."""
        if not self.kinds:
            return None
        names = names_of(self.den)
        kind = self.kinds[number % len(self.kinds)]
        return names[kind] if kind < len(names) else None

    def prompt(self, number: int) -> str | None:
        """What is said of the picture of this number."""
        return self.prompts[number % len(self.prompts)] if self.prompts else None

    def noise(self, numbers: Int64[Tensor, " b"], epoch: int = 0) -> Float[Tensor, "b c y x"]:
        """The noise that pictures begin with (epoch 0), and that of their steps (from 1 up)."""
        c, y, x = self.den.config.shape
        drawn = normal(self.seed, epoch, numbers, c * y * x, stream=_NOISE)
        weight = next(self.den.parameters())
        shaped = rearrange(drawn, "b (c y x) -> b c y x", c=c, y=y, x=x)
        # As exact as float32 at least: half precision is for the network.
        return shaped.to(weight.device, torch.promote_types(weight.dtype, torch.float32))

    def steps(self, numbers: Int64[Tensor, " b"], *, batch: int | None = None) -> Iterator[Step]:
        """Lead these pictures from noise to the end; the network sees `batch` of them at once."""
        way = course(self.den.config.schedule, self.how.steps)
        noise = self.noise(numbers)
        epochs = itertools.count(1)
        return walk(
            self.den,
            self.how,
            way.start(noise) if self.den.ours else noise,  # diffusers doesn't weaken it
            way,
            self._condition(numbers),
            noise=lambda: self.noise(numbers, next(epochs)),
            batch=batch,
        )

    def pictures(
        self, *, batch: int | None = None, progress: Progress | None = None
    ) -> Iterator[tuple[int, UInt8[Tensor, "b y x c"]]]:
        """Draw all, batch by batch: how many are done, and the new ones as bytes."""
        size = batch or _batch(self.den)
        for first in range(0, self.count, size):
            numbers = torch.arange(first, min(first + size, self.count))
            way = self.steps(numbers, batch=size)
            last = deque(self._watched(way, numbers, progress), maxlen=1).pop()
            yield first + len(numbers), as_bytes(last.x)

    def film(
        self, *, frames: int, progress: Progress | None = None
    ) -> Iterator[UInt8[Tensor, "b y x c"]]:
        """Draw all at once, and show them at so many moments from noise to picture."""
        numbers = torch.arange(self.count)
        shown = torch.linspace(0, self.how.steps, frames).round().int().tolist()
        yield as_bytes(self.noise(numbers))
        for made, step in enumerate(self._watched(self.steps(numbers), numbers, progress), start=1):
            if made in shown:
                yield as_bytes(step.x)

    def about(self, number: int | None = None) -> dict[str, object]:
        """How a picture can be had again; of a sheet, all of its pictures."""
        told: dict[str, object] = {"model": self.den.name, **asdict(self.how), "seed": self.seed}
        if number is not None:
            said = {"prompt": self.prompt(number)} if self.prompts else {}
            return told | {"label": self.kind(number), **said, "number": number}
        said = {"prompts": list(self.prompts)} if self.prompts else {}
        names = [self.kind(place) for place in range(len(self.kinds))]
        return told | {"labels": names, **said, "count": self.count}

    def told(self) -> str:
        """The order in a line for a person."""
        how = self.how
        parts = [f"{how.sampler}, {how.counted}"]
        if self.kinds or self.prompts:
            whole = how.guidance == 1 or how.interval == (0, 1)
            between = "" if whole else " from time {:g} to {:g}".format(*how.interval)
            parts.append(f"guidance {how.guidance:g}{between}")
            if how.guidance != 1 and how.rescale:
                parts.append(f"rescale {how.rescale:g}")
        said = ", ".join(parts)
        pictures = "1 picture" if self.count == 1 else f"{self.count:,} pictures"
        shown = f" of {some(self.prompts)}" if self.prompts else ""
        return f"{pictures}{shown} by {_called(self.den)}: {said}, seed {self.seed}"

    def _watched(
        self, way: Iterator[Step], numbers: Int64[Tensor, " b"], progress: Progress | None
    ) -> Iterator[Step]:
        """Tell after each step how many pictures that makes, as if drawn one by one."""
        for made, step in enumerate(way, start=1):
            if progress is not None:
                part = len(numbers) * made // self.how.steps
                progress(int(numbers[0]) + part, self.count)
            yield step

    def _condition(self, numbers: Int64[Tensor, " b"]) -> Condition | None:
        weight, kinds = next(self.den.parameters()), None
        if self.kinds:
            kinds = torch.tensor(self.kinds)[numbers % len(self.kinds)].to(weight.device)
        if self.reader is None or not self.prompts:
            return kinds
        # Each text is read once, however many pictures it is to become.
        which, rows = (numbers % len(self.prompts)).unique(return_inverse=True)
        words, seen = self.reader([self.prompts[number] for number in which.tolist()])
        if kinds is None:
            kinds = torch.full((len(numbers),), self.den.null, device=weight.device)
        return Told(kinds, words[rows].to(weight), seen[rows].to(weight.device))


def order(
    den: Denoiser,
    labels: Iterable[Label] | Label = None,
    *,
    prompt: Prompt | None = None,
    reader: Reader | None = None,
    count: int | None = None,
    seed: int = 0,
    how: Sampling | None = None,
    warn: Callable[[str], None] | None = None,
) -> Order:
    """Hold what is asked for against what the model can do.

    Without a count a label gets ten pictures, or one where there are more than ten labels, and so
    does a prompt; a model without labels draws sixteen. Without labels a model draws all that it
    has, but what it is told in words it draws as none in particular. Prompts are read by the CLIP
    that the model learned with, unless there is a `reader` already; `warn` hears what of them is
    not read as it is meant, and of steps that a model for few of them never learned.
    """
    how, warn = how or chosen(den), warn or _warn
    kinds, prompts, reader = _wished(den, labels, prompt, reader, warn)
    _check_steps(den, how, warn)
    if count is None:
        turn = _turn(kinds, prompts)
        each = _EACH if turn <= _EACH else 1
        count = each * turn if kinds or prompts else _UNLABELLED
    return Order(den, kinds, count, seed, how, prompts, reader)


def _wished(
    den: Denoiser,
    labels: Iterable[Label] | Label,
    prompt: Prompt | None,
    reader: Reader | None,
    warn: Callable[[str], None],
) -> tuple[tuple[int, ...], tuple[str, ...], Reader | None]:
    """Labels, prompts and who reads them."""
    prompts = prompts_of(den, prompt)
    if not prompts:
        return label_numbers(den, labels), (), None
    in_words = labels is None and den.config.classes > 0
    kinds = (den.null,) if in_words else label_numbers(den, labels)
    if reader is None:
        device = next(den.parameters()).device
        reader = reader_for(den, device=str(device) if device.type == "cuda" else "cpu")
    check_reader(den, reader)
    for line in reader.notes(prompts):
        warn(line)
    return kinds, prompts, reader


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)


def _turn(kinds: Sequence[int], prompts: Sequence[str]) -> int:
    """After so many pictures the same label meets the same prompt again."""
    return math.lcm(max(1, len(kinds)), max(1, len(prompts)))


def generate(
    den: Denoiser,
    labels: Iterable[Label] | Label = None,
    prompt: Prompt | None = None,
    reader: Reader | None = None,
    *,
    count: int | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float | None = None,
    seed: int = 0,
    batch: int | None = None,
) -> Iterator[Step]:
    """Draw pictures of these labels or prompts and show each step of the way from noise.

    Without `count` there is one picture a label, or a prompt. What is not said is as the model
    samples best, and who reads the prompts is as `order` finds it. A wrong value is refused here,
    not at the first step.
    """
    how = chosen(
        den, steps=steps, sampler=sampler, guidance=guidance, interval=interval, rescale=rescale
    )
    kinds, prompts, reader = _wished(den, labels, prompt, reader, _warn)
    _check_steps(den, how, _warn)
    count = _turn(kinds, prompts) if count is None else count
    asked = Order(den, kinds, count, seed, how, prompts, reader)
    return asked.steps(torch.arange(asked.count), batch=_checked(batch))


def samples(
    den: Denoiser,
    labels: Iterable[Label] | Label = None,
    *,
    prompt: Prompt | None = None,
    reader: Reader | None = None,
    count: int | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float | None = None,
    seed: int = 0,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, UInt8[Tensor, "b y x c"]]]:
    """Draw any number of pictures in the memory of one batch: (how many are done, the new ones).

    The pictures are bytes, laid out as those of `mmfm.data.labelled` are.
    """
    how = chosen(
        den, steps=steps, sampler=sampler, guidance=guidance, interval=interval, rescale=rescale
    )
    asked = order(den, labels, prompt=prompt, reader=reader, count=count, seed=seed, how=how)
    return asked.pictures(batch=_checked(batch), progress=progress)


def as_bytes(x: Float[Tensor, "b c y x"]) -> UInt8[Tensor, "b y x c"]:
    """Pictures from -1 to 1 as they are kept in files: whole numbers from 0 to 255."""
    scaled = x.detach().float().cpu().nan_to_num().clamp(-1, 1).add(1).mul(127.5)
    return rearrange(scaled.round().byte(), "b c y x -> b y x c").contiguous()


# --- the way --------------------------------------------------------------------------------------


def walk(
    den: Denoiser,
    how: Sampling,
    x: Float[Tensor, "b c y x"],
    way: Course,
    condition: Condition | None = None,
    *,
    noise: Callable[[], Tensor],
    batch: int | None = None,
    via: Via | None = None,
) -> Iterator[Step]:
    """Lead x along this way, by the sampler and with the guidance that were asked for.

    Random steps take their `noise` from there; the network sees `batch` pictures at once. `via` is
    called as the sampler would be, with the sampler before all else: `editing.inpaint` is one, told
    what is hidden.
    """
    match den.config.jumps:
        case "none":
            sampler = SAMPLERS[how.sampler]
        case "anywhere":
            sampler = jump
        case "picture":
            sampler, way = euler, by_way_of_pictures(way)
    steps = sampler if via is None else partial(via, sampler)
    return steps(
        _network(den, how, batch or _batch(den)),
        x,
        way,
        objective=den.config.objective,
        condition=condition,
        generator=noise,
        clip=den.clip,
    )


def _network(den: Denoiser, how: Sampling, most: int) -> Jumper:
    """The network, guided, shown no more pictures at once than this."""

    def ask(x: Tensor, t: Tensor, condition: Condition | None, to: Tensor | None = None) -> Tensor:
        times = t.expand(len(x)).split(most)
        kinds = [None] * len(times) if condition is None else pieces(condition, most)
        told = {} if to is None else {"to": to}  # the same for all
        parts = zip(x.split(most), times, kinds, strict=True)
        return torch.cat([den(*part, **told) for part in parts])

    def guide(
        x: Tensor, t: Tensor, condition: Condition | None, to: Tensor | None = None
    ) -> Tensor:
        if how.guidance == 1 or condition is None:
            return ask(x, t, condition, to)
        model = guided(
            partial(ask, to=to),
            how.guidance,
            null=den.unsaid(condition) if isinstance(condition, Told) else den.null,
            interval=how.interval,
            rescale=how.rescale,
        )
        return model(x, t, condition)

    return guide


def _batch(den: Denoiser) -> int:
    """How many pictures are drawn at once, unless it is said."""
    more = 1 if next(den.parameters()).device.type == "cpu" else 8
    _, rows, columns = den.config.shape
    return max(1, more * _PIXELS_AT_ONCE // (rows * columns))


def _checked(batch: int | None) -> int | None:
    if batch is None:
        return None
    if (whole := _whole(batch)) is None or whole < 1:
        raise BadInput(f"batches of {batch}: one picture at least is drawn at once, a whole number")
    return whole


# --- what is kept ---------------------------------------------------------------------------------


def write_grid(asked: Order, out: Path, progress: Progress | None = None) -> None:
    """Draw all pictures on one sheet, a column a label or a prompt, and write it as PNG."""
    _check_colours(asked.den)
    _check_sheet(asked, frames=1)
    images = torch.cat([images for _, images in asked.pictures(progress=progress)])
    write_named(out, keepsakes.png(_sheet(asked, images), asked.about()))


def write_film(asked: Order, out: Path, progress: Progress | None = None) -> None:
    """Draw the way from noise to the pictures, and write it as a GIF that moves."""
    _check_colours(asked.den)
    shown = min(asked.how.steps + 1, _FRAMES)
    _check_sheet(asked, shown)
    film = asked.film(frames=shown, progress=progress)
    frames = [_sheet(asked, images) for images in film]
    write_named(out, keepsakes.gif(frames, asked.about()))


def write_files(asked: Order, folder: Path, progress: Progress | None = None) -> None:
    """Draw each picture into a file of its own, FOLDER/LABEL_PROMPT-NUMBER.png.

    A batch is in memory at once, no more; each file appears whole, so that what an interruption
    leaves is fewer pictures, all of them good.
    """
    _check_colours(asked.den)
    keepsakes.check(asked.about(0))
    digits = max(4, len(str(asked.count - 1)))
    for done, images in asked.pictures(progress=progress):
        for number, image in enumerate(images, start=done - len(images)):
            shown = in_file_name(" ".join(filter(None, (asked.kind(number), asked.prompt(number)))))
            name = f"{shown}-{number:0{digits}}" if shown else f"{number:0{digits}}"
            picture = plot.to_picture(rearrange(image, "y x c -> c y x") / 255)
            write_whole(folder / f"{name}.png", keepsakes.png(picture, asked.about(number)))


def _check_colours(den: Denoiser) -> None:
    """Refuse, before it is drawn, what no file of pictures holds: latents, for one."""
    channels = den.config.channels
    if channels not in (1, 3):
        raise BadInput(
            f"{_called(den)} draws in {channels} channels, and a picture has 1 or 3: what it makes "
            "is for another model to turn into pictures; mmfm.generate gives the numbers"
        )


def _check_sheet(asked: Order, frames: int) -> None:
    _, rows, columns = asked.den.config.shape
    most = _SHEET_PIXELS // ((rows + _GAP) * (columns + _GAP) * frames)
    if frames > 1:  # the format of films counts to that
        most = min(most, _FILM_SIDE // (rows + _GAP) * _columns(asked))
    if asked.count > most:
        raise BadInput(
            f"{asked.count:,} pictures do not fit on one sheet of at most {most:,}; "
            "name a folder, --out DIR/, and each gets a file of its own"
        )
    try:
        keepsakes.check(asked.about())
    except BadInput as error:
        raise BadInput(
            f"{error}: name fewer labels or prompts, or a folder, --out DIR/, and each picture "
            "gets a file of its own"
        ) from error


def _columns(asked: Order) -> int:
    """Of a sheet: a prompt has one, or a label, unless that made a strip of one row."""
    kinds = len(asked.prompts if len(asked.prompts) > 1 else asked.kinds)
    if 1 < kinds <= 2 * _EACH or 1 < kinds < asked.count:
        return kinds
    return math.ceil(asked.count**0.5)


def _sheet(asked: Order, images: UInt8[Tensor, "b y x c"]) -> Image.Image:
    """Lay out pictures, and enlarge them unless that made a very long sheet."""
    images = rearrange(images, "b y x c -> b c y x") / 255
    sheet = plot.grid(images, columns=_columns(asked), gap=_GAP)
    return plot.enlarged(sheet, wide=min(640, _LONG * sheet.width // sheet.height))


def in_file_name(label: str) -> str:
    """A label or a prompt as part of a file's name."""
    return re.sub(r"[^\w.+-]+", "_", label).lstrip(".")[:60]
