"""A hub on this machine, which speaks as much of the real one's language as its library needs.

    with PublishedHub() as hub:
        hub.publish("owner/model", {"config.json": b"{}", "model.safetensors": b"..."})
        hub.address                # for HF_ENDPOINT
        hub.asked                  # (path, first byte asked for) of every file that was fetched

Large files have the SHA-256 of their content for a checksum, small ones git's, as on the real hub.
It can do what a bad line does: `break_after`, `corrupt`, `pace`.
"""

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

COMMIT = "c" * 40


def checksum(content: bytes, large: bool) -> str:
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


class PublishedHub:
    """Repositories, and a server that hands them out."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, int]] = []
        self.questions = 0  # of any kind
        self.break_after: dict[
            str, list[int]
        ] = {}  # path -> bytes, of one connection after another
        self.corrupt: dict[str, bytes] = {}  # path -> what is sent instead
        self.pace = 0.0  # seconds between two pieces of a file
        self.ranges = True
        self.refers = False  # to another host for its files, as the real one does for large ones
        self.keys: list[tuple[str, str | None]] = []  # host, and what a person is known by there
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, repository: str, content: dict[str, bytes]) -> None:
        self.repositories[repository] = content

    def fetched(self) -> list[str]:
        return sorted({path for path, _ in self.asked})

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(hub: PublishedHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            hub.questions += 1
            path = self.path.split("?")[0].strip("/")
            named = re.search(r"/(?:resolve|revision|tree)/([0-9a-f]{40})\b", path)
            self.commit = named[1] if named else COMMIT  # what else is asked for is the usual one
            if path.startswith("api/models/"):
                self.tell(path.removeprefix("api/models/"))
            elif "/resolve/" in path:
                elsewhere = path.startswith("elsewhere/")
                host, key = self.headers["Host"].split(":")[0], self.headers.get("Authorization")
                hub.keys.append((host, key))
                if hub.refers and not elsewhere:
                    port = hub.address.rpartition(":")[2]
                    to = f"http://localhost:{port}/elsewhere/{path}"
                    file = path.rpartition("/")[2]
                    content = hub.repositories[path.partition("/resolve/")[0]][file]
                    tag = f'"{checksum(content, is_large(file))}"'
                    linked = {"X-Linked-Etag": tag, "X-Linked-Size": f"{len(content)}"}
                    self.send(302, b"", {"Location": to, **linked})
                    return
                repository, _, rest = path.removeprefix("elsewhere/").partition("/resolve/")
                _, _, file = rest.partition("/")
                self.hand_out(hub.repositories.get(repository, {}).get(file), file)
            else:
                self.send(200, b"")

        def tell(self, path: str) -> None:
            repository = next((name for name in hub.repositories if path.startswith(name)), None)
            if repository is None:
                self.send(404, b"", {"X-Error-Code": "RepoNotFound"})
                return
            files = hub.repositories[repository]
            if "/tree/" in path:
                self.send(200, json.dumps([_entry(*file) for file in files.items()]).encode())
                return
            siblings = [_sibling(*file) for file in files.items()]
            said = {"id": repository, "sha": self.commit, "siblings": siblings}
            self.send(200, json.dumps(said).encode())

        def hand_out(self, content: bytes | None, file: str) -> None:
            if content is None:
                self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            tag = {"ETag": f'"{checksum(content, is_large(file))}"'}
            if self.command == "HEAD":
                self.send(200, content, tag)
                return
            start = 0
            if hub.ranges and (wish := self.headers.get("Range")):
                start = int(wish.removeprefix("bytes=").rstrip("-"))
                tag["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            hub.asked.append((file, start))
            sent = hub.corrupt.get(file, content)[start:]
            cuts = hub.break_after.get(file, [])
            self.send(206 if start else 200, sent, tag, cut=cuts.pop(0) if cuts else None)

        def send(
            self,
            status: int,
            content: bytes,
            more: dict[str, str] | None = None,
            cut: int | None = None,
        ) -> None:
            self.send_response(status)
            for key, value in {"X-Repo-Commit": self.commit, **(more or {})}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            content = content if cut is None else content[:cut]
            for at in range(0, len(content), 1 << 16):
                self.wfile.write(content[at : at + (1 << 16)])
                time.sleep(hub.pace)

        def log_message(self, format: str, *args: Any) -> None: ...

    return Handler


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"rfilename": path, "size": len(content)}
    said["blobId"] = checksum(content, large=False)
    if is_large(path):
        sha = checksum(content, large=True)
        said["lfs"] = {"size": len(content), "sha256": sha, "pointerSize": 130}
    return said


def _entry(path: str, content: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    said["oid"] = checksum(content, large=False)
    if is_large(path):
        sha = checksum(content, large=True)
        said["lfs"] = {"size": len(content), "oid": sha, "pointerSize": 130}
    return said
