"""The one job of Photos that indexes, for as long as somebody watches it."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from mmfm.engines import choose
from mmfm.models.clip import TwoTowers
from mmfm.store import Store
from mmfm.tasks.index import Indexed, index

from .photos_folders import Place, failed_data, is_allowed

TOLD = 0.2  # seconds between two reports
PATIENCE = 20.0  # seconds after which indexing that nobody watches ends


class Job:
    """Indexing that works while somebody watches, and rests while nobody does.

    It has a thread of its own, so that reports come while the model is being chosen or looks at a
    batch, and so that it ends and frees the store when nobody comes back.
    """

    def __init__(
        self,
        place: Place,
        model: str,
        clip: TwoTowers,
        start: Callable[[Callable[[], bool]], Generator[Indexed]],
    ) -> None:
        self.place, self.key, self.clip = place, (place.folder, model), clip
        self.failed: dict[str, str] = {}
        self.now: Indexed | None = None
        self.ended = self.stopped = False
        self._told, self._ended_at = False, 0.0  # whether somebody has heard of the end
        self._error: Exception | None = None
        self._speeds: deque[tuple[int, float]] = deque(maxlen=20)  # (files opened, seconds)
        self._watchers = 0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(start,))
        self._thread.start()

    @property
    def is_watched(self) -> bool:
        """Whether anybody waits for it."""
        return not self.ended and self._watchers > 0

    @property
    def has_news(self) -> bool:
        """Whether it goes on, or has ended between two requests of somebody who watches it."""
        heard = self._told or time.monotonic() - self._ended_at > PATIENCE
        return not self.ended or not heard

    def stop(self) -> None:
        """End after the batch that the model is looking at; what was indexed stays."""
        with self._news:
            self.stopped = True
            self._news.notify_all()

    def end(self) -> None:
        """Stop, and wait until the store is free again."""
        self.stop()
        self._thread.join()

    def raise_error(self) -> None:
        """Hand on what went wrong."""
        if self._error is not None:
            raise self._error

    def watch(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Have it work for a while and report how far it comes."""
        until = time.monotonic() + seconds
        with self._news:
            self._watchers += 1
            self._news.notify_all()
        try:
            while time.monotonic() < until:
                with self._news:
                    self._news.wait_for(lambda: self.ended, TOLD)
                now = self.report()
                yield now
                if now["state"] != "running":
                    self._told = True
                    break
        finally:
            with self._news:
                self._watchers -= 1

    def report(self) -> dict[str, Any]:
        """How far it has come."""
        now = self.now or Indexed()
        speeds = list(self._speeds)
        opened, spent = sum(files for files, _ in speeds), sum(seconds for _, seconds in speeds)
        speed = opened / spent if opened and spent else None
        return {
            "state": "running" if not self.ended else "stopped" if self.stopped else "finished",
            "ready": self.now is not None,
            "stopping": self.stopped,
            "done": now.done,
            "total": now.total,
            "speed": speed,
            "left": (now.total - now.done) / speed if speed else None,
            "failed": failed_data(dict(self.failed), self.place),
            "failures": len(self.failed),
        }

    def _run(self, start: Callable[[Callable[[], bool]], Generator[Indexed]]) -> None:
        try:
            with contextlib.closing(start(lambda: self._is_over)) as steps:
                began = time.monotonic()
                for now in steps:
                    before, self.now = self.now or Indexed(), now
                    opened = (now.done - now.unchanged) - (before.done - before.unchanged)
                    self._speeds.append((opened, time.monotonic() - began))
                    self.failed.update(now.failed)
                    if not self._may_go_on():
                        self._told = not self.stopped  # nobody is there to hear of it
                        self.stopped = True
                        break
                    began = time.monotonic()
        except Exception as error:  # handed on by raise_error to whoever watches
            self._error = error
        with self._news:
            self.ended, self._ended_at = True, time.monotonic()
            self._news.notify_all()

    def _may_go_on(self) -> bool:
        """Tell those who watch. Where nobody does, rest; where nobody comes, it is over."""
        until = time.monotonic() + PATIENCE
        with self._news:
            self._news.notify_all()
            while not self._watchers and not self._is_over and time.monotonic() < until:
                self._news.wait(0.5)
            return self._watchers > 0 and not self._is_over

    @property
    def _is_over(self) -> bool:
        """Whether somebody has stopped it, or the server."""
        return self.stopped or not threading.main_thread().is_alive()


def steps(
    clip: TwoTowers,
    place: Place,
    store: Store,
    pictures: int | None,
    stop: Callable[[], bool],
) -> Generator[Indexed]:
    """Choose how to run the model, then index with it what lies below the allowed folder."""
    engine = choose(clip, pictures=pictures)
    yield from index(
        clip,
        engine,
        [place.folder],
        store=store,
        may_read=lambda real: is_allowed(real, place),
        stop=stop,
        wait=False,
    )
