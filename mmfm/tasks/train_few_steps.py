"""Make a model that draws in one step or two out of one that takes many: distillation.

    mmfm train few-steps --from mnist-nano --data mnist --out runs/fast

The student begins as a copy of its teacher that hears one thing more: how far its answer is to lead
(`mmfm.models.denoiser`). What it should have answered is said by one of the methods of
`mmfm.diffusion.few_steps`; here are the pictures, noises and times for them. The teacher is guided
as it draws best, so that the student needs no guidance, and half as many questions a step.
"""

import copy
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mmfm.data.augment import Augment
from mmfm.data.draws import generator, normal, uniform
from mmfm.data.labelled import KNOWN, LabelledPictures, Parts, described, load_parts
from mmfm.diffusion import few_steps
from mmfm.diffusion.course import course
from mmfm.diffusion.guidance import guided
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.diffusion.schedules import add_noise, chosen, flow
from mmfm.errors import BadInput
from mmfm.machine import bf16_is_fast, pick_device
from mmfm.models.checkpoints import (
    denoiser_from,
    denoiser_settings,
    load_denoiser,
    save_denoiser,
)
from mmfm.models.denoiser import Denoiser
from mmfm.recipes import check_types
from mmfm.reports import Report, drawn_reports
from mmfm.runs import Run, absolute, of_another_version
from mmfm.tasks import generate
from mmfm.tasks.generate import JUMP, Sampling
from mmfm.tasks.train_diffusion import (
    SIDES,
    DrawingRecipe,
    Sheets,
    Shown,
    check_guidance,
    shows_none,
)
from mmfm.team import Team, own_device
from mmfm.train import Batch, Examples, Step, fit

BEST = "consistency"  # draws best in one step and in two (benchmarks/few_steps.py)

# Streams of draws: the noises that ways begin with, their labels, which of them is shown when, and
# which part of it.
_NOISES, _LABELS, _TURNS, _STRETCHES = 5, 6, 7, 8

# For whoever opens the folder of a run, in its run.json.
_ABOUT = "A denoiser that draws in few steps: mmfm train few-steps. In Python: mmfm.load_denoiser"
_FILES = {
    "run.json": "this: who was taught by whom, on what, by which recipe",
    "config.json": "the network, its labels, and how it draws best",
    "model.safetensors": "its weights, averaged over the last steps; config.json is in it too",
    "metrics.jsonl": "a line for each step: loss, learning rate, pictures a second, seconds",
    "loss.png": "the loss, drawn",
    "grids/": "what it drew after so many steps, always from the same noise",
    "learning.gif": "these one after the other: how it learned",
    "steps.gif": "the way from noise to the last of them",
    "checkpoint.safetensors": "all that --resume goes on from; not needed to draw",
}


# --- the recipe -----------------------------------------------------------------------------------

# The methods, and what each of them must be told in [loss].
METHODS: dict[str, tuple[str, ...]] = {
    "direct": ("counts", "ways"),
    "progressive": ("counts",),
    "shortcut": ("counts", "share"),
    "mean-flow": ("share",),
    "consistency": ("counts",),
}
_STAGED = ("progressive", "consistency")  # their counts come one after the other


@dataclass(frozen=True, kw_only=True)
class FewStepsRecipe(DrawingRecipe):
    """How a student is taught to draw in few steps; `start` is its teacher.

    A table [teacher], with fields of Sampling, says how the teacher draws where that shall not be
    as it does best.
    """

    KIND: ClassVar[str] = "few-steps"

    method: str = BEST  # a name in METHODS
    times: str = "uniform"  # which times are learned from, a name in TIMES
    huber: float = 0.0  # errors larger than this count plainly, not squared; 0: all squared
    # direct and shortcut: it shall draw in any of these numbers of jumps; progressive: first in so
    # many, then in so many; consistency: so many small steps on the whole way, then so many.
    counts: tuple[int, ...] = ()
    ways: int = 0  # of the teacher's from noise to picture, from which is learned
    share: float = 0.0  # of a batch, with which long jumps are learned
    teacher: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sampling: Sampling = field(default_factory=lambda: Sampling(sampler=JUMP, steps=2))

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "counts", tuple(self.counts))  # JSON and TOML know lists only
        takes = chosen("method", self.method, METHODS)
        for name in ("counts", "ways", "share"):
            given = getattr(self, name) not in ((), 0)
            if given != (name in takes):
                verb = "has no use for" if given else "needs"
                raise BadInput(f"[loss]: {self.method} {verb} {name}")
        if not all(type(count) is int and count > 0 for count in self.counts):
            raise BadInput(f"counts are whole numbers from 1 up, not {list(self.counts)}")
        self._check_counts()
        if self.ways and self.ways < self.plan.batch:
            raise BadInput(f"{self.ways} ways are less than a batch of {self.plan.batch}")
        if not 0 <= self.share <= 1:
            raise BadInput(f"share lies between 0 and 1, {self.share} does not")
        if not 0 <= self.huber < float("inf"):
            raise BadInput(f"huber is a number from 0 up, not {self.huber}")
        if self.method == "direct" and (self.augment != Augment() or self.times != "uniform"):
            raise BadInput("direct learns from ways of the teacher's: no [augment] and no times")
        if self.size is not None:
            raise BadInput("a student's pictures have the size of its teacher's; leave out size")
        if self.sampling.sampler != JUMP:
            raise BadInput(f"[sampling]: a student draws by the sampler {JUMP!r}")

    @property
    def taught(self) -> tuple[int, ...]:
        """In how many jumps the student learns to get there; (): in any number of them."""
        known = self.method in ("direct", "progressive", "shortcut")
        return tuple(sorted(set(self.counts))) if known else ()

    def _check_counts(self) -> None:
        counts, known = self.counts, f"counts of {self.method}, {list(self.counts)}"
        if self.method == "progressive" and any(a != 2 * b for a, b in pairwise(counts)):
            raise BadInput(f"{known}: each must be half of the one before")
        if self.method == "shortcut" and any(
            2 * count not in counts for count in counts if count < max(counts)
        ):
            raise BadInput(f"{known}: with each but the largest there must be its double")

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """A recipe from its plain form, with a table more than others."""
        rest = dict(content)
        given = rest.pop("teacher", {})
        if not isinstance(given, Mapping):
            raise BadInput(f"a recipe's teacher is a table, [teacher], not {given!r}")
        check_types("[teacher]", Sampling, given)
        return replace(super().of(rest), teacher=dict(given))

    def plain(self) -> dict[str, Any]:
        """The other way: what `of` reads."""
        return super().plain() | {"teacher": dict(self.teacher)}

    @classmethod
    def _loss_fields(cls) -> list[str]:
        return [name for name in super()._loss_fields() if name != "teacher"]

    @classmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """A student is built as its teacher is."""
        if given:
            raise BadInput("a student is built as its teacher is; leave out [model]")


def recipe_for(method: str) -> str:
    """The name of the recipe of a method."""
    chosen("method", method, METHODS)
    return f"few-steps-{method}"


# --- a run ----------------------------------------------------------------------------------------


def train_few_steps(
    data: str,
    out: Path,
    recipe: FewStepsRecipe,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Start a run in a new folder; yields a report for every step."""
    where = own_device(pick_device(device))
    Run.check_new(out)  # before the data, which may take long to come
    student, how = _taken_on(recipe)
    parts = load_parts(data, size=student.config.image_size, sides=SIDES, progress=progress)
    # A recipe that cannot be carried out must not leave a folder behind.
    _check_data(student, parts.train, recipe)
    _check_untold(student, parts.train, recipe)
    one = torch.tensor([0])
    trial = Shown(parts.train.select(one), recipe, student, torch.device("cpu"))
    trial.batch(one, one, recipe.plan.seed)
    settings = {
        "mmfm": 1,
        "train": "few-steps",
        "about": _ABOUT,
        "files": _FILES,
        "data": absolute(data, known=KNOWN),
        "pictures": described(parts.train),
        "model": denoiser_settings(student),
        "teacher": asdict(how),
        "recipe": recipe.plain(),
    }
    with Team.joined(where), Run.start(out, settings) as run:
        yield from _train(run, parts, _School(recipe, student, how, parts.train, where), stop)


def resume_few_steps(
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
    with Team.joined(where), Run.resume(out, "few-steps") as run:
        try:
            recipe = FewStepsRecipe.of(settings["recipe"])
            # A run of before its student was kept begins as it began then.
            begun = _begun(settings) if "model" in settings else None
        except (KeyError, TypeError, ValueError) as error:
            raise of_another_version(out, error) from error
        recipe = recipe.changed(changes or {})
        data = run.data_now(data, known=KNOWN)
        # The weights are in the checkpoint, the teacher's too; without one it begins again.
        if begun is None or not run.checkpoint.is_file():
            begun = _taken_on(recipe)
        student, how = begun
        parts = load_parts(data, size=student.config.image_size, sides=SIDES, progress=progress)
        run.go_on_with(data, described(parts.train))
        if not run.checkpoint.is_file():
            _check_untold(student, parts.train, recipe)
        yield from _train(run, parts, _School(recipe, student, how, parts.train, where), stop)


def _taken_on(recipe: FewStepsRecipe) -> tuple[Denoiser, Sampling]:
    """The student, who as yet answers as the teacher does, and how the teacher draws."""
    teacher = recipe.begun(load_denoiser, "a run of mmfm train diffusion")
    if teacher is None:
        raise BadInput("a student needs a teacher: say from which model it is to be made")
    c = teacher.config
    if not teacher.ours or c.jumps != "none" or (c.objective, c.schedule) != ("flow", "flow"):
        what = "was made for few steps itself" if c.jumps != "none" else "was taught otherwise"
        raise BadInput(
            f"{recipe.start} {what}; a teacher is a denoiser of ours whose objective and schedule "
            "are 'flow', mnist-nano for example"
        )
    if c.text_dim:
        raise BadInput(
            f"{recipe.start} reads words, and a student is taught labels only; a teacher is a "
            "denoiser that draws labels, mnist-nano for example"
        )
    how = generate.chosen(teacher, **recipe.teacher)
    if recipe.method == "direct":
        _check_ways(recipe, how)
    jumps = "picture" if recipe.method == "consistency" else "anywhere"
    student = Denoiser(
        replace(c, jumps=jumps),
        teacher.labels,
        asdict(recipe.sampling),
        guidable=teacher.guidable,
        taught=recipe.taught,
    )
    student.reset(generator(recipe.plan.seed))
    student.load_state_dict(student.state_dict() | teacher.state_dict())
    return student, how


def _begun(settings: Mapping[str, Any]) -> tuple[Denoiser, Sampling]:
    """What `_taken_on` gave when a run began, as it remembers it: without the weights."""
    how = dict(settings["teacher"])
    how["interval"] = tuple(how["interval"])  # JSON knows lists only
    return denoiser_from(settings["model"]), Sampling(**how)


def _check_ways(recipe: FewStepsRecipe, how: Sampling) -> None:
    if how.sampler in ("ddpm", "dpm++sde"):
        raise BadInput(f"[teacher]: {how.sampler} goes another way each time; euler does not")
    for count in recipe.counts:
        if how.steps % count:
            raise BadInput(
                f"[teacher]: {how.steps} steps do not divide into {count} jumps of equal length"
            )


def _check_data(student: Denoiser, pictures: LabelledPictures, recipe: FewStepsRecipe) -> None:
    """The pictures must be of the kind that the teacher draws."""
    theirs, given = student.config.channels, pictures.images.shape[3]
    if theirs != given:
        raise BadInput(f"{recipe.start} draws in {theirs} channels, the data has {given}")
    if student.labels != pictures.names:
        known, new = (", ".join(names) or "none" for names in (student.labels, pictures.names))
        raise BadInput(
            f"{recipe.start} has the labels {known:.100}, the data has {new:.100}; a student "
            "learns with pictures of what its teacher draws"
        )


def _check_untold(student: Denoiser, pictures: LabelledPictures, recipe: FewStepsRecipe) -> None:
    """Note whether the student learns to draw without a label, which its teacher must know."""
    learns = shows_none(recipe, pictures)
    if learns and not student.guidable:
        raise BadInput(
            f"{recipe.start} has never drawn without a label, and cannot teach that; set "
            "drop_label in [loss] to 0, and leave out pictures without a label"
        )
    student.guidable = learns
    check_guidance(recipe, student)


def _train(run: Run, parts: Parts, school: "_School", stop: Callable[[], bool]) -> Iterator[Report]:
    averaged = school.averaged.student
    steps = fit(
        school.pupil,
        school.examples,
        school.loss,
        school.recipe.plan,
        averaged=school.averaged,
        matrices=[f"student.{name}" for name in averaged.matrices()],
        run=run,
        device=school.device,
        stop=stop,
        after_step=school.after_step,
    )
    yield from drawn_reports(
        school.watched(steps),
        run,
        drawings=Sheets(averaged),
        save=lambda: save_denoiser(averaged, run.folder),
        # The parts of one set that was split name the same files.
        skipped=tuple(dict.fromkeys(parts.train.skipped + parts.test.skipped)),
    )


# --- who learns, and from whom --------------------------------------------------------------------


class Pupil(nn.Module):
    """A student, the teacher, and how far they have come: what a checkpoint must hold of both."""

    steps: Int64[Tensor, ""]
    progress: Float[Tensor, ""]
    stage: Int64[Tensor, ""]

    def __init__(self, student: Denoiser) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("progress", torch.tensor(0.0))
        self.register_buffer("stage", torch.tensor(0))

    def forward(
        self, x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor | None
    ) -> Float[Tensor, "b c y x"]:
        """What the student says."""
        return self.student(x, t, condition, to)


class Lesson(NamedTuple):
    """Questions to the student, and what it should answer."""

    x: Float[Tensor, "b c y x"]
    t: Float[Tensor, " b"]
    to: Float[Tensor, " b"] | None  # None: it is not told
    way: Float[Tensor, "b c y x"]
    size: Float[Tensor, " b"] | None = None  # an error of an answer counts so much; None: once


class _School:
    """A recipe that is carried out: what `fit` is to train, on what, and with which loss."""

    def __init__(
        self,
        recipe: FewStepsRecipe,
        student: Denoiser,
        how: Sampling,
        pictures: LabelledPictures,
        device: torch.device,
    ) -> None:
        self.recipe, self.how, self.device = recipe, how, device
        self.pupil = Pupil(student).to(device)
        self.averaged = copy.deepcopy(self.pupil)
        shown = Shown(pictures, recipe, student, device)
        self.examples: Examples = _Ways(self, shown) if recipe.method == "direct" else shown

    def loss(self, model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
        """What the student's answers cost."""
        # Weights that autocast has cast to half precision here, where nothing is learned, it would
        # take again where something is, and no gradient reached them (not so with torch 2.15).
        before = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)
        try:
            with torch.no_grad():
                lesson = _LESSONS[self.recipe.method](self, batch)
        finally:
            torch.set_autocast_cache_enabled(before)
        answer, right = model(lesson.x, lesson.t, batch.get("condition"), lesson.to), lesson.way
        if lesson.size is not None:
            size = rearrange(lesson.size, "b -> b 1 1 1")
            answer, right = size * answer, size * right
        return few_steps.cost(answer, right, self.recipe.huber)

    def after_step(self) -> None:
        """Note how far the training is, and begin the next stage when it is time."""
        pupil, plan = self.pupil, self.recipe.plan
        pupil.steps += 1
        if plan.steps is not None:
            pupil.progress.fill_(int(pupil.steps) / plan.steps)
        if self.recipe.method not in _STAGED:
            return
        stages = len(self.recipe.counts)
        stage = min(int(float(pupil.progress) * stages), stages - 1)
        if stage > int(pupil.stage):
            pupil.stage.fill_(stage)
            if self.recipe.method == "progressive":  # who has learned it, teaches it
                pupil.teacher.load_state_dict(self.averaged.student.state_dict())

    def watched(self, steps: Generator[Step]) -> Generator[Step]:
        """The clock is `fit`'s: where the end is a time, its steps say how far it is."""
        with closing(steps):
            for step in steps:
                if self.recipe.plan.minutes is not None:
                    self.pupil.progress.fill_(step.progress)
                yield step

    def teacher(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Float[Tensor, "b c y x"]:
        """What the first teacher says, guided as it draws best."""
        ask = guided(
            self.pupil.teacher,
            self.how.guidance,
            null=self.pupil.teacher.config.classes,  # `chosen` has asked whether that may be
            interval=self.how.interval,
            rescale=self.how.rescale,
        )
        return ask(x, t, condition)


# --- what each method makes of a batch ------------------------------------------------------------


def _direct(school: _School, batch: Batch) -> Lesson:
    """Stretches of ways that the teacher has walked already (`_Ways`)."""
    return Lesson(batch["x"], batch["t"], batch["to"], batch["way"])


def _progressive(school: _School, batch: Batch) -> Lesson:
    """Two steps of the teacher in one; the first teacher is guided, its followers needn't be."""
    stage = int(school.pupil.stage)
    t, to = few_steps.cell(batch["t"], school.recipe.counts[stage])
    x = add_noise(batch["images"], batch["noise"], flow(t))

    def first(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor) -> Tensor:
        return school.teacher(x, t, condition)

    teacher = first if stage == 0 else school.pupil.teacher
    return Lesson(x, t, to, few_steps.mean_way(teacher, x, t, to, batch.get("condition"), steps=2))


def _shortcut(school: _School, batch: Batch) -> Lesson:
    """With some of the pictures jumps of each length; with the others what the teacher says."""
    recipe, t = school.recipe, batch["t"]
    jumps = _jumps(recipe, t)
    counts = torch.tensor(recipe.counts, device=t.device)
    # A jump may lead from the end of any of so many equal parts to its start.
    end, start = few_steps.cell(t, counts[torch.arange(len(t)) % len(counts)])
    t, to = torch.where(jumps, end, t), torch.where(jumps, start, t)
    x = add_noise(batch["images"], batch["noise"], flow(t))
    condition = batch.get("condition")
    way = torch.empty_like(x)
    if jumps.any():
        way[jumps] = few_steps.shortcut(
            school.averaged.student,
            x[jumps],
            t[jumps],
            to[jumps],
            None if condition is None else condition[jumps],
            smallest=0.5 / max(recipe.counts),
        )
    if not jumps.all():
        known = None if condition is None else condition[~jumps]
        way[~jumps] = school.teacher(x[~jumps], t[~jumps], known)
    return Lesson(x, t, to, way)


def _mean_flow(school: _School, batch: Batch) -> Lesson:
    """What the teacher says; with some of the pictures, how that changes on the way from t to."""
    one, other = batch["t"], batch["t"].roll(1)
    jumps = _jumps(school.recipe, one)
    t = torch.maximum(one, other)
    to = torch.where(jumps, torch.minimum(one, other), t)
    x = add_noise(batch["images"], batch["noise"], flow(t))
    condition = batch.get("condition")
    way = school.teacher(x, t, condition)
    if jumps.any():
        way[jumps] = few_steps.mean_flow(
            school.pupil.student,
            way[jumps],
            x[jumps],
            t[jumps],
            to[jumps],
            None if condition is None else condition[jumps],
        )
    return Lesson(x, t, to, way)


def _consistency(school: _School, batch: Batch) -> Lesson:
    """A small step of the teacher's; what counts is how far apart the pictures are."""
    t, earlier = few_steps.cell(batch["t"], school.recipe.counts[int(school.pupil.stage)])
    x = add_noise(batch["images"], batch["noise"], flow(t))
    way = few_steps.consistency(
        school.pupil.student, school.teacher, x, t, earlier, batch.get("condition")
    )
    return Lesson(x, t, None, way, size=t)


_LESSONS: dict[str, Callable[[_School, Batch], Lesson]] = {
    "direct": _direct,
    "progressive": _progressive,
    "shortcut": _shortcut,
    "mean-flow": _mean_flow,
    "consistency": _consistency,
}


def _jumps(recipe: FewStepsRecipe, t: Float[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """With which pictures of a batch long jumps are learned: the first ones, they are shuffled."""
    return torch.arange(len(t), device=t.device) < round(recipe.share * len(t))


# --- ways that the teacher walked -----------------------------------------------------------------


class _Ways:
    """Stretches of the teacher's ways from noise to pictures, each time others.

    In the first steps of a training every batch is of new ways, until there are as many as the
    recipe says; from then on of some batch of them. A way hangs on the seed and its number alone: a
    run that was killed walks again those that it needs. Kept are the few stops that are needed, in
    half precision.
    """

    def __init__(self, school: _School, shown: Shown) -> None:
        recipe, steps = school.recipe, school.how.steps
        self.school, self.size = school, recipe.plan.batch
        self.batches = recipe.ways // self.size
        self.stretches = torch.tensor(few_steps.stretches(recipe.counts, steps))  # n two
        self.stops = self.stretches.unique()
        self.conditions, self.null = shown.conditions, shown.null
        self.kept: dict[int, Tensor] = {}
        precision, device = recipe.plan.precision, school.device
        self.half = precision == "bf16" or (precision == "auto" and bf16_is_fast(str(device)))

    def __len__(self) -> int:
        """As many as a batch has: so what `fit` takes for an epoch is a step."""
        return self.size

    def batch(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Batch:
        rows, step = index.sort().values, epoch[:1]
        turn = int(step)
        if turn >= self.batches:
            turn = int(uniform(seed, 0, step, 1, stream=_TURNS) * self.batches)
        ways = turn * self.size + rows
        if missing := [way for way in ways.tolist() if way not in self.kept]:
            new = torch.tensor(missing)
            self.kept |= zip(missing, self._walked(new, seed).unbind(1), strict=True)
        stops = torch.stack([self.kept[way] for way in ways.tolist()], dim=1)  # stop b c y x

        draw = uniform(seed, epoch, rows, 1, stream=_STRETCHES).squeeze(1)
        start, end = self.stretches[(draw * len(self.stretches)).long()].T.contiguous()
        place = torch.arange(len(rows))
        x, there = (
            stops[torch.searchsorted(self.stops, stop), place].float() for stop in (start, end)
        )
        t, to = ((1 - stop / self.school.how.steps).to(x.device) for stop in (start, end))
        batch = {"x": x, "t": t, "to": to, "way": (x - there) / rearrange(t - to, "b -> b 1 1 1")}
        labels = self._labels(ways, seed)
        return batch if labels is None else batch | {"condition": labels}

    def _walked(self, ways: Int64[Tensor, " b"], seed: int) -> Float[Tensor, "stop b c y x"]:
        school, (c, y, x) = self.school, self.school.pupil.student.config.shape
        noise = normal(seed, 0, ways, c * y * x, stream=_NOISES)
        noise = rearrange(noise, "b (c y x) -> b c y x", c=c, y=y, x=x).to(school.device)
        wanted = set(self.stops.tolist())
        with torch.autocast(school.device.type, torch.bfloat16, enabled=self.half):
            steps = SAMPLERS[school.how.sampler](
                school.teacher,
                noise,
                course("flow", school.how.steps),
                objective="flow",
                condition=self._labels(ways, seed),
            )
            passed = [noise, *(step.x for step in steps)]
        kept = [there for stop, there in enumerate(passed) if stop in wanted]
        return torch.stack(kept).half()

    def _labels(self, ways: Int64[Tensor, " b"], seed: int) -> Int64[Tensor, " b"] | None:
        """As often as the data has them, and now and then none."""
        if self.null == 0:
            return None
        which, dropped = uniform(seed, 0, ways, 2, stream=_LABELS).to(self.conditions.device).T
        labels = self.conditions[(which * len(self.conditions)).long()]
        return torch.where(dropped < self.school.recipe.drop_label, self.null, labels)
