"""How good made pictures are, each figure beside what real ones get: the floor.

    found = score(load_denoiser("mnist-nano"), "mnist", count=5000)
    print("\\n".join(lines(found)))
    yardstick = Yardstick("mnist")                   # for many heaps: what is real is kept
    yardstick.measure(images, labels)

A ruler (`mmfm.models.ruler`) that learned from the `train` part of a set looks at the pictures and
at those of its `test` part, and `mmfm.likeness` says how alike they are. The same is asked of the
pictures that are held `apart`, as many of them: better than these no model can be. A second ruler
of another seed is asked too, so that nobody is praised for the taste of one network. Accuracy and
all other figures come from the same pictures.

Shapes: n pictures, c channels, y x pixels.
"""

import copy
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Int64, UInt8
from torch import Tensor

from mmfm import keepsakes
from mmfm.data.decode import Example, decode
from mmfm.data.folders import picture_files
from mmfm.data.labelled import LabelledPictures, Parts, load_parts
from mmfm.data.pictures import open_picture
from mmfm.data.texts import legible
from mmfm.errors import BadData, BadInput
from mmfm.likeness import (
    Gaussian,
    frechet,
    gaussian,
    kernel_distance,
    nearest,
    precision_recall,
)
from mmfm.measures import Share, wilson
from mmfm.models.denoiser import Denoiser
from mmfm.models.ruler import Ruler, Seen, load_ruler, look
from mmfm.recipes import check_types
from mmfm.runs import Run
from mmfm.tasks.generate import Sampling, chosen, in_file_name, names_of, order

Progress = Callable[[int, int], None]  # (done, total)
Show = Callable[[str], Progress]  # what is being done -> the function to which it is told

_Told = Mapping[str, Any]  # what a picture says of itself
_WAY = tuple(field.name for field in fields(Sampling))

# One of these lies in the folder of a run, of a model, of a pipeline, or of what was exported.
_MODEL_FILES = ("run.json", "config.json", "model.safetensors", "model_index.json", "model.json")

BUNDLED = ("mnist-ruler", "mnist-ruler-2")  # the first one measures, the second is asked too

_COUNT = 5000  # pictures, where as many are held apart
_LEAST = 10
_NEIGHBOURS = 2000  # pictures whose nearest ones are looked for
_CLOSE = 0.01  # real pictures that are called close to a training one
# Two rulers agree if their ratios to the floor differ by no more than this factor. Those that come
# with the package are 1.48 apart at most where 5,000 real digits are spoiled in ten ways
# (benchmarks/ruler_spoiled.py).
_ALIKE = 1.5


# --- what is found --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Likeness:
    """How alike pictures are to the real ones of the test part, in the eyes of one ruler."""

    fid: float
    kid: float  # of features that are 1 long on the average
    kid_error: float  # its standard error
    accuracy: Share | None  # shows what it should; None for pictures without labels
    precision: float
    recall: float


@dataclass(frozen=True)
class Reading:
    """What one ruler says."""

    ruler: str
    digest: str  # of its weights
    right: Share  # of the test part: how many pictures it names right
    these: Likeness
    floor: Likeness  # of as many real pictures

    @property
    def ratio(self) -> float:
        """How many times the floor the FID is."""
        return self.these.fid / self.floor.fid


@dataclass(frozen=True)
class Neighbours:
    """How near to pictures of the training part some pictures are, pixel by pixel."""

    distance: float  # to the nearest one, the median; from black to white is 1
    close: Share  # nearer than all but one in a hundred of real pictures are
    train: Share  # whose nearest one of the training and the test part is of the training part


@dataclass(frozen=True)
class Agreement:
    """How far a second ruler says the same."""

    alike: Share  # of the pictures: named the same by both
    factor: float  # between their ratios to the floor

    @property
    def agrees(self) -> bool:
        """Whether what the first one says can be taken for more than its own taste."""
        return self.factor <= _ALIKE


@dataclass(frozen=True)
class Drawn:
    """What it takes to draw pictures again."""

    by: str  # a model
    how: Sampling
    seed: int


@dataclass(frozen=True)
class Score:
    """What was measured, on what, with what."""

    what: str  # a model, a folder
    data: str
    count: int
    only: tuple[str, ...]  # these labels of the data alone; (): all
    drawn: Drawn | None  # how; None where it is not known, or not for all the same
    ways: int  # in how many they were drawn; 0: it is not known
    readings: tuple[Reading, ...]  # of the ruler that measures; then of those that are asked too
    agreements: tuple[Agreement, ...]  # of each of these
    neighbours: Neighbours
    real_neighbours: Neighbours  # of as many real pictures
    looked_up: int  # pictures whose neighbours were looked for
    by_chance: float  # which share of nearest ones are of the training part if nothing was copied


# --- measuring ------------------------------------------------------------------------------------


def _silent(what: str) -> Progress:
    return lambda done, total: None


@dataclass(frozen=True)
class _Test:
    """What a ruler sees in the test part."""

    seen: Seen
    curve: Gaussian
    length: float  # of a feature, the root of the mean square
    right: Share


class Yardstick:
    """A data set and rulers of it; what they see in its real pictures is looked at once."""

    def __init__(
        self,
        data: str,
        rulers: Sequence[str] = (),
        *,
        size: int | None = None,
        device: str = "auto",
        show: Show = _silent,
    ) -> None:
        self.data = data
        self.only: tuple[str, ...] = ()  # these labels alone; (): all
        self.parts = load_parts(data, size=size, progress=show("loading"))
        if not self.parts.test.names:
            raise BadInput(f"{data}: has no labels; the ruler that scores pictures must know them")
        self._check_enough()
        self.rulers = [
            self._fitting(load_ruler(name, device=device), chosen=bool(rulers))
            for name in rulers or BUNDLED
        ]
        self._forget()

    def of(self, labels: Sequence[str]) -> "Yardstick":
        """The same for pictures of these labels alone; their numbers stay those of the data."""
        names = self.parts.test.names
        if set(names) <= set(labels):
            return self
        parts = (self.parts.train, self.parts.apart, self.parts.test)
        fewer = copy.copy(self)
        fewer.only = tuple(name for name in names if name in labels)
        fewer.parts = Parts(*(_showing(part, fewer.only) for part in parts))
        fewer._check_enough()
        fewer._forget()
        return fewer

    def _check_enough(self) -> None:
        if min(len(self.parts.apart), len(self.parts.test)) < _LEAST:
            shown = f" of {', '.join(self.only)}" if self.only else ""
            raise BadInput(
                f"{self.data}: too few pictures{shown} to hold some apart and test with others"
            )

    def _forget(self) -> None:
        self._test: list[_Test] = []
        self._floors: dict[int, list[Likeness]] = {}
        self._real_distances: dict[int, tuple[Tensor, Tensor]] = {}

    def _fitting(self, ruler: Ruler, *, chosen: bool) -> Ruler:
        """The ruler, if it is one of such pictures."""
        test = self.parts.test
        c = ruler.config
        height, width, channels = test.images.shape[1:]
        fits = (c.image_size, c.image_size, c.channels) == (height, width, channels)
        if not fits or ruler.labels != test.names:
            raise BadInput(
                f"{ruler.name} is a ruler for {_pictures(c.image_size, c.channels, ruler.labels)}, "
                f"{self.data} has {_pictures(height, channels, test.names)}; {self._advice(chosen)}"
            )
        return ruler

    def _advice(self, chosen: bool) -> str:
        side = self.parts.test.images.shape[1]
        make = f"mmfm train ruler --data {self.data} --size {side} --out runs/ruler"
        name = "name another one" if chosen else "name it"
        return f"make one of this data ({make}) and {name}: --ruler runs/ruler"

    @property
    def most(self) -> int:
        """How many pictures can be scored: as many real ones must be there for the floor."""
        return len(self.parts.apart)

    def measure(
        self,
        images: UInt8[Tensor, "n y x c"],
        labels: Int64[Tensor, " n"] | None = None,
        *,
        what: str = "pictures",
        ways: Collection[Drawn | None] = (),
        show: Show = _silent,
        stop: Callable[[], bool] = lambda: False,
    ) -> Score:
        """Measure pictures. `labels` are the numbers of what they should show, in the data's order.

        `ways` says how they were drawn, and is only written down; None stands for any unknown way.
        """
        self._check(images, labels)
        n = len(images)
        tell, stages = show("measuring"), 3 * len(self.rulers) + 3
        done = 0

        def go_on() -> None:
            nonlocal done
            if stop():
                raise KeyboardInterrupt
            tell(done, stages)
            done += 1

        go_on()
        self._look_at_test(go_on)
        floors = self._floor(n, go_on)
        readings: list[Reading] = []
        answers: list[Tensor] = []
        for number, ruler in enumerate(self.rulers):
            seen = look(ruler, images)
            answers.append(seen.logits.argmax(dim=1))
            these = _likeness(seen, labels, self._test[number])
            reading = Reading(
                ruler.name, ruler.digest, self._test[number].right, these, floors[number]
            )
            readings.append(reading)
            go_on()
        if n not in self._real_distances:
            self._real_distances[n] = self._distances(self.real(n).images)
        real = self._real_distances[n]
        close = float(real[0].quantile(_CLOSE))
        go_on()
        near = _neighbours(self._distances(images), close)
        different = set(ways)
        tell(stages, stages)
        return Score(
            what=what,
            data=self.data,
            count=n,
            only=self.only,
            drawn=next(iter(different)) if len(different) == 1 else None,
            ways=0 if different <= {None} else len(different),
            readings=tuple(readings),
            agreements=tuple(
                _agreement(readings[0], other, answers[0], named)
                for other, named in zip(readings[1:], answers[1:], strict=True)
            ),
            neighbours=near,
            real_neighbours=_neighbours(real, close),
            looked_up=min(n, _NEIGHBOURS),
            by_chance=len(self.parts.train) / (len(self.parts.train) + len(self.parts.test)),
        )

    def _check(self, images: Tensor, labels: Tensor | None) -> None:
        if images.ndim != 4:
            raise BadInput(f"pictures come as bytes (n y x c), not as {tuple(images.shape)}")
        if not _LEAST <= len(images) <= self.most:
            raise BadInput(
                f"{len(images):,} pictures: from {_LEAST} to {self.most:,} can be scored, as many "
                f"as {self.data} holds apart for the floor; --count says how many"
            )
        if labels is not None and len(labels) != len(images):
            raise BadInput(f"{len(images)} pictures with {len(labels)} labels")
        classes = len(self.parts.test.names)
        if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise BadInput(f"labels are numbers from 0 to {classes - 1}")

    def _look_at_test(self, go_on: Callable[[], None]) -> None:
        test = self.parts.test
        for ruler in self.rulers[len(self._test) :]:
            seen = look(ruler, test.images)
            right = _right(seen, test.labels)
            # One of other pictures that are as large and called the same would measure nonsense.
            if right.value < min(0.5, 10 / len(test.names)):
                raise BadInput(
                    f"{ruler.name} names only {right.value:.0%} of {self.data} right: it is no "
                    f"ruler for such pictures; {self._advice(chosen=ruler.name not in BUNDLED)}"
                )
            length = float(seen.features.square().mean().sqrt())
            self._test.append(_Test(seen, gaussian(seen.features), length, right))
            go_on()

    def _floor(self, n: int, go_on: Callable[[], None]) -> list[Likeness]:
        """What as many real pictures get."""
        if n not in self._floors:
            real = self.real(n)
            floors: list[Likeness] = []
            for ruler, test in zip(self.rulers, self._test, strict=True):
                floors.append(_likeness(look(ruler, real.images), real.labels, test))
                go_on()
            self._floors[n] = floors
        return self._floors[n]

    def real(self, n: int) -> LabelledPictures:
        """So many of the pictures held apart, spread evenly over them."""
        return self.parts.apart.select(_spread(len(self.parts.apart), n))

    def _distances(self, images: UInt8[Tensor, "n y x c"]) -> tuple[Tensor, Tensor]:
        """How far some of the pictures are from the nearest training and test picture."""
        rows = _rows(images[_spread(len(images), min(len(images), _NEIGHBOURS))])
        among = (self.parts.train.images, self.parts.test.images)
        to_train, to_test = (nearest(rows, _rows(others)).distance / 255 for others in among)
        return to_train, to_test


def _showing(pictures: LabelledPictures, names: Sequence[str]) -> LabelledPictures:
    """The pictures of these labels alone, numbered as before."""
    numbers = torch.tensor([pictures.names.index(name) for name in names])
    return pictures.select(torch.isin(pictures.labels, numbers).nonzero().squeeze(1))


def _neighbours(distances: tuple[Tensor, Tensor], close: float) -> Neighbours:
    to_train, to_test = distances
    return Neighbours(
        distance=float(to_train.median()),
        close=_share(to_train < close),
        train=_share(to_train < to_test),
    )


def _likeness(seen: Seen, labels: Int64[Tensor, " n"] | None, test: _Test) -> Likeness:
    features, real = seen.features, test.seen.features
    n, m = len(features), len(real)
    # The kernel is made for numbers near 1, and a ruler's are as large as its training left them.
    kid = kernel_distance(features / test.length, real / test.length)
    # Precision and recall are of as many pictures on either side.
    fewer = min(n, m)
    found = precision_recall(real[_spread(m, fewer)], features[_spread(n, fewer)])
    return Likeness(
        fid=frechet(gaussian(features), test.curve),
        kid=kid.value,
        kid_error=kid.error,
        accuracy=None if labels is None else _right(seen, labels),
        precision=found.precision,
        recall=found.recall,
    )


def _agreement(first: Reading, other: Reading, named: Tensor, otherwise: Tensor) -> Agreement:
    # A hair's breadth is added, for whoever scores the test pictures themselves.
    factor = (first.ratio + 1e-6) / (other.ratio + 1e-6)
    return Agreement(_share(named == otherwise), max(factor, 1 / factor))


def _right(seen: Seen, labels: Int64[Tensor, " n"]) -> Share:
    return _share(seen.logits.argmax(dim=1) == labels)


def _share(hits: Tensor) -> Share:
    share = wilson(int(hits.sum()), len(hits))
    assert share is not None
    return share


def _spread(total: int, count: int) -> Int64[Tensor, " count"]:
    """Numbers of so many pictures, spread evenly: files are often sorted by who wrote them."""
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()


def _rows(images: UInt8[Tensor, "n y x c"]) -> UInt8[Tensor, "n d"]:
    return rearrange(images, "n y x c -> n (y x c)")


def _pictures(side: int, channels: int, names: Sequence[str]) -> str:
    colour = {1: "grey ", 3: "colour "}.get(channels, "")
    few = ", ".join(names[:3]) + (f", ... {names[-1]}" if len(names) > 3 else "")
    return f"{side}x{side} {colour}pictures of {few}"


# --- what is measured -----------------------------------------------------------------------------


def score(
    den: Denoiser,
    data: str | Yardstick,
    *,
    count: int | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float | None = None,
    seed: int = 0,
    rulers: Sequence[str] = (),
    device: str = "auto",
    show: Show = _silent,
    stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] | None = None,
) -> Score:
    """Have a model draw pictures, and measure them.

    It is asked for the very labels of the real pictures that make the floor; one that knows only
    some of the data's labels is measured by the pictures of those. What is not said is as the model
    samples best.
    """
    how = chosen(
        den, steps=steps, sampler=sampler, guidance=guidance, interval=interval, rescale=rescale
    )
    if not isinstance(data, Yardstick):
        data = Yardstick(data, rulers, size=den.config.image_size, device=device, show=show)
    test = data.parts.test
    channels, rows, columns = den.config.shape
    made = (rows, columns, channels)
    if made != tuple(test.images.shape[1:]):
        raise BadInput(
            f"{den.name} draws {_pictures(made[0], made[2], names_of(den) or ('something',))}, "
            f"{data.data} has {_pictures(test.images.shape[1], test.images.shape[3], test.names)}"
        )
    if den.config.classes:
        data = data.of(_shared(names_of(den), test.names, den.name, data.data))
    count = min(_COUNT, data.most) if count is None else count
    if not _LEAST <= count <= data.most:
        raise BadInput(
            f"a count of {count:,}: from {_LEAST} to {data.most:,} can be scored, as many as "
            f"{data.data} holds apart for the floor"
        )
    labels = data.real(count).labels if den.config.classes else None
    wanted = None if labels is None else [test.names[label] for label in labels.tolist()]
    asked = order(den, wanted, count=count, seed=seed, how=how, warn=warn)
    tell = show("drawing")

    def told(done: int, total: int) -> None:
        if stop():
            raise KeyboardInterrupt
        tell(done, total)

    images = torch.cat([images for _, images in asked.pictures(progress=told)])
    what = den.name or "this model"
    ways = [Drawn(what, how, asked.seed)]
    return data.measure(images, labels, what=what, ways=ways, show=show, stop=stop)


def _shared(
    known: Sequence[str], names: Sequence[str], model: str | None, data: str
) -> Sequence[str]:
    """The labels of the data that the model knows: all, or all that it knows are among them."""
    strange = [name for name in names if name not in known]
    if strange and not set(known) <= set(names):
        raise BadInput(
            f"{model} knows {', '.join(known)}, but not {', '.join(strange)} of {data}; it "
            "can be scored on the data that it learned from"
        )
    return [name for name in names if name in known]


def score_pictures(
    images: UInt8[Tensor, "n y x c"],
    labels: Int64[Tensor, " n"] | None,
    data: str | Yardstick,
    *,
    what: str = "pictures",
    rulers: Sequence[str] = (),
    device: str = "auto",
    show: Show = _silent,
    stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Measure pictures, whoever made them; `labels` are numbers in the order of the data's."""
    if not isinstance(data, Yardstick):
        data = Yardstick(data, rulers, size=images.shape[1], device=device, show=show)
    return data.measure(images, labels, what=what, show=show, stop=stop)


def score_folder(
    folder: Path,
    data: str,
    *,
    count: int | None = None,
    rulers: Sequence[str] = (),
    device: str = "auto",
    show: Show = _silent,
    stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Measure picture files, in folders named as the data's labels or in one folder.

    Those in one folder have labels if `mmfm sample` has drawn them, and no others. So it is with
    how they were drawn, wherever they lie.
    """
    files = picture_files(folder).files
    if not files:
        raise BadData(f"{folder}: holds no pictures")
    side = _side(folder, files[0])
    _check_side(side, folder, data, rulers)
    yardstick = Yardstick(data, rulers, size=side, device=device, show=show)
    told = [_remembered(path) for path in files]
    images, labels = _read(folder, files, told, yardstick.parts, show)
    if count is not None:
        if not 1 <= count <= len(images):
            raise BadInput(f"a count of {count:,}: {folder} holds {len(images):,} pictures")
        some = _spread(len(images), count)
        images, labels = images[some], None if labels is None else labels[some]
        told = [told[number] for number in some.tolist()]
    ways = [_way(one) for one in told]
    return yardstick.measure(images, labels, what=str(folder), ways=ways, show=show, stop=stop)


def _side(folder: Path, first: Path) -> int:
    """The side of the pictures, at which the data are looked at, too."""
    wide, tall = open_picture(first).size
    if wide != tall:
        raise BadData(f"{folder}: pictures of {wide}x{tall}, and a ruler looks at square ones")
    return wide


def _check_side(side: int, folder: Path, data: str, rulers: Sequence[str]) -> None:
    """Refuse pictures that no ruler looks at, before all data are brought to their size."""
    for name in rulers or BUNDLED:
        own = load_ruler(name).config.image_size
        if own != side:
            make = f"mmfm train ruler --data {data} --size {side} --out runs/ruler"
            raise BadData(
                f"{folder}: pictures of {side}x{side}, and {name} is a ruler for {own}x{own}; make "
                f"one for such pictures ({make}) and name it: --ruler runs/ruler"
            )


def _read(
    folder: Path, files: Sequence[Path], told: Sequence[_Told], parts: Parts, show: Show
) -> tuple[Tensor, Tensor | None]:
    found = decode(
        (Example(str(path), path) for path in files),
        len(files),
        str(folder),
        size=None,
        grey=parts.test.images.shape[3] == 1,
        advice="bring them to one size",
        progress=show("reading"),
    )
    if found.skipped:  # a heap without them would be another heap
        which, why = found.skipped[0]
        raise BadData(f"{folder}: {len(found.skipped)} pictures cannot be read: {which}: {why}")
    return found.images, _labels(folder, files, told, parts.test.names)


def _labels(
    folder: Path, files: Sequence[Path], told: Sequence[_Told], names: Sequence[str]
) -> Tensor | None:
    """What each picture should show, as the first folder below tells, or the picture itself."""
    below = [path.relative_to(folder).parts[:-1] for path in files]
    apart = any(below)
    called = [parts[0] if parts else "" for parts in below] if apart else list(map(_label, told))
    known = _known_as(names)
    numbers = [known.get(name, known.get(in_file_name(name))) for name in called]
    if None not in numbers:
        return torch.tensor(numbers)
    if not apart:
        return None  # if some do not tell, nobody can say how many of all are right
    lost = {name for name, number in zip(called, numbers, strict=True) if number is None}
    strange = sorted(name or "pictures without a folder" for name in lost)
    raise BadData(
        f"{folder}: holds {', '.join(strange)}; put pictures into folders named "
        f"{', '.join(map(in_file_name, names))}, or all into the one folder"
    )


def _known_as(names: Sequence[str]) -> dict[str, int]:
    """The numbers of labels, by name and by what of a name can be a folder's: T-shirt_top."""
    plain = [in_file_name(name) for name in names]
    alone = {name: n for n, name in enumerate(plain) if name and plain.count(name) == 1}
    return alone | {name: n for n, name in enumerate(names)}


def _remembered(path: Path) -> _Told:
    """The settings that a picture of `mmfm sample` carries with it; none for any other."""
    try:
        return keepsakes.about(path.read_bytes())
    except BadInput:  # no settings in it, or none of ours
        return {}


def _label(told: _Told) -> str:
    label = told.get("label")
    return label if isinstance(label, str) else ""


def _way(told: _Told) -> Drawn | None:
    """How a picture of `mmfm sample` was drawn; None for any other, and for what no order says."""
    by, seed = told.get("model"), told.get("seed")
    said: dict[str, Any] = {name: told[name] for name in _WAY if name in told}
    if not isinstance(by, str) or type(seed) is not int or len(said) < len(_WAY):
        return None
    try:
        check_types("a picture", Sampling, said)
        said["interval"] = tuple(said["interval"])  # JSON knows no tuples
        return Drawn(by, Sampling(**said), seed)
    except (BadInput, TypeError):  # anybody may have written them
        return None


def holds_pictures(path: Path) -> bool:
    """Whether a path is a folder of something else than a run or a model, or a part of one."""
    return path.is_dir() and not any((path / name).exists() for name in _MODEL_FILES)


def own_data(model: str) -> str | None:
    """What the model in a run folder was trained on; None for any other model."""
    if not (Path(model) / "run.json").is_file():
        return None
    data = Run.read_settings(Path(model)).get("data")
    return data if isinstance(data, str) else None


# --- for a person, and for a program --------------------------------------------------------------


def as_json(score: Score) -> str:
    """One object on one line, with all that was measured and what it takes to measure it again."""
    said: dict[str, Any] = {"model": score.what, "data": score.data, "count": score.count}
    drawn = score.drawn
    said |= {"labels": list(score.only) or None, "ways": score.ways}
    said |= {"drawn_by": drawn and drawn.by, "seed": drawn and drawn.seed}
    said |= dict.fromkeys(_WAY) if drawn is None else asdict(drawn.how)
    said["rulers"] = [
        {
            "ruler": one.ruler,
            "digest": one.digest,
            "right": one.right.value,
            **_plain(one.these),
            "floor": _plain(one.floor),
        }
        for one in score.readings
    ]
    said["agreement"] = [
        {"alike": a.alike.value, "factor": a.factor, "agrees": a.agrees} for a in score.agreements
    ]
    said["neighbours"] = {
        **_plain(score.neighbours),
        "count": score.looked_up,
        "by_chance": score.by_chance,
        "floor": _plain(score.real_neighbours),
    }
    return json.dumps(said, ensure_ascii=False)


def _plain(found: Likeness | Neighbours) -> dict[str, Any]:
    """Figures by name; of a share its value."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: v.value if isinstance(v, Share) else v for name, v in values.items()}


def lines(score: Score) -> list[str]:
    """What was found, as a table for a person."""
    first = score.readings[0]
    shown = f" of {', '.join(score.only)} alone" if score.only else ""
    against = f"held against the test part of {score.data}{shown}"
    head = [f"{score.what}: {score.count:,} pictures, {against}", _told_way(score)]
    rows = [("", "these", "real ones", ""), *_rows_of(score, first)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    table = [
        f"{name:<{widths[0]}}  {these:>{widths[1]}}  {real:>{widths[2]}}  {note}".rstrip()
        for name, these, real, note in rows
    ]
    return [legible(line) for line in (*head, "", *table, "", *_told_rulers(score))]


def _told_way(score: Score) -> str:
    if score.drawn is None:
        known = "in several ways" if score.ways else "in ways that are not known"
        return f"drawn {known}: seed, guidance and steps cannot be named"
    h = score.drawn.how
    by = "" if score.drawn.by == score.what else f"drawn by {score.drawn.by}: "
    guided = f"guidance {h.guidance:g}"
    if h.interval != (0, 1):
        guided += f" from {h.interval[0]:g} to {h.interval[1]:g}"
    if h.rescale:
        guided += f", rescale {h.rescale:g}"
    return f"{by}{h.sampler}, {h.counted}, {guided}, seed {score.drawn.seed}"


def _rows_of(score: Score, first: Reading) -> list[tuple[str, str, str, str]]:
    these, floor = first.these, first.floor
    near, real = score.neighbours, score.real_neighbours
    rows = [
        ("FID", f"{these.fid:.2f}", f"{floor.fid:.2f}", f"{first.ratio:.2f} times the floor"),
        ("KID x 1,000", _thousandths(these), _thousandths(floor), ""),
    ]
    if these.accuracy is not None and floor.accuracy is not None:
        low, high = these.accuracy.low, these.accuracy.high
        rows.append(
            (
                "named right",
                f"{these.accuracy.value:.2%}",
                f"{floor.accuracy.value:.2%}",
                f"95%: {low:.2%} to {high:.2%}",
            )
        )
    return [
        *rows,
        ("precision", f"{these.precision:.1%}", f"{floor.precision:.1%}", "could be real"),
        ("recall", f"{these.recall:.1%}", f"{floor.recall:.1%}", "of what is real is covered"),
        (
            "nearest training picture",
            f"{near.distance:.2f}",
            f"{real.distance:.2f}",
            f"median of {score.looked_up:,}; copies: near 0",
        ),
        (
            "closer than 99% of real ones",
            f"{near.close.value:.1%}",
            f"{real.close.value:.1%}",
            "more: learned by heart, or of one cast",
        ),
        (
            "nearer to training than to test",
            f"{near.train.value:.1%}",
            f"{real.train.value:.1%}",
            f"by chance {score.by_chance:.1%}; more: learned by heart",
        ),
    ]


def _thousandths(likeness: Likeness) -> str:
    return f"{1000 * likeness.kid:.2f} ± {1000 * likeness.kid_error:.2f}"


def _told_rulers(score: Score) -> list[str]:
    told: list[str] = []
    for number, one in enumerate(score.readings):
        line = f"{one.ruler} ({one.digest[:12]}) names {one.right.value:.2%} of the test part right"
        if number:
            agreement = score.agreements[number - 1]
            says = "it agrees" if agreement.agrees else "it does NOT agree"
            right = ""
            if one.these.accuracy is not None:
                right = f", {one.these.accuracy.value:.2%} named right"
            line += (
                f"; {says}: FID {one.these.fid:.2f}, {one.ratio:.2f} times its floor{right}; it "
                f"names {agreement.alike.value:.2%} of these as the first one does"
            )
        told.append(line)
    return told
