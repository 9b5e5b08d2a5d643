"""Pictures are opened beside the model: in worker threads, in order, a few batches at a time.

Threads, not processes: Pillow lets go of Python's lock while it decodes and resizes, so threads use
every core as processes do, start at once and hand their tensors over without copying them
(benchmarks/decode_workers.py compares them).
"""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, MmfmError, UnreadablePicture
from mmfm.machine import usable_threads

T = TypeVar("T")
R = TypeVar("R")


def prepared(
    picture: str | Path | bytes | Image.Image, prepare: Preprocessing, *, exact: bool = False
) -> Float[Tensor, "c h w"] | str:
    """Make of a picture, or of a file or its bytes, what the tower takes; or say why it cannot be.

    With `exact`, every pixel of the file is decoded, as the publishers' own code does.
    """
    if not isinstance(picture, str | Path | bytes | Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance]
        return f"a picture is a path or a PIL picture, not {type(picture).__name__}"
    try:
        if isinstance(picture, Image.Image):
            return prepare(picture)
        file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        return prepare.opened(file, exact=exact)
    except UnreadablePicture as error:
        return error.reason
    except MmfmError as error:
        return str(error).removeprefix(f"{picture}: ")
    except MemoryError:
        return "the picture does not fit into memory"
    except OSError as error:
        return error.strerror or str(error)


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    batch: int,
    threads: int | None = None,
    ahead: int = 2,
) -> Iterator[tuple[list[T], list[R]]]:
    """Do some work on each item in threads, and hand out batches of (items, results) in order.

    While the caller is busy with one batch, the next `ahead` ones are worked on; no more, so any
    number of items fit into memory. With `ahead` 0 work and caller take turns. What the work
    raises is raised here, in its item's turn. Who stops early waits for what has begun only.
    """
    if batch < 1 or ahead < 0 or (threads is not None and threads < 1):
        raise BadInput(
            f"batch {batch}, threads {threads}, ahead {ahead}: batch and threads are at least 1, "
            "ahead at least 0"
        )
    return _in_order(work, iter(items), batch, threads or usable_threads(), ahead)


def _in_order(
    work: Callable[[T], R], items: Iterator[T], batch: int, threads: int, ahead: int
) -> Iterator[tuple[list[T], list[R]]]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="mmfm-loading")
    begun: deque[tuple[list[T], list[Future[R]]]] = deque()

    def begin(batches: int) -> None:
        while len(begun) < batches and (some := list(islice(items, batch))):
            begun.append((some, [pool.submit(work, item) for item in some]))

    try:
        while True:
            begin(ahead + 1)
            if not begun:
                return
            some, futures = begun.popleft()
            results = [future.result() for future in futures]
            futures.clear()  # they hold the results too
            yield some, results
            del some, results  # before the next ones are waited for
    finally:
        pool.shutdown(cancel_futures=True)
