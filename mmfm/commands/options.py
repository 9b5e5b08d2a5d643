"""What several commands are asked, and how they take it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mmfm.errors import BadInput, NotHere

Device = Annotated[
    str, typer.Option(metavar="D", help="Compute on auto, cpu, cuda, cuda:N or mps.")
]

Clip = Annotated[str | None, typer.Option(metavar="M", help="Run this model.")]
AsTemplates = Annotated[
    str,
    typer.Option(
        metavar="T",
        help="Put labels into these: default, simple, english, korean, nano, or a file, one a "
        "line.",
    ),
]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="A folder with one folder of pictures a label.")
]
Names = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="LABELS",
        help="Call the folders' labels so: dog=강아지|puppy,cat, or @FILE, one a line.",
    ),
]
Exact = Annotated[
    bool,
    typer.Option("--exact", help="Decode every pixel, in full precision, as the publisher does."),
]
ENGINES = ("auto", "fp32", "bf16", "int8", "cuda")  # of mmfm.engines, which imports torch

EngineName = Annotated[
    str,
    typer.Option(metavar="E", help="Run on auto (measured), fp32, bf16, int8 or cuda."),
]
InStore = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="DIR", help="Keep vectors here, not in the user's data folder."
    ),
]
Adapted = Annotated[
    Path | None, typer.Option("--adapter", metavar="FILE", help="Use what mmfm adapt has learned.")
]

Interval = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Guide between these times only, 0 the picture, 1 the noise."),
]
Rescale = Annotated[
    float | None,
    typer.Option(metavar="R", help="Take away this share of the contrast that guidance adds."),
]


_PUBLIC = "ViT-B-32/laion2b_s34b_b79k"  # a CLIP for photos: 600 MB, seconds on a processor


def need_outputs(*files: Path | None, inputs: Iterable[str | Path | None] = ()) -> None:
    """Refuse before the work what could not be written after it, or is read by it."""
    from mmfm.files import check_named, is_stream

    read = [Path(each).expanduser() for each in inputs if each is not None]
    for file in filter(None, files):
        if f"{file}" == "-":
            raise BadInput("-: name a file; /dev/stdout writes into a pipe")
        if is_stream(file):
            check_named(file)
            continue
        if not file.parent.is_dir():
            raise NotHere(f"{file}: there is no folder {file.parent}")
        if file.is_dir():
            raise BadInput(f"{file}: this is a folder; name a file")
        if file.exists() and not file.is_file():
            raise BadInput(f"{file}: is neither a file nor a pipe; name another")
        if file.exists() and any(each.exists() and each.samefile(file) for each in read):
            raise BadInput(f"{file}: is read by the same command; name another file")
        check_named(file)


def spare_pictures(*files: Path | None) -> None:
    """Refuse to put what is no picture in the place of one, which a slip of the hand would do."""
    from mmfm.data.formats import HEAD, kind_of, picture_endings

    for file in filter(None, files):
        if file.is_file() and file.stat().st_size:
            with file.open("rb") as begun:
                kind = kind_of(begun.read(HEAD))
            if kind is not None or file.suffix.lower() in picture_endings():
                raise BadInput(f"{file}: is a picture, which would be lost; name another file")


def label_file(labels: str | None) -> str | None:
    """The file of --labels @FILE."""
    return labels[1:] if labels is not None and labels.startswith("@") else None


def done_with(file: Path, line: str, say: Callable[[str], None]) -> None:
    """The last line about a file that was written; it is not put behind what went into a pipe."""
    from mmfm.files import is_stream

    if is_stream(file):
        say(line)
    else:
        print(line)


def as_templates(wish: str) -> Any:
    """A set's name, or a file."""
    path = Path(wish).expanduser()
    return path if path.is_file() else wish


def chosen_clip(model: str | None, device: str, say: Callable[[str], None]) -> Any:
    """The CLIP that was asked for, else the one that comes with the package."""
    from mmfm.models.checkpoints import load_clip
    from mmfm.models.reading import MULTILINGUAL
    from mmfm.tasks.classify import DEFAULTS, default_model

    if model is None:
        model = default_model()
        say(
            f"{model} is a small teaching model that knows {DEFAULTS[model]}; for real work fetch "
            f"a public one, mmfm models get {_PUBLIC}, and name it, --model {_PUBLIC}; for Korean "
            f"{MULTILINGUAL}"
        )
    return load_clip(model, device=device)


def as_times(text: str | None) -> tuple[float, float] | None:
    """The two times of an --interval."""
    if text is None:
        return None
    try:
        first, last = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(f"--interval {text}: two numbers are needed, as in 0.3,0.85") from error
    return first, last


def check_engine(wish: str, exact: bool) -> None:
    """Refuse before the work what cannot be run after the model is loaded."""
    if wish not in ENGINES:
        raise BadInput(f"--engine {wish}: there are {', '.join(ENGINES)}")
    if exact and wish not in ("auto", "fp32"):
        raise BadInput(f"--exact is fp32; leave out --engine {wish}")


def chosen_engine(
    clip: Any, wish: str, exact: bool, pictures: int, say: Callable[[str], None]
) -> Any:
    """What runs the picture tower: what was asked for, or what is the fastest here."""
    from mmfm.engines import choose, plain

    if exact or not pictures:
        return plain(clip)
    return choose(clip, wish, pictures=pictures, say=say)
