"""Sorting on Photos: what a model says about each picture, what a person says, and the table."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from jaxtyping import Bool, Float, Int

from mmfm.listing import COLUMNS, as_row
from mmfm.models.clip import TwoTowers
from mmfm.tasks.classify import Prediction, ScoreKind, ZeroShotClassifier

from .photos_asked import Question, label_parts
from .photos_folders import Album, shown_name

SHOWN_SCORES = 9  # of one picture

Corrections = Mapping[str, tuple[str, ...]]  # path -> the labels that a person says apply


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says about every picture of an album."""

    album: Album
    question: Question
    labels: tuple[str, ...]
    kind: ScoreKind  # of the scores
    scores: Float[np.ndarray, "n k"]
    none: Float[np.ndarray, " n"]  # the chance that no label applies
    applies: Bool[np.ndarray, "n k"]
    margin: Float[np.ndarray, " n"]  # how far the answer is from being another one
    rival: Int[np.ndarray, " n"]  # that other one; -1: none of these


def answered(
    clip: TwoTowers, album: Album, question: Question, warn: Callable[[str], None]
) -> Answers:
    """Name all pictures of an album by their vectors; no file is opened."""
    clf = ZeroShotClassifier(
        clip,
        label_parts(question.labels),
        none_of_these=question.none,
        multi_label=question.multi,
        warn=warn,
    )
    n, k = len(album.paths), len(clf.labels)
    scores, none = np.empty((n, k), np.float32), np.zeros(n, np.float32)
    applies = np.zeros((n, k), bool)
    place = {label: number for number, label in enumerate(clf.labels)}
    said = clf.stream(album.paths, known=lambda some: [album.rows[number] for number, _ in some])
    for number, p in enumerate(said):
        scores[number] = [p.scores[label] for label in clf.labels]
        applies[number, [place[label] for label in p.labels]] = True
        none[number] = (p.score or 0) if not p.labels else 0
    if question.none and not question.multi:
        none = 1 - scores.sum(axis=1)  # what the labels leave over
    margin, rival = doubts(scores, none, applies, question, np.array(clf.thresholds, np.float32))
    kind = clf.score_kind
    return Answers(album, question, clf.labels, kind, scores, none, applies, margin, rival)


def doubts(
    scores: Float[np.ndarray, "n k"],
    none: Float[np.ndarray, " n"],
    applies: Bool[np.ndarray, "n k"],
    question: Question,
    thresholds: Float[np.ndarray, " k"],
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """How far each answer is from being another one, and which that would be; -1: none of these.

    One of the labels: what parts the best two, or the chance that any applies from one half. Each
    label by itself: what parts the score that is nearest to its threshold from that; or, where none
    of these is the answer for the picture as a whole, its chance from one half.
    """
    rows = np.arange(len(scores))
    if question.multi:
        away = np.abs(scores - thresholds)
        nearest, best = away.argmin(axis=1), scores.argmax(axis=1)
        # Whatever the labels say: else the chance of none is what the best of them leaves over.
        refused = ~applies.any(axis=1) & (np.abs(none - (1 - scores[rows, best])) > 1e-6)
        margin = np.where(refused, 2 * none - 1, away[rows, nearest])
        return margin, np.where(refused, best, nearest)
    order = np.argsort(-scores, axis=1, kind="stable")
    best = order[:, 0]
    second = order[:, 1] if scores.shape[1] > 1 else np.full(len(rows), -1)
    ahead = scores[rows, best] - np.where(second < 0, 0, scores[rows, second])
    if not question.none:
        return ahead, second
    from_half = np.abs(1 - 2 * none)
    nothing = ~applies.any(axis=1)
    margin = np.where(nothing, from_half, np.minimum(ahead, from_half))
    return margin, np.where(nothing, best, np.where(from_half < ahead, -1, second))


def chosen(
    answers: Answers, corrections: Corrections, event: gr.EventData
) -> Int[np.ndarray, " m"]:
    """The pictures of one kind, in one order: all, those with one answer, or those checked."""
    order, only = getattr(event, "order", None), getattr(event, "only", None)
    by = {"uncertain": answers.margin, "sure": -answers.margin}.get(str(order))
    listed = np.arange(len(answers.margin)) if by is None else np.argsort(by, kind="stable")
    if only == "checked":
        right = in_labels(answers, corrections)
        return listed[[answers.album.paths[number] in right for number in listed]]
    if type(only) is int and 0 <= only < len(answers.labels):
        return listed[now_applies(answers, corrections)[listed, only]]
    if only == "none":
        return listed[~now_applies(answers, corrections)[listed].any(axis=1)]
    return listed


# --- corrections ----------------------------------------------------------------------------------


def in_labels(answers: Answers, corrections: Corrections) -> dict[str, list[int]]:
    """What a person said, as far as it can be said in these labels: path -> their numbers."""
    place = {label: number for number, label in enumerate(answers.labels)}
    return {
        path: [place[label] for label in labels]
        for path, labels in corrections.items()
        if all(label in place for label in labels) and (answers.question.multi or len(labels) < 2)
    }


def now_applies(answers: Answers, corrections: Corrections) -> Bool[np.ndarray, "n k"]:
    """Which labels apply after a person's corrections."""
    applies = answers.applies.copy()
    for path, labels in in_labels(answers, corrections).items():
        if (number := answers.album.number.get(path)) is not None:
            applies[number] = False
            applies[number, labels] = True
    return applies


def tally(answers: Answers, corrections: Corrections) -> dict[str, Any]:
    """How many pictures have each answer, and how many a person has checked."""
    applies = now_applies(answers, corrections)
    here = [
        (answers.applies[number], labels)
        for path, labels in in_labels(answers, corrections).items()
        if (number := answers.album.number.get(path)) is not None
    ]
    changed = sum(np.flatnonzero(said).tolist() != sorted(labels) for said, labels in here)
    return {
        "counts": applies.sum(axis=0).tolist(),
        "nothing": int((~applies.any(axis=1)).sum()),
        "checked": len(here),
        "changed": changed,
    }


def answer_tiles(
    answers: Answers, corrections: Corrections, numbers: Sequence[int] | Int[np.ndarray, " m"]
) -> list[dict[str, Any]]:
    """Some answers, as the browser is sent them."""
    album = answers.album
    right = in_labels(answers, corrections)
    tiles: list[dict[str, Any]] = []
    for number in map(int, numbers):
        scores = answers.scores[number]
        best = np.argsort(-scores, kind="stable")[
            : max(SHOWN_SCORES, answers.applies[number].sum())
        ]
        tiles.append(
            {
                "id": number,
                "name": shown_name(album.paths[number], album.place),
                "said": np.flatnonzero(answers.applies[number]).tolist(),
                "none": round(float(answers.none[number]), 4),
                "scores": [[int(label), round(float(scores[label]), 4)] for label in best],
                "rival": int(answers.rival[number]),
                "margin": round(float(answers.margin[number]), 4),
                "right": right.get(album.paths[number]),
            }
        )
    return tiles


# --- the table ------------------------------------------------------------------------------------


def as_table(answers: Answers, corrections: Corrections, failed: Mapping[str, str]) -> str:
    """All answers as CSV, in the columns of `mmfm classify --csv`, and whether a person has spoken.

    `corrected` is "yes" where a person changed the answer, "confirmed" where they agreed. The score
    is the model's own for the label that stands there. Paths begin below the allowed folder.
    """
    album = answers.album
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow((*COLUMNS, "corrected"))
    right, applies = in_labels(answers, corrections), now_applies(answers, corrections)
    for number, path in enumerate(album.paths):
        scores = answers.scores[number]
        several = sorted(np.flatnonzero(applies[number]).tolist(), key=lambda k: -scores[k])
        names = tuple(answers.labels[label] for label in several)
        score = float(scores[several[0]] if several else answers.none[number])
        same = bool((applies[number] == answers.applies[number]).all())
        checked = "" if path not in right else "confirmed" if same else "yes"
        label = names[0] if names else None
        p = Prediction(shown_name(path, album.place), label, names, score, answers.kind)
        table.writerow((*as_row(p), checked))
    for path, reason in failed.items():
        p = Prediction(shown_name(path, album.place), error=reason)
        table.writerow((*as_row(p), ""))
    # Its first letter tells spreadsheets that it is UTF-8.
    return "\ufeff" + text.getvalue()
