"""`mmfm index`, `search` and `undo`: photos that can be asked, and put back where they were."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmfm.commands.options import (
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
    need_outputs,
    spare_pictures,
)
from mmfm.errors import BadInput, NotHere

if TYPE_CHECKING:
    from mmfm.contact_sheet import Sheet
    from mmfm.engines import Engine
    from mmfm.store import Store
    from mmfm.tasks.search import Alike, Hit

_GOES_ON = "stopped; the same command goes on from here"

Inside = Annotated[
    list[Path] | None,
    typer.Option("--in", metavar="DIR", help="Look only in this folder; may be repeated."),
]


# --- index --------------------------------------------------------------------------------------


def index(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders of pictures, or single files.")
    ],
    model: Clip = None,
    store: InStore = None,
    exact: Exact = False,
    engine: EngineName = "auto",
    device: Device = "auto",
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop these folders from the store; touch no picture.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", help="Say what is run.")] = False,
) -> None:
    """Look at each picture once and keep what was seen, so that it can be asked ever after."""
    check_engine(engine, exact)
    from mmfm.faces import counting, stopping

    with stopping() as stop, counting() as counter, _saying_goes_on(counter.say):
        # Importing torch is the first thing that takes long enough to be stopped.
        from mmfm.store import Store
        from mmfm.tasks.index import Indexed
        from mmfm.tasks.index import forget as drop
        from mmfm.tasks.index import index as look

        kept = Store(store)
        if forget:
            dropped = drop(folders, store=kept, say=counter.say)
            counter.say(f"{dropped:,} pictures forgotten")
            return
        missing = [folder for folder in folders if not folder.expanduser().exists()]
        if missing:
            raise NotHere(f"{missing[0]}: no such file or folder; to drop it, add --forget")
        clip = chosen_clip(model, device, counter.say)

        def runs_on(pictures: int) -> "Engine":
            chosen = chosen_engine(clip, engine, exact, pictures, counter.say)
            if verbose:
                counter.say(f"{clip.source} on {clip.weight.device}; {chosen.about}")
            return chosen

        show = counter.show("indexing")
        step = Indexed()
        for step in look(
            clip, runs_on, folders, store=kept, exact=exact, stop=stop, say=counter.say
        ):
            show(step.done, step.total)
            for note in step.notes:
                counter.say(note)
            for path, why in step.failed:
                counter.say(f"{path}: {why}; left out")
        stopped = stop() and step.done < step.total
        counts = {
            "new": step.new,
            "recognised": step.recognised,
            "unchanged": step.unchanged,
            "dropped": step.dropped,
            "unreadable": step.unreadable,
        }
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        if engine != "auto" and (others := _by_others(kept, clip, engine, folders)):
            counter.say(
                f"{others:,} of them were looked at by another engine before and stay as they are; "
                "--forget drops them, --exact looks again"
            )
        files = "1 file" if step.total == 1 else f"{step.total:,} files"
        counter.say(f"{files}: {told or 'nothing to do'}")
        if stopped:
            counter.say(_GOES_ON)
            raise typer.Exit(130)
    if step.total and step.unreadable == step.total:
        raise typer.Exit(1)
    raise typer.Exit(3 if step.unreadable else 0)


@contextmanager
def _saying_goes_on(say: Callable[[str], None]) -> Generator[None]:
    """A stop while nothing is in flight yet, or a second one, says the same as one that waits."""
    try:
        yield
    except KeyboardInterrupt:
        say(_GOES_ON)
        raise typer.Exit(130) from None


def _by_others(store: "Store", clip: Any, engine: str, folders: Sequence[Path]) -> int:
    """How many of the pictures have rows that another engine made."""
    from mmfm.models.label_vectors import fingerprint

    where = f"({_lies_in(folders)}) and engine <> '{engine}'"
    return store.shelf(fingerprint(clip)).count(where)


def _lies_in(folders: Sequence[Path]) -> str:
    """The condition for the store that a file lies in one of these folders."""
    from mmfm.store import below

    return below(os.fsencode(os.path.realpath(folder.expanduser())) for folder in folders)


# --- search -------------------------------------------------------------------------------------


def search(
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Words, a picture's file, or both."),
    ] = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Find pictures that show the same.")
    ] = False,
    minus: Annotated[
        list[str] | None,
        typer.Option(metavar="QUERY", help="What they should not show; may be repeated."),
    ] = None,
    count: Annotated[int, typer.Option("-n", metavar="N", help="Show so many.")] = 20,
    inside: Inside = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="X", help="Duplicates from this cosine on, not from a measured one."),
    ] = None,
    model: Clip = None,
    templates: AsTemplates = "default",
    store: InStore = None,
    device: Device = "auto",
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, nothing else.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page of thumbnails.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("-v", help="Say what is run, and what the scores mean.")
    ] = False,
) -> None:
    """Search the indexed pictures by words, by a picture, or for those that are alike."""
    if json and html is not None:
        raise BadInput("--json and --html exclude each other; run it once for each")
    if duplicates and (query or minus):
        raise BadInput("--duplicates takes no words; --in DIR says where to look")
    if not duplicates and not query:
        raise BadInput("say what to search for: words, a picture's file, or --duplicates")
    if threshold is not None and not duplicates:
        raise BadInput("--threshold goes with --duplicates")
    need_outputs(html)
    spare_pictures(html)
    from mmfm.contact_sheet import Sheet
    from mmfm.faces import counting
    from mmfm.store import Store
    from mmfm.tasks import search as task

    kept = Store(store)
    folders = inside or []
    with counting() as counter:
        clip = chosen_clip(model or _indexed_model(kept, counter.say), device, counter.say)
        title = " ".join(query or []) + "".join(f" - {one}" for one in minus or [])
        sheet = Sheet(html, title or "duplicates", about=clip.source) if html else None
        if verbose:
            counter.say(f"{clip.source} on {clip.weight.device}")
        if duplicates:
            groups = task.duplicates(
                clip,
                store=kept,
                threshold=threshold,
                folders=folders,
                progress=counter.show("comparing"),
            )
            _tell_groups(groups, sheet, as_json=json)
            found = len(groups)
        else:
            plus = _joined(query or [], counter.say)
            less = [_asked(one, counter.say) for one in minus or []]
            hits = task.search(
                clip,
                plus,
                less,
                store=kept,
                n=count,
                folders=folders,
                templates=as_templates(templates),
                warn=counter.say,
            )
            if verbose and hits:
                counter.say(f"score: {task.SEARCH_SCORES[hits[0].kind]}")
            _tell_hits(hits, sheet, as_json=json)
            found = len(hits)
        if sheet is not None:
            sheet.write()
            done_with(sheet.path, f"{sheet.path}: {found:,} found", counter.say)
        elif not found:
            counter.say("no duplicates" if duplicates else _nothing_in(folders, kept, clip))


def _nothing_in(folders: Sequence[Path], store: "Store", clip: Any) -> str:
    from mmfm.models.label_vectors import fingerprint

    if not folders:
        return "no indexed picture is there any more"
    named = " or ".join(map(str, folders))
    take_up = f"mmfm index {shlex.quote(str(folders[0]))} takes"
    if known := store.shelf(fingerprint(clip)).count(_lies_in(folders)):
        are = "1 picture is" if known == 1 else f"{known:,} pictures are"
        return (
            f"{are} indexed in {named}, but none can be reached: mount that disk, or {take_up} up "
            "what is there"
        )
    return f"no indexed picture is in {named}; {take_up} it up"


def _tell_hits(hits: "Sequence[Hit]", sheet: "Sheet | None", *, as_json: bool) -> None:
    from mmfm.data.texts import legible
    from mmfm.listing import json_line

    for hit in hits:
        if sheet is not None:
            sheet.add(hit.path, hit.score)
        elif as_json:
            print(json_line({"path": f"{hit.path}", "score": round(hit.score, 6)}))
        else:
            print(legible(f"{hit.score:.3f}  {hit.path}"))


def _tell_groups(groups: "Sequence[Alike]", sheet: "Sheet | None", *, as_json: bool) -> None:
    from mmfm.data.texts import legible
    from mmfm.listing import json_line

    for group in groups:
        paths = [f"{path}" for path in group.paths]
        if sheet is not None:
            sheet.group(group.paths, same_bytes=group.same_bytes)
        elif as_json:
            said: dict[str, object] = {"paths": paths, "score": round(group.score, 6)}
            said |= {"same_bytes": group.same_bytes}
            print(json_line(said))
        else:
            how = "the same bytes" if group.same_bytes else f"alike, {group.score:.3f}"
            print("\n  ".join([how, *map(legible, paths)]))


def _indexed_model(store: "Store", say: Callable[[str], None]) -> str | None:
    """The model that has looked at most pictures: what was indexed is searched with the same."""
    kept = sorted((one for one in store.models() if one.pictures), key=lambda one: -one.pictures)
    if not kept:
        raise NotHere(f"{store.folder}: no picture is indexed; mmfm index DIR does it")
    if len(kept) > 1:
        others = ", ".join(one.model for one in kept[1:])
        say(f"searching with {kept[0].model}; also indexed: {others} (--model)")
    return kept[0].model


def _joined(query: Sequence[str], say: Callable[[str], None]) -> "list[str | Path]":
    """Pictures, and all words as one phrase: people leave out the quotes."""
    asked = [_asked(one, say) for one in query]
    pictures = [one for one in asked if isinstance(one, Path)]
    words = " ".join(one for one in asked if isinstance(one, str))
    return [*pictures, words] if words else [*pictures]


def _asked(query: str, say: Callable[[str], None]) -> "str | Path":
    """A file where there is one, else words."""
    if not query.strip():
        raise BadInput("an empty query; say what to search for: words, or a picture's file")
    # Of what can be no path, as a long sentence or one with ~ in it, these say no.
    path = Path(os.path.expanduser(query))  # noqa: PTH111
    if os.path.isfile(path):  # noqa: PTH113
        return path
    inside = f"--in {shlex.quote(query)} looks in it"
    if os.path.isdir(path):  # noqa: PTH112
        if path.name != query or query == "..":
            raise BadInput(f"{query}: is a folder; {inside}")
        say(f"{query}: read as a word; there is a folder of that name, too: {inside}")
        return query
    from mmfm.data.formats import picture_endings

    if path.suffix.lower() in picture_endings() or path.is_absolute():
        return path  # who opens it says why it cannot be had
    return query


# --- undo ---------------------------------------------------------------------------------------


def undo(
    journal: Annotated[
        Path,
        typer.Argument(metavar="JOURNAL", help="What --copy-to or --move-to left in its folder."),
    ],
) -> None:
    """Put sorted pictures back where they came from, and remove the copies."""
    from mmfm.faces import counting, stopping
    from mmfm.tasks.sort import undo as take_back

    how: Counter[str] = Counter()
    with stopping() as stop, counting() as counter:
        stop()  # from now on a Ctrl-C waits for the pictures that are on their way
        for undone in take_back(journal):
            if stop():
                counter.say(_GOES_ON)
                raise typer.Exit(130)
            how[undone.how] += 1
            if undone.how == "left":
                counter.say(f"{undone.to}: {undone.reason}; left")
        told = ", ".join(f"{count:,} {what}" for what, count in how.most_common())
        counter.say(told or "nothing was to be undone")
    raise typer.Exit(3 if how["left"] else 0)
