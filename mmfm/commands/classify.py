"""`mmfm classify`: name the pictures of a folder, write the answers down, sort by them."""

import gc
import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmfm.commands.options import (
    Adapted,
    AsTemplates,
    Clip,
    Device,
    EngineName,
    Exact,
    InStore,
    as_templates,
    check_engine,
    chosen_clip,
    chosen_engine,
    done_with,
    label_file,
    need_outputs,
    spare_pictures,
)
from mmfm.errors import BadInput, MmfmError, NotHere

if TYPE_CHECKING:
    from mmfm.tasks.classify import Prediction, ZeroShotClassifier
    from mmfm.tasks.sort import Placed

_TOLD = 400  # letters of labels; longer ones are cut and told apart by a mark


def classify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Pictures, or folders of them.")
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LABELS",
            help="Answer with these: dog=강아지|puppy,cat (shown=called|called), or @FILE, one a "
            "line.",
        ),
    ] = None,
    model: Clip = None,
    templates: AsTemplates = "default",
    multi: Annotated[
        bool, typer.Option("--multi", help="Judge each label by itself: none, one or many apply.")
    ] = False,
    none: Annotated[
        bool, typer.Option("--none", help="Allow the answer that none of the labels applies.")
    ] = False,
    adapter: Adapted = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Use what mmfm evaluate has fitted.")
    ] = None,
    exact: Exact = False,
    engine: EngineName = "auto",
    device: Device = "auto",
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, nothing else.")
    ] = False,
    all_scores: Annotated[
        bool, typer.Option("--all-scores", help="Put every score into the JSON, not the top five.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table, a picture a row.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page of thumbnails, the uncertain ones first."),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copy each picture into a folder named as its label."),
    ] = None,
    move_to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Move it there; mmfm undo takes that back."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be copied or moved, and do nothing.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same command that was interrupted.")
    ] = False,
    store: InStore = None,
    verbose: Annotated[
        bool, typer.Option("-v", help="Say what is run, and what the scores mean.")
    ] = False,
) -> None:
    """Name pictures by labels of your own, without any training."""
    if sum((json, csv is not None, html is not None)) > 1:
        raise BadInput("--json, --csv and --html exclude each other; run it once for each")
    if all_scores and not json:
        raise BadInput("--all-scores goes with --json")
    if copy_to is not None and move_to is not None:
        raise BadInput("--copy-to and --move-to exclude each other")
    out, move = copy_to or move_to, move_to is not None
    if dry_run and out is None:
        raise BadInput("--dry-run goes with --copy-to or --move-to")
    check_engine(engine, exact)
    read = (*paths, label_file(labels), templates, adapter, calibration)
    need_outputs(csv, html, inputs=read)
    spare_pictures(csv, html)
    from mmfm.contact_sheet import Report
    from mmfm.data.folders import left_out
    from mmfm.faces import counting, stopping
    from mmfm.listing import Table
    from mmfm.memory import Memory
    from mmfm.models.scores import SCORE_KINDS
    from mmfm.tasks.classify import ZeroShotClassifier
    from mmfm.tasks.sort import check_out, sort_pictures

    if out is not None:
        check_out(out, move=move, resume=resume)
    wished = _wished_labels(labels, adapter, calibration)
    found = _find(paths, without=out)
    with stopping() as stop, counting() as counter, ExitStack() as ending:
        if model is None and adapter is None and calibration is None:
            model = _indexed_by(paths, store, counter.say)
        clip = chosen_clip(model, device, counter.say)
        # Of an engine that is asked for by name, the answers should be its own.
        own = engine != "auto" and not exact
        if own and store is not None:
            counter.say(f"--engine {engine} looks at every picture; {store} is not asked")
        memory = Memory(
            clip,
            found.files,
            run=[engine, *(os.path.realpath(path) for path in paths)],
            exact=exact,
            store="none" if own else store,
            resume=resume,
            say=counter.say,
        )
        ending.enter_context(closing(memory))
        wish = memory.engine or engine
        runs_on = chosen_engine(clip, wish, exact, memory.unknown, counter.say)
        clf = ZeroShotClassifier(
            clip,
            wished,
            templates=as_templates(templates),
            multi_label=multi,
            none_of_these=none,
            adapter=adapter,
            calibration=calibration,
            engine=runs_on,
            exact=exact,
            progress=counter.show("reading labels"),
            warn=counter.say,
        )
        for path, why in found.unreadable:
            counter.say(f"{path}: {why}")
        for line in left_out(found.others):
            counter.say(line)
        about = f"{clip.source} on {clip.weight.device}, {len(clf.labels)} labels"
        if verbose:
            counter.say(about)
            if memory.unknown:
                counter.say(runs_on.about)
            counter.say(f"score: {SCORE_KINDS[clf.score_kind]}")
            if memory.indexed:
                counter.say(f"{memory.indexed:,} pictures are known from the store")
        each = dict(zip(clf.labels, clf.thresholds, strict=True))
        if resume and move and (csv or html):
            counter.say(
                f"what was moved before the interruption will not be in {csv or html}; classify "
                f"{move_to} writes down all that lies there"
            )
        sheet = Table(csv) if csv else Report(html, about, thresholds=each) if html else None
        answers = _Answers(sheet, as_json=json, all_scores=all_scores, say=counter.say)
        predictions = clf.stream(
            found.files,
            # The page tells from all of them how near another answer was.
            top=None if all_scores or html is not None else 5,
            known=memory.known,
            keep=memory.keeping(runs_on.name) if memory.unknown > 2 * runs_on.batch else None,
            # What is moved away before an interruption is not there to be asked again.
            cut=memory.cut(clf.label_set),
            keep_cut=partial(memory.keep_cut, clf.label_set) if move and not dry_run else None,
        )
        links = _links(found.files) if move and not dry_run else []
        # What is loaded stays loaded: Python need not look through it again and again for garbage.
        gc.freeze()
        show = counter.show("classifying")
        shown = _shown(predictions, lambda done: show(done, len(found.files)), stop)
        try:
            if out is None:
                for prediction in shown:
                    answers.tell(prediction)
            else:
                placed = sort_pictures(
                    answers.taking(shown),
                    out,
                    move=move,
                    labels=clf.labels,
                    asked=_asked_for(clf, adapter, calibration),
                    dry_run=dry_run,
                    resume=resume,
                )
                answers.tell_placed(placed, dry_run=dry_run)
        except KeyboardInterrupt:
            goes_on = "the same command with --resume goes on from there"
            if out is None and not memory.keeps:
                goes_on = "the same command begins anew"
            unwritten = "" if sheet is None else f"; {sheet.path} is not written yet"
            after = f" after {answers.count:,} of {len(found.files):,}" if out is None else ""
            counter.say(f"stopped{after}: {goes_on}{unwritten}")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `| head` has read enough
            if out is not None and not dry_run:
                counter.say("stopped, as nobody reads on: the same command with --resume goes on")
            raise
        if sheet is not None:
            sheet.write()
            done_with(sheet.path, f"{sheet.path}: {answers.read:,} pictures", counter.say)
        if not (dry_run and resume):  # else it is still to be gone on with
            memory.finish()
        if out is not None:
            answers.tell_end(out, dry_run=dry_run)
        if broken := sum(not link.exists() for link in links):
            lead = "1 link now leads" if broken == 1 else f"{broken:,} links now lead"
            counter.say(f"{lead} nowhere: what was there has been moved")
    if not answers.read:
        raise typer.Exit(1)
    raise typer.Exit(3 if answers.failed or found.unreadable else 0)


# --- what is looked at --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    files: list[Path]
    others: Counter[str]
    unreadable: list[tuple[Path, str]]


def _find(paths: Sequence[Path], without: Path | None) -> _Found:
    from mmfm.data.folders import left_out, picture_files

    each = [picture_files(path, without=without) for path in paths]
    files = [file for found in each for file in found.files]
    if len(each) > 1:  # a folder, and one in it or itself as src/../src: each picture once
        once: dict[Path, Path] = {}
        for file in files:
            once.setdefault(_real(file.parent) / file.name, file)
        files = list(once.values())
    others = sum((found.others for found in each), Counter[str]())
    unreadable = [failed for found in each for failed in found.unreadable]
    if not files:
        reasons = [*left_out(others), *(f"{path}: {why}" for path, why in unreadable[:3])]
        raise NotHere("; ".join([f"no picture in {', '.join(map(str, paths))}", *reasons]))
    return _Found(files, others, unreadable)


@cache  # a folder may hold a hundred thousand pictures
def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _links(files: Iterable[Path]) -> list[Path]:
    """Those of the files that are links, and lead somewhere."""
    return [file for file in files if file.is_symlink() and file.exists()]


def _indexed_by(
    paths: Sequence[Path], store: Path | None, say: Callable[[str], None]
) -> str | None:
    """The model by which the pictures are indexed, if it is one; the usual one is not named."""
    from mmfm.memory import models_of
    from mmfm.tasks.classify import default_model

    try:
        models = set(models_of(paths, store))
    except MmfmError as error:
        if store is not None:
            raise
        say(f"{error}; by which model the pictures are indexed is not known")
        return None
    if len(models) != 1 or default_model() in models:
        return None
    (model,) = models
    say(f"with {model}, by which these pictures are indexed (--model takes another)")
    return model


def _wished_labels(labels: str | None, adapter: Path | None, calibration: Path | None) -> Any:
    """The labels that were written down, else those that a file was made for."""
    from mmfm.data.labels import Label, read_labels

    if labels is not None:
        return read_labels(labels)
    if adapter is not None:
        from mmfm.models.adapters import Adapter

        return Adapter.read(adapter).all_labels
    if calibration is not None:
        from mmfm.models.scores import Calibration

        return [Label(shown, tuple(said)) for shown, *said in Calibration.read(calibration).said]
    raise BadInput('--labels is missing: --labels "dog=강아지|puppy,cat", or --labels @FILE')


def _asked_for(clf: "ZeroShotClassifier", adapter: Path | None, calibration: Path | None) -> str:
    """What the answers hang on, in words: an interrupted sort goes on with the same."""
    labels = ",".join(
        label.name if label.names == (label.name,) else f"{label.name}={'|'.join(label.names)}"
        for label in clf.all_labels
    )
    if len(labels) > _TOLD:
        mark = hashlib.sha256(labels.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        labels = f"{labels[:_TOLD]}... ({len(clf.labels):,} labels, {mark})"
    options = " --multi" * clf.multi_label + " --none" * clf.none_of_these
    for name, file in (("adapter", adapter), ("calibration", calibration)):
        options += f" --{name} {os.path.realpath(file)}" if file is not None else ""
    return f"--labels {labels}{options} with {clf.clip.source}"


# --- what is told -------------------------------------------------------------------------------


def _shown(
    predictions: "Iterable[Prediction]", show: Callable[[int], None], stop: Callable[[], bool]
) -> "Iterator[Prediction]":
    """Predictions, with how many there were; a stop is an interrupt where nothing is in flight."""
    for done, prediction in enumerate(predictions, 1):
        yield prediction
        show(done)
        if stop():
            raise KeyboardInterrupt


class _Answers:
    """Prints the answers or puts them into a sheet, and counts them."""

    def __init__(
        self, sheet: Any, *, as_json: bool, all_scores: bool, say: Callable[[str], None]
    ) -> None:
        self.count = self.read = self.failed = 0
        self._sheet, self._as_json, self._all_scores, self._say = sheet, as_json, all_scores, say
        self._waiting: dict[str | None, Prediction] = {}
        self._how: Counter[str] = Counter()

    def tell(self, prediction: "Prediction", to: Sequence[str] | None = None) -> None:
        """One answer, and where its picture went."""
        from mmfm.data.texts import legible
        from mmfm.listing import as_json, as_line

        self.count += 1
        self.read += prediction.error is None
        self.failed += prediction.error is not None
        if self._sheet is not None:
            # The page shows a picture that was moved where it is now.
            if to and prediction.path is not None and not os.path.lexists(prediction.path):
                prediction = replace(prediction, path=to[0])
            self._sheet.add(prediction)
        elif self._as_json:
            print(as_json(prediction, all_scores=self._all_scores, to=to), flush=True)
        elif prediction.error is None:
            where = "" if to is None else f" -> {', '.join(to)}" if to else ": left"
            print(legible(f"{as_line(prediction)}{where}"), flush=True)
        if prediction.error is not None:
            self._say(f"{prediction.path}: {prediction.error}; left out")

    def taking(self, predictions: "Iterable[Prediction]") -> "Iterator[Prediction]":
        """Predictions on their way to be sorted; they are told when their picture has its place."""
        for prediction in predictions:
            self._waiting[prediction.path] = prediction
            yield prediction

    def tell_placed(self, placed: "Iterable[Placed]", *, dry_run: bool) -> None:
        """Each answer, with what became of its picture."""
        for path, group in groupby(placed, key=lambda one: one.path):
            several = list(group)
            prediction = self._waiting.pop(path, None)
            if prediction is None:
                # Of a run that was interrupted: what it had begun is finished before all else.
                self._how.update(one.how for one in several)
                continue
            self.tell(prediction, [f"{one.to}" for one in several if one.to is not None])
            self._how.update(one.how for one in several)
            for one in several:
                if one.how == "left" and prediction.error is None:
                    self.failed += 1
                    is_gone = path is not None and not os.path.lexists(path)
                    where = "it is gone from there" if is_gone else "left where it is"
                    self._say(f"{path}: {one.reason}; {where}")

    def tell_end(self, out: Path, *, dry_run: bool) -> None:
        """What was done, and how it is taken back."""
        from mmfm.tasks.sort import journals

        would = "would be " if dry_run else ""
        done = ", ".join(f"{count:,} {would}{how}" for how, count in self._how.most_common())
        if dry_run:
            self._say(f"{done}; nothing was touched (--dry-run)")
            return
        back = ""
        if self._how["moved"] or self._how["copied"]:
            # By when it was written: names go by the clock on the wall, which may be set back.
            journal = max(journals(out), key=lambda path: path.stat().st_mtime_ns)
            back = f"; mmfm undo {shlex.quote(str(journal))} takes it back"
        self._say(f"{done}{back}")
