"""Small handwritten digits and clothes: MNIST, Fashion-MNIST and scikit-learn's own digits.

The first two are IDX files, looked for in a folder and downloaded into it where they are missing.
A download continues where a broken one stopped, tries a second mirror, and takes its name only when
its checksum is the published one. scikit-learn's digits come with it and need no network.
"""

import gzip
import hashlib
import http.client
import math
import os
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import UInt8
from numpy import ndarray

from mmfm.data.draws import stratified
from mmfm.errors import BadData, NotHere, Offline, OutOfSpace
from mmfm.files import FULL

Progress = Callable[[int, int], None]  # (done, total)

_REACH_SECONDS = 2.0  # offline is said after at most this long
_STALL_SECONDS = 15.0  # a mirror that sends nothing for so long is given up


class Digits(NamedTuple):
    """Pictures and their labels, to train on and held out."""

    train_images: UInt8[ndarray, "n h w"]
    train_labels: UInt8[ndarray, "n"]
    test_images: UInt8[ndarray, "m h w"]
    test_labels: UInt8[ndarray, "m"]


@dataclass(frozen=True)
class Published:
    """A set as its authors published it: where, and with which checksums."""

    title: str
    folder: str
    mirrors: tuple[str, ...]
    md5: dict[str, str]  # file name -> checksum of the .gz,
    unpacked: dict[str, str]  # and of what is in it, where that is known
    classes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]  # of the files, in the order of md5


FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_SHAPES = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))

MNIST = Published(
    title="MNIST",
    folder="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    md5={
        FILES[0]: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        FILES[1]: "d53e105ee54ea40749a09fcbcd1e9432",
        FILES[2]: "9fb629c4189551a2d022fa330f9573f3",
        FILES[3]: "ec29112dd5afa0611ce80d1b7f02629c",
    },
    unpacked={
        FILES[0]: "6bbc9ace898e44ae57da46a324031adb",
        FILES[1]: "a25bea736e30d166cdddb491f175f624",
        FILES[2]: "2646ac647ad5339dbf082846283269ea",
        FILES[3]: "27ae3e4e09519cfbb04c329615203637",
    },
    classes=tuple("0123456789"),
    shapes=_SHAPES,
)

FASHION = Published(
    title="Fashion-MNIST",
    folder="fashion",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    md5={
        FILES[0]: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        FILES[1]: "25c81989df183df01b3e8a0aad5dffbe",
        FILES[2]: "bef4ecab320f06d8554ea6380940ec79",
        FILES[3]: "bb300cfdad3c16e7a12a480ee83cd310",
    },
    unpacked={},
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    shapes=_SHAPES,
)


def read_idx(path: str | os.PathLike[str]) -> UInt8[ndarray, "..."]:
    """Read an IDX file, plain or gzipped: what it holds, the sizes, then the bytes themselves."""
    path = Path(path)
    if not path.is_file():
        raise NotHere(f"{path}: no such file")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise BadData(f"{path}: the gzip file is damaged or cut short ({error})") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise BadData(
            f"{path}: not an IDX file of bytes (it starts with {data[:4].hex() or 'nothing'}, not "
            "000008 and the number of dimensions)"
        )
    header = 4 + 4 * data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, header, 4)]
    expected = header + math.prod(shape)
    if len(data) != expected:
        what = "cut short" if len(data) < expected else "too long"
        raise BadData(f"{path}: {what}: {len(data):,} bytes where {expected:,} are announced")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def load_mnist(
    folder: str | os.PathLike[str] | None = None,
    fashion: bool = False,
    download: bool = True,
    progress: Progress | None = None,
) -> Digits:
    """Load MNIST's 60,000 + 10,000 digits, or with `fashion` as many pictures of clothes.

    The files are looked for in `folder` (or in MMFM_DATA, or the user's cache), as published or
    unpacked; what is missing is downloaded there.
    """
    published = FASHION if fashion else MNIST
    folder = default_folder(published) if folder is None else Path(folder)
    names = [name for name in published.md5 if find_idx(folder, name) is None]
    if names and not download:
        raise NotHere(_wanted(published, folder, names))
    if names:
        _fetch_missing(published, folder, names, progress)
    return Digits(
        *(
            _read_published(published, folder, name, shape)
            for name, shape in zip(published.md5, published.shapes, strict=True)
        )
    )


def _read_published(
    published: Published, folder: Path, name: str, shape: tuple[int, ...]
) -> UInt8[ndarray, "..."]:
    path = find_idx(folder, name)
    if path is None:  # another process took it away since
        raise NotHere(_wanted(published, folder, [name]))
    if not _is_of(published, name, path):
        raise BadData(
            f"{path}: this is not {published.title}'s file, its checksum differs; delete it "
            "and it is downloaded again"
        )
    array = read_idx(path)
    if array.shape != shape:
        raise BadData(f"{path}: holds {array.shape}, but {published.title} has {shape} here")
    return array


def _is_of(published: Published, name: str, path: Path) -> bool:
    """Whether a file is the published one; unpacked, it may have to be taken for its shape."""
    sums = published.md5 if path.suffix == ".gz" else published.unpacked
    found = _md5(path)
    if name in sums:
        return found == sums[name]
    # Both sets have files of these names and shapes, so the one is easily put in the other's place.
    return found not in MNIST.unpacked.values()


def load_idx_folder(folder: str | os.PathLike[str]) -> Digits:
    """Load any set whose four files are named as MNIST's, whatever it shows."""
    folder = Path(folder)
    paths = {name: find_idx(folder, name) for name in FILES}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise NotHere(f"{folder}: {', '.join(missing)} missing (plain or .gz)")
    digits = Digits(*(read_idx(path) for path in paths.values() if path is not None))
    for images, labels, part in (
        (digits.train_images, digits.train_labels, "train"),
        (digits.test_images, digits.test_labels, "t10k"),
    ):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise BadData(
                f"{folder}: the {part} files hold images {images.shape} and labels {labels.shape}; "
                "(n, height, width) and (n,) with the same n are needed"
            )
    return digits


def load_digits8() -> Digits:
    """Load scikit-learn's 1,797 digits of 8x8 pixels; a third of every class is held out."""
    from sklearn.datasets import load_digits

    ink, digits = load_digits(return_X_y=True)
    # Its pixels count ink from 0 to 16.
    images = np.rint(np.asarray(ink) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    labels = np.asarray(digits).astype(np.uint8)
    train, test = (
        part.numpy() for part in stratified(torch.from_numpy(labels).long(), 1 / 3, seed=0)
    )
    return Digits(images[train], labels[train], images[test], labels[test])


def default_folder(published: Published) -> Path:
    """Where a set lies unless told otherwise: below MMFM_DATA, else in the user's cache folder."""
    if given := os.environ.get("MMFM_DATA"):
        return Path(given) / published.folder
    import platformdirs

    return platformdirs.user_cache_path("mmfm") / published.folder


def find_idx(folder: Path, name: str) -> Path | None:
    """Find an IDX file under the names that it goes by: gzipped, plain, and with a dot."""
    dotted = name.replace("-idx", ".idx")
    for path in (folder / f"{name}.gz", folder / name, folder / dotted, folder / f"{dotted}.gz"):
        if path.is_file():
            return path
    return None


def fetch(urls: Sequence[str], path: Path, md5: str, progress: Progress | None = None) -> None:
    """Download a file from the first address that has it right.

    The bytes gather in a `.part` file, which a later call continues; the file takes its name when
    the checksum is right.
    """
    part = path.with_name(path.name + ".part")
    failures: list[str] = []
    for url in urls:
        if not (part.exists() and _md5(part) == md5):
            try:
                _download(url, part, progress)
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise OutOfSpace(
                        f"no space left for {path}; {part} can be continued"
                    ) from error
                failures.append(f"{url}: {_reason(error)}")
                continue
        if _md5(part) == md5:
            part.replace(path)
            return
        part.unlink()
        failures.append(f"{url}: the checksum is wrong")
    advice = f"try again later, or put the file into {path.parent} yourself"
    problem = BadData if all(line.endswith("checksum is wrong") for line in failures) else NotHere
    raise problem(f"could not download {path.name} ({'; '.join(failures)}); {advice}")


def _fetch_missing(
    published: Published, folder: Path, names: list[str], progress: Progress | None
) -> None:
    if not _reachable(published.mirrors):
        hosts = " and ".join(url.split("/")[2] for url in published.mirrors)
        raise Offline(f"{_wanted(published, folder, names)}; {hosts} cannot be reached from here")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Several processes of one training run start at once; one downloads, the others wait.
        with FileLock(folder / ".download.lock"):
            for name in names:
                if find_idx(folder, name) is None:
                    urls = [f"{mirror}{name}.gz" for mirror in published.mirrors]
                    fetch(urls, folder / f"{name}.gz", published.md5[name], progress)
    except OSError as error:
        raise NotHere(
            f"{published.title} cannot be put into {folder} ({error.strerror or error}); set "
            "MMFM_DATA to a folder that can be written to"
        ) from error


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Fetch one address into the part file, after the bytes that it holds where the server can."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_STALL_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        part.unlink()  # it holds more than the whole file: nothing to continue
        _download(url, part, progress)
        return
    with response:
        # A server that knows no ranges answers 200 and starts from the first byte.
        continued = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if continued else 0
        length = response.headers["Content-Length"]
        total = done + int(length) if length else 0
        with part.open("ab" if continued else "wb") as file:
            while chunk := response.read(1 << 16):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, max(done, total))
            file.flush()
            os.fsync(file.fileno())
    if done < total:
        raise ConnectionError(f"the connection broke after {done:,} of {total:,} bytes")


def _reachable(urls: Sequence[str]) -> bool:
    """Tell within two seconds whether any of the servers answers, whatever it answers.

    The system's own name look-up can take far longer and can't be interrupted, hence the threads.
    """
    answers: Queue[bool] = Queue()

    def ask(url: str) -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_REACH_SECONDS).close()
            answers.put(True)
        except urllib.error.HTTPError:
            answers.put(True)
        except (OSError, http.client.HTTPException):
            answers.put(False)

    for url in urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    deadline = time.monotonic() + _REACH_SECONDS
    for _ in urls:
        try:
            if answers.get(timeout=max(0.0, deadline - time.monotonic())):
                return True
        except Empty:
            return False
    return False


def _wanted(published: Published, folder: Path, names: Sequence[str]) -> str:
    files = ", ".join(f"{name}.gz" for name in names)
    return f"{published.title} is not in {folder}: put {files} there"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # It guards against damage, not against an attacker: the publishers give no other sum.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__
