"""What is known of pictures before they are looked at: from the store, and from an interrupted run.

memory = Memory(clip, files, run=["auto", folder], resume=True)
engine = choose(clip, memory.engine or "auto", pictures=memory.unknown)
classifier.stream(files, known=memory.known, keep=memory.keeping(engine.name))
memory.finish()
"""

import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from mmfm.encoding import Keep, Picture, Row
from mmfm.errors import BadData, MmfmError, NotHere
from mmfm.files import Stamp
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import cache_file, fingerprint
from mmfm.store import Store, below, stored_rows
from mmfm.unfinished import Unfinished

_WORTH_A_STORE = 32  # files; to open the store takes longer than to look at fewer


class Memory:
    """The rows of some files under one model, as far as they are known.

    `stream` is given the same files in the same order.

    `run` names the run beside the model, so that an interrupted one is found again. `store`: its
    folder, the user's own if not said. What an interrupted run has seen is used with `resume`.
    Where another process is at the same run, nothing of it is used, and nothing is kept. Nor is
    anything kept where nothing can be written; a run that is to go on is then not begun anew.
    """

    def __init__(
        self,
        clip: TwoTowers,
        files: Sequence[Path],
        *,
        run: Iterable[str],
        exact: bool = False,
        store: Path | Literal["none"] | None = None,
        resume: bool = False,
        say: Callable[[str], None],
    ) -> None:
        self._say = say
        self._indexed = [] if store == "none" else _stored(clip, files, exact, store, say)
        self.indexed = sum(row is not None for row in self._indexed)
        if isinstance(store, Path) and not self.indexed:
            how = f"{clip.source} --exact" if exact else clip.source
            say(f"{store}: none of these pictures is indexed there with {how}; all are looked at")
        self._unfinished: Unfinished | None = None
        self._resumed: Unfinished | None = None
        seen = 0
        if len(files) > 1:
            of = [fingerprint(clip), f"{exact}", *run]
            self._unfinished = Unfinished(cache_file().parent / "unfinished", of)
            seen = self._seen_before(files, resume)
        # An interrupted run goes on as it began, so that it ends as if it had not been interrupted.
        self.engine = self._resumed.engine if self._resumed is not None else None
        self.unknown = len(files) - self.indexed - (seen if self._resumed is not None else 0)

    def _seen_before(self, files: Sequence[Path], resume: bool) -> int:
        """How many of the files an interrupted run has looked at; with `resume` they are known."""
        # What it has moved away since is none of them.
        indexed = self._indexed or [None] * len(files)
        pairs = zip(files, indexed, strict=True)
        try:
            if self._unfinished is None or not self._unfinished.file.exists():
                return 0
            if (unfinished := self._held()) is None:
                return 0
            seen = unfinished.count(f"{file}" for file, row in pairs if row is None)
        except (BadData, OSError) as error:
            # What was moved away before the interruption has had a say in the answers to the rest.
            if resume:
                raise
            self._give_up(error)
            return 0
        if resume:
            self._resumed = unfinished
        if seen and resume:
            self._say(f"going on: {seen:,} pictures were looked at before")
        elif seen:
            told = f"an interrupted run has looked at {seen:,} of these"
            self._say(f"{told}; --resume goes on with it")
        return seen

    def known(self, pictures: Sequence[tuple[int, Picture]]) -> list[Row | None]:
        """The rows of some of the files, each with its number; None for what has to be seen."""
        found = [self._indexed[number] if self._indexed else None for number, _ in pictures]
        if self._resumed is not None:
            left = [place for place, row in enumerate(found) if row is None]
            seen = self._resumed.rows([f"{pictures[place][1]}" for place in left])
            for place, row in zip(left, seen, strict=True):
                found[place] = row
        return found

    def keeping(self, engine: str) -> Keep:
        """What writes down what this engine sees, for the case that the run is interrupted."""

        def keep(seen: list[tuple[str, Stamp, Row]]) -> None:
            self._write(lambda unfinished: unfinished.keep(seen, engine))

        return keep

    def cut(self, labels: str) -> float | None:
        """Where the evidence for any of these labels begins, as the interrupted run found it."""
        return None if self._resumed is None else self._resumed.cut(labels)

    def keep_cut(self, labels: str, cut: float) -> None:
        """Write that down: it was found in the whole folder, of which a part may be moved away."""
        self._write(lambda unfinished: unfinished.keep_cut(labels, cut))

    @property
    def keeps(self) -> bool:
        """Whether what was seen stays when the run is interrupted."""
        return self._unfinished is not None

    def close(self) -> None:
        """The run was interrupted: what it saw stays."""
        if self._unfinished is not None:
            self._unfinished.close()

    def finish(self) -> None:
        """The run has come to its end: nothing needs to stay."""
        if self._unfinished is not None:
            self._unfinished.finish()

    def _write(self, what: Callable[[Unfinished], None]) -> None:
        """Keep something; where that fails, the answers are still worth having."""
        try:
            if (unfinished := self._held()) is not None:
                what(unfinished)
        except BadData as error:
            if self._resumed is not None:
                raise  # its rows are read to the end
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._unfinished is not None:
            self._unfinished.close()
            self._unfinished = None
        self._say(f"{error}; --resume would begin anew")

    def _held(self) -> Unfinished | None:
        """What the run is kept in; None where another process has it."""
        if self._unfinished is not None and not self._unfinished.hold():
            self._unfinished = None
            self._say(
                "another mmfm looks at these pictures in the same way just now; what this one sees "
                "is not kept, so --resume would begin anew"
            )
        return self._unfinished


def models_of(paths: Sequence[Path], store: Path | None = None) -> list[str]:
    """The models by which folders or files are indexed, each under the name that loads it."""
    kept = Store(store)
    inside = below(os.fsencode(os.path.realpath(path.expanduser())) for path in paths)
    return [one.model for one in kept.models() if kept.shelf(one.mark).count(inside)]


def _stored(
    clip: TwoTowers,
    files: Sequence[Path],
    exact: bool,
    folder: Path | None,
    say: Callable[[str], None],
) -> list[Row | None]:
    """The rows of the files that are in the store; an empty list where it is not asked."""
    if folder is None and len(files) < _WORTH_A_STORE:
        return []
    try:
        store = Store(folder)
        if folder is not None and not store.models():
            make = f"mmfm index DIR --store {shlex.quote(str(folder))}"
            raise NotHere(f"{folder}: there is no store; {make} makes one")
        return stored_rows(store, clip, files, exact=exact)
    except MmfmError as error:
        if folder is not None:
            raise
        say(f"{error}; the pictures are looked at again")
        return []
