"""Recipes: all that decides what a training makes of its data, as one TOML file a person can read.

    size = 64          side of the pictures
    [[sources]]        where they come from, if several sets are learned from at once
    [model]            the model's own settings
    [augment]          how pictures are varied each time that they are shown
    [plan]             how long, how fast: the fields of `train.Plan`
    [loss]             what else the task asks for

Each task describes its recipe as a child of `Recipe`; a value that cannot be right is named before
anything is written.
"""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

from mmfm import hub
from mmfm.data.augment import Augment
from mmfm.data.mixture import Source
from mmfm.errors import BadInput, NotHere
from mmfm.runs import absolute
from mmfm.train import Plan

Model = TypeVar("Model")


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What every training is told; a task adds what its loss asks for."""

    KIND: ClassVar[str]  # how the names of its recipes begin
    MIXES: ClassVar[bool] = False  # whether it can learn from several sources at once

    model: Mapping[str, Any]
    plan: Plan
    size: int | None = None  # side of the pictures; None: as the data has them
    augment: Augment = field(default_factory=Augment)
    start: str | None = None  # begin with this model's weights; it takes the place of [model]
    sources: tuple[Source, ...] = ()  # none: what --data names; else they lie in that folder

    @classmethod
    @abstractmethod
    def check_model(cls, given: Mapping[str, Any]) -> None:
        """Refuse settings that the model does not have."""

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a recipe: one that came with the package, or a TOML file."""
        shelf = Path(str(files("mmfm.assets") / "recipes"))
        here = ", ".join(sorted(p.stem for p in shelf.glob(f"{cls.KIND}-*.toml")))
        path = shelf / f"{name}.toml"
        ours = path.parent == shelf and path.is_file()
        if ours and not name.startswith(f"{cls.KIND}-"):
            raise BadInput(
                f"the recipe {name!r} is for another training; for this one there are {here}"
            )
        if not path.is_file():
            path = Path(name)
        if not path.is_file():
            raise BadInput(f"no recipe {name!r}: it is neither a file nor one of {here}")
        try:
            return cls.of(tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
            raise BadInput(f"{path}: not a recipe ({error})") from error
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """A recipe from its plain form: TOML in a file, JSON in a run folder."""
        known = {"size", "start", "model", "plan", "augment", "loss"}
        known |= {"sources"} if cls.MIXES else set()
        if strange := set(content) - known:
            raise BadInput(f"a recipe has no {min(strange)!r}; it has {', '.join(sorted(known))}")
        for part in ("model", "plan", "augment", "loss"):
            if not isinstance(content.get(part, {}), Mapping):
                raise BadInput(f"a recipe's {part} is a table, [{part}], not {content[part]!r}")
        check_types("the recipe", cls, {name: content.get(name) for name in ("size", "start")})
        check_types("[loss]", cls, content.get("loss", {}), known=cls._loss_fields())
        check_types("[plan]", Plan, content.get("plan", {}))
        check_types("[augment]", Augment, content.get("augment", {}))
        cls.check_model(content.get("model", {}))
        sources = read_sources(content.get("sources", ()))
        if sources and content.get("augment"):
            raise BadInput("each of the sources has its own [sources.augment]; leave [augment] out")
        if sources and content.get("size") is None:
            raise BadInput("pictures of several sources come in one size: name it, as size = 64")
        return cls(
            model=content.get("model", {}),
            plan=Plan(**content.get("plan", {})),
            size=content.get("size"),
            start=content.get("start"),
            augment=Augment(**content.get("augment", {})),
            sources=sources,
            **content.get("loss", {}),
        )

    def plain(self) -> dict[str, Any]:
        """The other way: what `of` reads."""
        sources = [asdict(source) for source in self.sources]
        return ({"sources": sources} if sources else {}) | {
            "size": self.size,
            "start": self.start,
            "model": dict(self.model),
            "augment": {} if sources else asdict(self.augment),
            "plan": asdict(self.plan),
            "loss": {name: getattr(self, name) for name in self._loss_fields()},
        }

    def changed(
        self, plan: Mapping[str, Any], *, size: int | None = None, start: str | None = None
    ) -> Self:
        """The recipe with some of its plan, its size or its start said otherwise by the person."""
        new = replace(self, plan=replace(self.plan, **plan)) if plan else self
        new = new if size is None else replace(new, size=size)
        if start is None:
            return new
        return replace(new, start=absolute(start, known=hub.bundled()))

    def check_beginning(self) -> None:
        """Refuse what says neither how a model is made nor which one it goes on with."""
        if self.start is None and not self.model:
            raise BadInput(
                "this recipe has no [model]: it goes on with one that is trained already; name it "
                "with --start RUN"
            )

    def begun(self, load: Callable[[str], Model], right: str) -> Model | None:
        """Load what it goes on with, if it does; else one line says what can be begun with."""
        if self.start is None:
            return None
        try:
            return load(self.start)
        except BadInput as error:
            raise BadInput(
                f"{self.start} is nothing to begin with here; name {right} ({error})"
            ) from error
        except NotHere as error:
            raise type(error)(f"nothing to begin with: {error}; name {right}") from error

    @classmethod
    def _loss_fields(cls) -> list[str]:
        shared = {f.name for f in fields(Recipe)}
        return [f.name for f in fields(cls) if f.name not in shared]


def read_sources(given: object) -> tuple[Source, ...]:
    """The sources of a recipe: tables, or names of files that hold some, ours or one's own."""
    sources: list[Source] = []
    for one in given if isinstance(given, list | tuple) else (given,):
        tables = _tables(one) if isinstance(one, str) else [one]
        sources += [_source(table) for table in tables]
    return tuple(sources)


def _tables(name: str) -> list[object]:
    shelf = Path(str(files("mmfm.assets"))) / "sources"
    path = shelf / f"{name}.toml"
    path = path if path.is_file() else Path(name)
    if not path.is_file():
        here = ", ".join(sorted(p.stem for p in shelf.glob("*.toml")))
        raise BadInput(f"no sources {name!r}: it is neither a file nor one of {here}")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("sources")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: no list of sources ({error})") from error
    if not isinstance(found, list):
        raise BadInput(f"{path}: has no [[sources]]")
    return found


def _source(table: object) -> Source:
    given: Any = table
    if not isinstance(given, Mapping) or not isinstance(given.get("augment", {}), Mapping):
        raise BadInput(f"sources are tables, [[sources]], [sources.augment], not {given!r:.60}")
    rest = {name: value for name, value in given.items() if name != "augment"}
    check_types("[[sources]]", Source, rest)
    check_types("[sources.augment]", Augment, given.get("augment", {}))
    if "data" not in rest:
        raise BadInput("[[sources]]: data is missing, which says where one lies")
    return Source(**rest, augment=Augment(**given.get("augment", {})))


def check_types(
    part: str, kind: type, given: Mapping[str, Any], *, known: list[str] | None = None
) -> None:
    """A number where a number belongs, a word that is known where a word belongs."""
    types = {f.name: f.type for f in fields(kind) if known is None or f.name in known}
    for name, value in given.items():
        if name not in types:
            raise BadInput(f"{part} has no {name!r}; it has {', '.join(types)}")
        wanted = types[name]
        if get_origin(wanted) is Literal:
            if value not in get_args(wanted):
                raise BadInput(f"{part}: {name} is one of {', '.join(get_args(wanted))}")
            continue
        if get_origin(wanted) not in (None, UnionType):
            continue  # a pair or a table, which looks after itself
        allowed: Any = get_args(wanted) or (wanted,)
        fits = isinstance(value, allowed) or (float in allowed and isinstance(value, int))
        if not fits or (isinstance(value, bool) and bool not in allowed):
            raise BadInput(f"{part}: {name} cannot be {value!r}")
