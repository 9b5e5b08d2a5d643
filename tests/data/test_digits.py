"""IDX files are read exactly or refused, and a download ends with the right file or with none."""

import gzip
import hashlib
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mmfm.data import digits
from mmfm.data.digits import fetch, load_digits8, load_idx_folder, load_mnist, read_idx
from mmfm.errors import BadData, NotHere, Offline


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def small_set(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    shapes = ((30, 28, 28), (30,), (10, 28, 28), (10,))
    return {
        name: draw.integers(0, 10, shape, dtype=np.uint8)
        for name, shape in zip(digits.FILES, shapes, strict=True)
    }


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (0,), (3, 4), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_reads_back_as_it_was_written(tmp_path, shape, packed):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    assert read_idx(path).dtype == np.uint8
    assert np.array_equal(read_idx(path), array)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


# Every case has a name of its own: an id of the bytes themselves would hold gzip's clock, and two
# workers that collect in different seconds would not agree on the tests.
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "not an IDX file", id="empty"),
        pytest.param(b"<html>not found</html>", "not an IDX file", id="a page"),
        pytest.param(b"\0\0\x0d\x01" + GOOD[4:], "not an IDX file", id="floats"),
        pytest.param(b"\0\0\x08\x00", "not an IDX file", id="no axes"),
        pytest.param(GOOD[:-1], "cut short", id="a byte less"),
        pytest.param(GOOD[:9], "cut short", id="half a head"),
        pytest.param(GOOD + b"\0", "too long", id="a byte more"),
        pytest.param(b"\0\0\x08\x03" + b"\xff" * 12, "cut short", id="a giant"),
        pytest.param(gzip.compress(GOOD)[:-9], "damaged or cut short", id="packed, cut"),
        pytest.param(
            gzip.compress(GOOD)[:30] + b"\0\0\0", "damaged or cut short", id="packed, spoiled"
        ),
        pytest.param(gzip.compress(GOOD[:-1]), "cut short", id="packed, a byte less"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason(tmp_path, data, reason):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(BadData, match=reason) as caught:
        read_idx(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_idx_file_is_not_here(tmp_path):
    with pytest.raises(NotHere):
        read_idx(tmp_path / "none")


def test_a_folder_of_someones_own_idx_files_is_read_under_any_of_their_names(tmp_path):
    arrays = small_set()
    for index, (name, array) in enumerate(arrays.items()):
        dotted = name.replace("-idx", ".idx")
        path = tmp_path / (name, f"{name}.gz", dotted, f"{dotted}.gz")[index]
        path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))
    for got, expected in zip(load_idx_folder(tmp_path), arrays.values(), strict=True):
        assert np.array_equal(got, expected)


def test_idx_files_that_do_not_fit_together_are_refused(tmp_path):
    arrays = small_set()
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    (tmp_path / digits.FILES[3]).write_bytes(idx(np.zeros(9, np.uint8)))
    with pytest.raises(BadData, match="t10k"):
        load_idx_folder(tmp_path)
    (tmp_path / digits.FILES[3]).unlink()
    with pytest.raises(NotHere, match=digits.FILES[3]):
        load_idx_folder(tmp_path)


def test_scikit_learns_digits_are_split_evenly_and_always_the_same():
    loaded, again = load_digits8(), load_digits8()
    assert all(np.array_equal(a, b) for a, b in zip(loaded, again, strict=True))
    assert loaded.train_images.shape == (1198, 8, 8) and loaded.test_images.shape == (599, 8, 8)
    assert loaded.train_images.dtype == np.uint8
    assert (loaded.train_images.min(), loaded.train_images.max()) == (0, 255)
    train, test = np.bincount(loaded.train_labels), np.bincount(loaded.test_labels)
    assert len(train) == 10 and np.abs(test - (train + test) / 3).max() < 1
    both = np.concatenate([loaded.train_images, loaded.test_images]).reshape(1797, -1)
    assert len(np.unique(both, axis=0)) == 1797, "the same digit on both sides"


def test_the_default_folder_follows_mmfm_data(tmp_path, monkeypatch):
    monkeypatch.setenv("MMFM_DATA", str(tmp_path))
    assert digits.default_folder(digits.MNIST) == tmp_path / "mnist"
    assert digits.default_folder(digits.FASHION) == tmp_path / "fashion"
    monkeypatch.delenv("MMFM_DATA")
    assert digits.default_folder(digits.MNIST).parts[-2:] == ("mmfm", "mnist")


# Downloading, from servers that behave as servers do ----------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves `files`; `ranges`, `cut_after` and `status` make it worse than that."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files
        self.ranges = True
        self.cut_after: int | None = None
        self.status: int | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        asked = self.headers["Range"]
        server.asked.append((name, asked))
        if server.status or name not in server.files:
            self.send_error(server.status or 404)
            return
        data, start = server.files[name], 0
        if asked and server.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop = len(data) if server.cut_after is None else start + server.cut_after
        self.wfile.write(data[start:stop])
        self.close_connection = True

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def start(files):
        server = Server(files)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


DATA = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(DATA).hexdigest()


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_a_download_arrives_whole_and_tells_how_far_it_is(tmp_path, serve):
    server, told = serve({"a.gz": DATA}), []
    fetch([server.url + "a.gz"], tmp_path / "a.gz", MD5, lambda *step: told.append(step))
    assert (tmp_path / "a.gz").read_bytes() == DATA
    assert told[-1] == (300_000, 300_000) and told == sorted(told)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gz"]


def test_a_cut_download_goes_on_where_it_stopped(tmp_path, serve):
    server = serve({"a.gz": DATA})
    server.cut_after = 100_000
    with pytest.raises(NotHere, match="broke after 100,000 of 300,000"):
        fetch([server.url + "a.gz"], tmp_path / "a.gz", MD5)
    assert not (tmp_path / "a.gz").exists()
    server.cut_after, told = None, []
    fetch([server.url + "a.gz"], tmp_path / "a.gz", MD5, lambda *step: told.append(step))
    assert told[0][0] > 100_000 and told[-1] == (300_000, 300_000)
    assert (tmp_path / "a.gz").read_bytes() == DATA
    assert server.asked == [("a.gz", None), ("a.gz", "bytes=100000-")]


def test_the_second_mirror_goes_on_where_the_first_was_cut(tmp_path, serve):
    first, second = serve({"a.gz": DATA}), serve({"a.gz": DATA})
    first.cut_after = 100_000
    fetch([first.url + "a.gz", second.url + "a.gz"], tmp_path / "a.gz", MD5)
    assert (tmp_path / "a.gz").read_bytes() == DATA
    assert second.asked == [("a.gz", "bytes=100000-")]


def test_a_server_that_knows_no_ranges_starts_over(tmp_path, serve):
    server = serve({"a.gz": DATA})
    server.ranges = False
    (tmp_path / "a.gz.part").write_bytes(DATA[:1000])
    fetch([server.url + "a.gz"], tmp_path / "a.gz", MD5)
    assert (tmp_path / "a.gz").read_bytes() == DATA


@pytest.mark.parametrize("stale", [DATA + b"more", b"x" * 400_000])
def test_a_part_longer_than_the_file_is_dropped(tmp_path, serve, stale):
    server = serve({"a.gz": DATA})
    (tmp_path / "a.gz.part").write_bytes(stale)
    fetch([server.url + "a.gz"], tmp_path / "a.gz", MD5)
    assert (tmp_path / "a.gz").read_bytes() == DATA


def test_a_part_that_was_already_whole_needs_no_server(tmp_path):
    (tmp_path / "a.gz.part").write_bytes(DATA)
    fetch([closed_port() + "a.gz"], tmp_path / "a.gz", MD5)
    assert (tmp_path / "a.gz").read_bytes() == DATA


@pytest.mark.parametrize("trouble", ["dead", "404", "500", "wrong", "wrong part"])
def test_the_second_mirror_mends_what_the_first_did_wrong(tmp_path, serve, trouble):
    first, second = serve({"a.gz": DATA}), serve({"a.gz": DATA})
    url = closed_port() if trouble == "dead" else first.url
    if trouble.isdecimal():
        first.status = int(trouble)
    if trouble == "wrong":
        first.files["a.gz"] = b"another file"
    if trouble == "wrong part":
        (tmp_path / "a.gz.part").write_bytes(b"x" * 1000)
    fetch([url + "a.gz", second.url + "a.gz"], tmp_path / "a.gz", MD5)
    assert (tmp_path / "a.gz").read_bytes() == DATA


def test_a_wrong_checksum_everywhere_leaves_nothing_behind(tmp_path, serve):
    server = serve({"a.gz": b"a login page"})
    with pytest.raises(BadData, match="checksum") as caught:
        fetch([server.url + "a.gz"] * 2, tmp_path / "a.gz", MD5)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


# A published set ----------------------------------------------------------------------------------


@pytest.fixture
def published(serve, monkeypatch):
    """A small MNIST on two mirrors of its own."""
    arrays = small_set()
    files = {f"{name}.gz": gzip.compress(idx(array)) for name, array in arrays.items()}
    mirrors = (serve(files), serve(files))
    small = replace(
        digits.MNIST,
        mirrors=tuple(server.url for server in mirrors),
        md5={name[:-3]: hashlib.md5(data).hexdigest() for name, data in files.items()},
        unpacked={name: hashlib.md5(idx(array)).hexdigest() for name, array in arrays.items()},
        shapes=tuple(array.shape for array in arrays.values()),
    )
    monkeypatch.setattr(digits, "MNIST", small)
    return arrays, mirrors


def test_mnist_is_downloaded_once(tmp_path, published):
    arrays, mirrors = published
    for _ in range(2):
        loaded = load_mnist(tmp_path / "new" / "mnist")
        for got, expected in zip(loaded, arrays.values(), strict=True):
            assert np.array_equal(got, expected)
    assert len(mirrors[0].asked) == 4 and not mirrors[1].asked


def test_several_processes_at_once_share_one_download(tmp_path, published):
    _, mirrors = published
    threads = [threading.Thread(target=load_mnist, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mirrors[0].asked) == 4


def test_a_folder_that_cannot_be_written_to_is_said_so(tmp_path, published):
    (tmp_path / "file").touch()
    with pytest.raises(NotHere, match="set MMFM_DATA"):
        load_mnist(tmp_path / "file" / "below")


def put_unpacked(folder, arrays):
    folder.mkdir()
    for name, array in arrays.items():
        (folder / name).write_bytes(idx(array))
    return folder


def test_unpacked_files_are_as_good_if_they_are_the_published_ones(tmp_path, published):
    arrays, mirrors = published
    folder = put_unpacked(tmp_path / "mnist", arrays)
    assert np.array_equal(load_mnist(folder).train_images, arrays[digits.FILES[0]])
    assert not mirrors[0].asked
    # Of the same shape, as Fashion-MNIST's would be.
    other = put_unpacked(tmp_path / "fashion", small_set(seed=1))
    with pytest.raises(BadData, match=r"train-images.*not MNIST's file, its checksum differs"):
        load_mnist(other)


def test_unpacked_clothes_are_taken_for_their_shape_but_digits_are_none(
    tmp_path, published, monkeypatch
):
    arrays, _ = published
    shapes = tuple(array.shape for array in arrays.values())
    monkeypatch.setattr(digits, "FASHION", replace(digits.FASHION, shapes=shapes))
    clothes = small_set(seed=1)
    folder = put_unpacked(tmp_path / "fashion", clothes)
    loaded = load_mnist(folder, fashion=True)
    assert np.array_equal(loaded.test_images, clothes[digits.FILES[2]])
    (folder / digits.FILES[1]).write_bytes(idx(np.zeros(29, np.uint8)))
    with pytest.raises(BadData, match="29"):
        load_mnist(folder, fashion=True)
    with pytest.raises(BadData, match="not Fashion-MNIST's file"):
        load_mnist(put_unpacked(tmp_path / "mnist", arrays), fashion=True)


def test_a_packed_file_with_another_checksum_is_refused(tmp_path, published):
    load_mnist(tmp_path)
    (tmp_path / f"{digits.FILES[0]}.gz").write_bytes(
        gzip.compress(idx(small_set(seed=1)[digits.FILES[0]]))
    )
    with pytest.raises(BadData, match="checksum"):
        load_mnist(tmp_path)


def test_without_download_the_line_names_folder_and_files(tmp_path, published):
    with pytest.raises(NotHere) as caught:
        load_mnist(tmp_path, download=False)
    line = str(caught.value)
    assert str(tmp_path) in line and all(f"{name}.gz" in line for name in digits.FILES)
    assert not isinstance(caught.value, Offline) and not published[1][0].asked


def test_offline_says_within_two_seconds_where_the_files_go(tmp_path, published, monkeypatch):
    """One mirror refuses, the other takes the connection and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        mirrors = (closed_port(), f"http://127.0.0.1:{silent.getsockname()[1]}/")
        monkeypatch.setattr(digits, "MNIST", replace(digits.MNIST, mirrors=mirrors))
        start = time.monotonic()
        with pytest.raises(Offline) as caught:
            load_mnist(tmp_path / "new")
        assert time.monotonic() - start < 10
    line = str(caught.value)
    assert "\n" not in line and str(tmp_path / "new") in line
    assert all(f"{name}.gz" in line for name in digits.FILES)
    assert not (tmp_path / "new").exists()


def test_the_checksums_are_the_published_ones_and_the_sets_are_told_apart():
    assert all(
        len(sum_) == 32 for set_ in (digits.MNIST, digits.FASHION) for sum_ in set_.md5.values()
    )
    assert set(digits.MNIST.md5) == set(digits.FASHION.md5) == set(digits.FILES)
    assert not set(digits.MNIST.md5.values()) & set(digits.FASHION.md5.values())
    assert set(digits.MNIST.unpacked) == set(digits.FILES) and not digits.FASHION.unpacked
    assert len(digits.FASHION.classes) == len(digits.MNIST.classes) == 10
