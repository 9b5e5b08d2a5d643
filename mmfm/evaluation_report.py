"""How an evaluation is written down: as lines for a terminal, and as one page that needs no other.

The page holds its style, its drawings and its thumbnails itself, and no script: it opens without a
network, today and in ten years, and a browser is told to fetch nothing.
"""

import platform
import unicodedata
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch

import mmfm
from mmfm.contact_sheet import thumbnail
from mmfm.files import write_named
from mmfm.measures import Bin, Share
from mmfm.tasks.evaluate import Evaluation, Honesty, Wrong

COVERAGES = (1.0, 0.9, 0.8, 0.5)

_ROWS = 30  # labels in a terminal; beyond, the worst
_CONFUSED = 8  # pairs in a terminal
_BAR = 20  # letters
_MATRIX = 30  # labels in a table of confusions
_TILES = 24  # wrong answers on the page

# What may be wider than a small screen is moved by itself, with the arrow keys too.
_WIDE = '<div class=wide tabindex=0 role=region aria-label="{}">'


# --- for a terminal -----------------------------------------------------------------------------


def lines(e: Evaluation) -> list[str]:
    """Say what was found in lines of a terminal."""
    out = [
        f"{e.model} on {_shown(e.folder)}: {len(e.labels)} labels, fitted on "
        f"{_count(e.fitted_on, 'picture')}, reported on {e.reported_on:,} others"
        + (f"; {len(e.unreadable):,} could not be read" if e.unreadable else ""),
        *(f"note: {_shown(note)}" for note in e.notes),
        "",
        f"accuracy {_with_interval(e.accuracy)}; mean over labels {e.mean_recall:.1%}",
        "",
        *_label_lines(e),
    ]
    if e.confused:
        out += ["", "most often confused"]
        rows = [(f"{count:,}", truth, "for", said) for count, truth, said in e.confused[:_CONFUSED]]
        out += _columns(rows, left=(1, 2, 3))
    out += ["", *_honesty_lines(e), "", "how sure, and how often right (| where they would agree)"]
    out += [_bar_line(b) for b in (e.after or e.before).bins]
    out += ["", "wrong, if only the surest are answered"]
    out += ["  " + ", ".join(f"{e.risk.at(c):.1%} of {c:.0%}" for c in COVERAGES)]
    out += _rejection_lines(e)
    return out


def _label_lines(e: Evaluation) -> list[str]:
    chosen = _worst(e, _ROWS)
    rows = [("label", "pictures", "found", "right when said", "F1")]
    for number in chosen:
        c = e.classes[number]
        shares = (_short(c.recall), _short(c.precision), f"{c.f1.value:.1%}" if c.f1 else "-")
        rows.append((e.names[number], f"{c.count:,}", *shares))
    worst = [f"the {len(chosen)} worst of {len(e.labels):,} labels"]
    return (worst if len(chosen) < len(e.labels) else []) + _columns(rows, left=(0,))


def _worst(e: Evaluation, most: int) -> list[int]:
    """The labels in their order; of too many the worst ones, worst first."""
    numbers = list(range(len(e.labels)))
    if len(numbers) <= most:
        return numbers

    def f1(number: int) -> float:
        share = e.classes[number].f1
        return share.value if share else 1.0

    return sorted(numbers, key=f1)[:most]


def _honesty_lines(e: Evaluation) -> list[str]:
    rows = [("one of the labels", "before", "fitted"), *_honesty_rows(e)]
    each = [("each label by itself (--multi)", "before", "fitted"), *_each_rows(e)]
    some = [_columns(_measured(e, part), left=(0,)) for part in (rows, each)]
    return [*some[0], "", *some[1]]


def _measured(e: Evaluation, rows: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """Without the column of what was fitted, where nothing was."""
    return rows if e.after else [row[:2] for row in rows]


def _bar_line(b: Bin) -> str:
    bar = list(("#" * round(_BAR * b.right.value)).ljust(_BAR))
    bar[min(_BAR - 1, int(_BAR * b.confidence))] = "|"
    sure = f"{b.low:.0%}-{b.high:.0%}".rjust(9)
    return f"  {sure}  {''.join(bar)}  {b.right.value:4.0%} of {b.count:,}"


def _rejection_lines(e: Evaluation) -> list[str]:
    if e.rejection is None:
        return []
    r = e.rejection
    return [
        "",
        f"other pictures ({_shown(e.other)})",
        f"  AUROC {_with_interval(r.roc.area, digits=3)}; to keep 95% of its own, "
        f"{r.roc.let_in_at(0.95):.1%} of the others are let in",
        *_columns([row if r.after else row[:2] for row in _decision_rows(e)], left=(0,)),
    ]


def _columns(rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> list[str]:
    """Rows under each other; columns stand right, but for those named."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*shown, strict=True)]
    out: list[str] = []
    for row in shown:
        cells: list[str] = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _width(cell))
            cells.append(cell + space if place in left else space + cell)
        out.append(("  " + "  ".join(cells)).rstrip())
    return out


def _width(text: str) -> int:
    """How many places a text takes in a terminal: Korean letters take two, accents none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) in ("Mn", "Me") for letter in text)


# --- numbers in words ---------------------------------------------------------------------------


def _honesty_rows(e: Evaluation) -> list[tuple[str, str, str]]:
    """What there is to say about scores, before and after they were fitted."""
    before, after = e.before, e.after or e.before
    return [
        ("calibration error (ECE)", f"{before.error:.4f}", f"{after.error:.4f}"),
        (
            f"  honest scores' on {_count(e.reported_on, 'picture')}",
            f"{before.by_chance:.4f}",
            f"{after.by_chance:.4f}",
        ),
        ("log loss", f"{before.log_loss:.4f}", f"{after.log_loss:.4f}"),
        ("Brier score", f"{before.brier:.4f}", f"{after.brier:.4f}"),
    ]


def _each_rows(e: Evaluation) -> list[tuple[str, str, str]]:
    """The same of the scores of each label by itself, as multi-label answers take them."""
    before, after = e.each_before, e.each_after or e.each_before
    return [
        ("calibration error (ECE)", f"{before.error:.4f}", f"{after.error:.4f}"),
        ("right when said", _short(before.right), _short(after.right)),
        ("found", _short(before.found), _short(after.found)),
    ]


def _decision_rows(e: Evaluation) -> list[tuple[str, str, str]]:
    assert e.rejection is not None
    before, after = e.rejection.before, e.rejection.after or e.rejection.before
    return [
        ("", "before", "fitted"),
        ("of its own, kept", _short(before.kept), _short(after.kept)),
        ("of the others, refused", _short(before.refused), _short(after.refused)),
    ]


def _with_interval(share: Share, digits: int | None = None) -> str:
    if digits is not None:
        return f"{share.value:.{digits}f} (95%: {share.low:.{digits}f} to {share.high:.{digits}f})"
    return f"{share.value:.1%} (95%: {share.low:.1%} to {share.high:.1%})"


def _short(share: Share | None) -> str:
    return f"{share.value:.1%} ({share.low:.0%}-{share.high:.0%})" if share else "-"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _shown(text: object) -> str:
    """A text with nothing in it that would steer a terminal or could not be written as UTF-8."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in f"{text}"
    )


# --- the page -----------------------------------------------------------------------------------


def write_report(e: Evaluation, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_named(path, "\n".join(_page(e)) + "\n")


def _page(e: Evaluation) -> Iterator[str]:
    title = f"{e.model} on {e.folder.resolve().name}"
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{_html(title)}</title><style>{_STYLE}</style></head><body><main>"
    )
    yield (
        f"<h1>{_html(title)}</h1><p class=lead>{_count(len(e.labels), 'label')}. Scores were "
        f"fitted on {_count(e.fitted_on, 'picture')}; everything below is measured on the "
        f"{e.reported_on:,} others.</p>"
    )
    yield from _notes(e)
    yield from _headline(e)
    yield from _labels_section(e)
    yield from _confusion_section(e)
    yield from _honesty_section(e)
    yield from _risk_section(e)
    yield from _rejection_section(e)
    yield from _wrong_section(e)
    yield from _unreadable_section(e)
    yield from _about_section(e)
    yield "</main></body></html>"


def _notes(e: Evaluation) -> Iterator[str]:
    if e.notes:
        yield f"<ul class=notes>{''.join(f'<li>{_html(note)}</li>' for note in e.notes)}</ul>"


def _headline(e: Evaluation) -> Iterator[str]:
    cards = [("accuracy", f"{e.accuracy.value:.1%}", _range(e.accuracy))]
    if e.after is None:
        cards.append(("calibration error", f"{e.before.error:.3f}", "nothing was fitted"))
    else:
        before = f"{e.before.error:.3f} before fitting"
        cards.append(("calibration error", f"{e.after.error:.3f}", before))
    at_90 = f"{e.risk.at(0.9):.1%}"
    cards.append(("wrong among the surest 90%", at_90, f"{e.risk.at(1):.1%} among all"))
    if e.rejection is not None:
        area = e.rejection.roc.area
        told = ("AUROC against other pictures", f"{area.value:.3f}", _range(area, digits=3))
        cards.append(told)
    yield "<dl class=cards>"
    for name, value, more in cards:
        yield f"<div><dt>{name}</dt><dd><b>{value}</b> <span>{more}</span></dd></div>"
    yield "</dl>"


def _labels_section(e: Evaluation) -> Iterator[str]:
    yield "<section><h2>Each label</h2>"
    yield (
        "<p>Found: of its pictures, those that got the label. Right when said: of the answers with "
        "this label, those that are right. The thin line is the 95% interval.</p>"
    )
    head = "".join(
        f"<th scope=col{mark}>{name}</th>"
        for name, mark in (
            ("label", ""),
            ("pictures", " class=n"),
            ("found", ""),
            ("right when said", ""),
            ("F1", " class=n"),
        )
    )
    yield f"{_WIDE.format('measures of each label')}<table><thead><tr>{head}</tr></thead><tbody>"
    for name, c in zip(e.names, e.classes, strict=True):
        f1 = f"{c.f1.value:.1%}" if c.f1 else "–"
        yield (
            f"<tr><th scope=row>{_html(name)}</th><td class=n>{c.count:,}</td>"
            f"<td>{_meter(c.recall)}</td><td>{_meter(c.precision)}</td><td class=n>{f1}</td></tr>"
        )
    yield "</tbody></table></div></section>"


def _meter(share: Share | None) -> str:
    """A share as a bar with its interval, and in figures."""
    if share is None:
        return "<span class=none>never said</span>"
    low, high, value = (100 * x for x in (share.low, share.high, share.value))
    return (
        f'<span class=meter title="{_range(share)}"><i style="width:{value:.1f}%"></i>'
        f'<u style="left:{low:.1f}%;width:{high - low:.1f}%"></u></span> {share.value:.1%}'
    )


def _confusion_section(e: Evaluation) -> Iterator[str]:
    yield "<section><h2>What was taken for what</h2>"
    off = e.table - np.diag(e.table.diagonal())
    involved = off.sum(axis=0) + off.sum(axis=1)
    shown = list(range(len(e.labels)))
    if len(shown) > _MATRIX:
        shown = sorted(np.argsort(-involved, kind="stable")[:_MATRIX].tolist())
    part = f" The {_MATRIX} most confused of {len(e.labels):,}." if len(shown) < len(off) else ""
    yield (
        "<p>A row for what a picture is, a column for what it was taken for; the stronger "
        f"the colour, the larger the share of its row.{part}</p>"
    )
    head = "".join(f"<th scope=col><span>{_html(e.names[j])}</span></th>" for j in shown)
    yield f"{_WIDE.format('confusions')}<table class=matrix>"
    yield f"<thead><tr><td></td>{head}</tr></thead><tbody>"
    for i in shown:
        cells = "".join(_cell(e, i, j) for j in shown)
        yield f"<tr><th scope=row>{_html(e.names[i])}</th>{cells}</tr>"
    yield "</tbody></table></div>"
    if e.confused:
        items = "".join(
            f"<li><b>{count:,}</b> {_html(truth)} <span>taken for</span> {_html(said)}</li>"
            for count, truth, said in e.confused[:_CONFUSED]
        )
        yield f"<h3>Most often</h3><ol class=pairs>{items}</ol>"
    yield "</section>"


def _cell(e: Evaluation, i: int, j: int) -> str:
    count = int(e.table[i, j])
    if not count:
        return "<td></td>"
    share = count / int(e.table[i].sum())
    kind = "hit" if i == j else "miss"
    # The root lets a few mistakes be seen beside many right answers.
    return f'<td class={kind} style="--share:{100 * share**0.5:.0f}%">{count:,}</td>'


def _honesty_section(e: Evaluation) -> Iterator[str]:
    yield "<section><h2>Do scores say how often they are right?</h2>"
    yield (
        "<p>Honest scores lie on the diagonal: of the answers that are 80% sure, 80% are right. "
        "A larger dot is more answers; upright lines are 95% intervals.</p><div class=beside>"
    )
    series = [("before", "old", _points(e.before))]
    if e.after is not None:
        series.append(("fitted", "new", _points(e.after)))
    marks = _dots("old", e.before, intervals=e.after is None)
    if e.after is not None:
        marks += _dots("new", e.after, intervals=True)
    yield _chart(
        series,
        x="how sure",
        y="how often right",
        diagonal=True,
        marks=marks,
        told="Reliability curve; the table beside it sums it up.",
    )
    head = ("", "before", "fitted")
    yield _table(_measured(e, [head, *_honesty_rows(e)])) + "</div>"
    yield "<h3>Each label by itself</h3>"
    yield "<p>As multi-label answers take it: none of the labels, one or several may apply.</p>"
    yield _table(_measured(e, [head, *_each_rows(e)]))
    if e.calibration is not None:
        yield (
            "<p class=after>Fitted: logits are divided by a temperature of "
            f"{e.calibration.temperature:.3g}; each label by itself has a slope of "
            f"{e.calibration.slope:.3g} and an offset of {e.calibration.offset:.3g}.</p>"
        )
    yield "</section>"


def _points(honesty: Honesty) -> list[tuple[float, float]]:
    return [(b.confidence, b.right.value) for b in honesty.bins]


def _dots(kind: str, honesty: Honesty, *, intervals: bool) -> str:
    """A dot a bin, as large as its answers are many."""
    most = max(b.count for b in honesty.bins)
    drawn = ""
    for b in honesty.bins:
        at, size = _across(b.confidence), 2 + 5 * (b.count / most) ** 0.5
        if intervals:
            low, high = _down(b.right.low), _down(b.right.high)
            drawn += f'<path class="reach {kind}" d="M{at:.1f} {low:.1f}V{high:.1f}"/>'
        middle = _down(b.right.value)
        drawn += f'<circle class="dot {kind}" cx={at:.1f} cy={middle:.1f} r={size:.1f} />'
    return drawn


def _risk_section(e: Evaluation) -> Iterator[str]:
    yield "<section><h2>Answering only where it is sure</h2><div class=beside>"
    coverage, risk = e.risk.coverage, e.risk.risk
    some = np.unique(np.linspace(0, len(risk) - 1, 300).round().astype(int))
    points = [(float(coverage[i]), float(risk[i])) for i in some]
    yield _chart(
        [("surest first", "new", points)],
        x="share of pictures answered",
        y="share of these that is wrong",
        top=_ceiling(float(risk.max())),
        told="Risk by coverage; the table beside it gives four points of it.",
    )
    rows = [(f"the surest {c:.0%}", f"{e.risk.at(c):.1%}") for c in COVERAGES]
    rows.append(("area below the curve", f"{e.risk.area:.4f}"))
    yield _table([("answered", "wrong"), *rows]) + "</div></section>"


def _rejection_section(e: Evaluation) -> Iterator[str]:
    if e.rejection is None:
        return
    roc = e.rejection.roc
    yield "<section><h2>Pictures of other things</h2>"
    yield (
        f"<p>Can it tell that no label applies? Asked with the pictures of {_html(e.other)}: AUROC "
        f"{_with_interval(roc.area, digits=3)}. To keep 95% of its own, {roc.let_in_at(0.95):.1%} "
        "of the others are let in.</p><div class=beside>"
    )
    some = np.unique(np.linspace(0, len(roc.kept) - 1, 400).round().astype(int))
    points = [(float(roc.let_in[i]), float(roc.kept[i])) for i in some]
    yield _chart(
        [("by the evidence for any label", "new", points)],
        x="share of the others let in",
        y="share of its own kept",
        diagonal=True,
        told="ROC curve of rejection; the table beside it sums it up.",
    )
    rows = _decision_rows(e)
    yield _table(rows if e.rejection.after else [row[:2] for row in rows])
    yield "</div></section>"


def _wrong_section(e: Evaluation) -> Iterator[str]:
    yield "<section><h2>The surest wrong answers</h2>"
    if not e.wrong:
        yield "<p>There is none.</p></section>"
        return
    most = f", {_TILES} of {len(e.wrong):,}" if len(e.wrong) > _TILES else ""
    yield f"<p>Worth a look: some are the model's mistakes, some the folders'{most}.</p>"
    yield f"<ul class=tiles>{''.join(_tile(one) for one in e.wrong[:_TILES])}</ul></section>"


def _tile(one: Wrong) -> str:
    source = thumbnail(f"{one.path}")
    image = f'<img src="{source}" alt="{_html(one.path.name)}">' if source else "<em>gone</em>"
    return (
        f'<li title="{_html(one.path)}">{image}<div><b>{_html(one.answer)}</b> '
        f"{one.score:.0%}<br><span>is {_html(one.truth)}</span></div></li>"
    )


def _unreadable_section(e: Evaluation) -> Iterator[str]:
    if e.unreadable:
        items = "".join(f"<li>{_html(path)}: {_html(why)}</li>" for path, why in e.unreadable)
        yield f"<section><h2>Left out, for they cannot be read</h2><ul>{items}</ul></section>"


def _about_section(e: Evaluation) -> Iterator[str]:
    facts = [
        ("model", e.model + (", with an adapter" if e.adapted else "")),
        ("pictures", e.folder.resolve()),
        ("others", "none" if e.other is None else e.other.resolve()),
        ("halves", f"drawn within each label, seed {e.seed}"),
        ("machine", f"{e.machine} ({e.device}, {platform.system()} {platform.machine()})"),
        ("software", f"mmfm {mmfm.__version__}, torch {torch.__version__}"),
        ("date", f"{e.date}, took {e.seconds:.1f} s"),
    ]
    yield "<section><h2>How it was measured</h2><dl class=facts>"
    yield "".join(f"<dt>{name}</dt><dd>{_html(value)}</dd>" for name, value in facts)
    yield "</dl>"
    called = [f"{label.name} = {' | '.join(label.names)}" for label in e.labels]
    said = [template for several in e.templates.values() for template in several]
    for name, several in (("label", called), ("template", said)):
        items = "".join(f"<li>{_html(one)}</li>" for one in several)
        yield f"<details><summary>{_count(len(several), name)}</summary><ul>{items}</ul></details>"
    yield (
        "<p>Intervals: Wilson's for shares, DeLong's variance for the AUROC. Calibration error: 15 "
        "bins of equal width; honest scores show one too, for chance alone, and the fewer pictures "
        "the more. None of this holds for pictures of another kind than these.</p></section>"
    )


# --- what the page is made of -------------------------------------------------------------------


def _html(text: object) -> str:
    return escape(_shown(text))


def _range(share: Share, digits: int | None = None) -> str:
    if digits is not None:
        return f"95%: {share.low:.{digits}f} to {share.high:.{digits}f}"
    return f"95%: {share.low:.1%} to {share.high:.1%}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A small table under its head: names first, figures after them."""
    first, *others = rows[0]
    top = f"<th scope=col>{first}</th>" + "".join(f"<th scope=col class=n>{o}</th>" for o in others)
    body = ""
    for name, *values in rows[1:]:
        inner = ' class="inner"' if name.startswith(" ") else ""
        cells = "".join(f"<td class=n>{value}</td>" for value in values)
        body += f"<tr><th scope=row{inner}>{name.strip()}</th>{cells}</tr>"
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f"{_WIDE.format('figures')}{table}</div>"


def _ceiling(highest: float) -> float:
    """The end of an axis: a round number not far above the highest value."""
    return next(top for top in (0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0) if highest <= top)


_CHART = (340.0, 250.0, 54.0, 12.0)  # wide, tall, and what lies left of it and above


def _across(value: float) -> float:
    wide, _, left, _ = _CHART
    return left + wide * value


def _down(value: float, top: float = 1.0) -> float:
    _, tall, _, above = _CHART
    return above + tall * (1 - value / top)


def _chart(
    series: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
    *,
    x: str,
    y: str,
    told: str,
    top: float = 1.0,
    diagonal: bool = False,
    marks: str = "",
) -> str:
    """Curves (name, kind, points) from 0 to 1 by 0 to `top`, with `marks` drawn over them."""
    wide, tall, left, above = _CHART
    foot, middle = above + tall, above + tall / 2
    parts = [f'<svg viewBox="0 0 410 312" role="img" aria-label="{escape(told)}">']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at, height = _across(tick), _down(tick)
        value = f"{tick * top:.0%}" if top >= 0.2 else f"{tick * top:.1%}"
        parts.append(
            f'<path class=grid d="M{left} {height}H{left + wide}M{at} {above}V{foot}"/>'
            f"<text x={at} y={foot + 17} text-anchor=middle>{tick:.0%}</text>"
            f"<text x={left - 7} y={height + 4} text-anchor=end>{value}</text>"
        )
    parts.append(
        f"<text x={left + wide / 2} y={foot + 40} text-anchor=middle class=axis>{x}</text>"
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor=middle class=axis>{y}'
        "</text>"
    )
    if diagonal:
        parts.append(f'<path class=diagonal d="M{_across(0)} {_down(0)}L{_across(1)} {_down(1)}"/>')
    for _, kind, points in series:
        line = "L".join(f"{_across(a):.1f} {_down(b, top):.1f}" for a, b in points)
        thin = " thin" if marks else ""
        parts.append(f'<path class="line {kind}{thin}" d="M{line}"/>')
    names = "".join(f'<span class="key {kind}">{name}</span>' for name, kind, _ in series)
    whole = "".join([*parts, marks])
    return f"<figure>{whole}</svg><figcaption>{names}</figcaption></figure>"


_STYLE = """
:root { --page: #fbfbfa; --sheet: #fff; --ink: #1c1e21; --soft: #5d646c; --rule: #dfe1e4;
  --new: #1f6fb5; --old: #a25f12; --hit: #8fbfea; --miss: #f4b095; --note: #fff5d9; }
@media (prefers-color-scheme: dark) {
  :root { --page: #15171a; --sheet: #1d2024; --ink: #e8eaec; --soft: #a3abb4; --rule: #363b41;
    --new: #6fb3f2; --old: #e2a052; --hit: #1d5a92; --miss: #93421f; --note: #3a3115; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .3rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p { margin: 0 0 1rem; max-width: 46rem; color: var(--soft); }
section { background: var(--sheet); border: 1px solid var(--rule); border-radius: .6rem;
  padding: 1.2rem; margin-top: 1.2rem; }
section > :last-child { margin-bottom: 0; }
.notes { background: var(--note); border-radius: .6rem; padding: .7rem 1rem .7rem 2rem; }
.cards { display: grid; gap: .8rem; margin: 1.2rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); }
.cards div { background: var(--sheet); border: 1px solid var(--rule); border-radius: .6rem;
  padding: .8rem 1rem; }
.cards dt, .cards span { color: var(--soft); font-size: .87rem; }
.cards dd { margin: 0; }
.cards b { display: block; font-size: 1.9rem; line-height: 1.25; font-weight: 600; }
.cards b, td, .pairs b { font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; font-size: .92rem; }
th { font-weight: 400; text-align: left; }
thead th { color: var(--soft); font-size: .87rem; }
th, td { padding: .3rem .7rem .3rem 0; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--rule); }
.n { text-align: right; }
th.n:last-child, td.n:last-child { padding-right: 0; }
.beside + h3, .after { margin-top: 1.2rem; }
.inner { padding-left: 1rem; color: var(--soft); }
.wide { overflow-x: auto; }
.none, .pairs span, .tiles span { color: var(--soft); }
.meter { display: inline-block; position: relative; width: 8rem; height: .7rem;
  margin-right: .4rem; background: var(--rule); border-radius: .2rem; }
.meter i { position: absolute; inset: 0 auto 0 0; background: var(--new); border-radius: .2rem;
  opacity: .65; }
.meter u { position: absolute; top: .28rem; height: .14rem; background: var(--ink); }
.matrix td { min-width: 2.1rem; padding: .25rem .3rem; text-align: center;
  border: 1px solid var(--rule); }
.matrix thead td, .matrix thead th { border: 0; vertical-align: bottom; padding: .2rem .3rem; }
.matrix thead span { writing-mode: vertical-rl; transform: rotate(180deg); }
.matrix tbody tr { border: 0; }
.hit { background: color-mix(in srgb, var(--hit) var(--share), var(--sheet)); }
.miss { background: color-mix(in srgb, var(--miss) var(--share), var(--sheet)); }
.pairs { margin: 0; padding: 0; list-style: none; }
.pairs b { display: inline-block; min-width: 2.5rem; padding-right: .5rem; text-align: right; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
figure { margin: 0; flex: 0 1 24rem; }
.beside .wide { flex: 1 1 18rem; min-width: 0; }
figcaption { padding-left: 3.4rem; color: var(--soft); font-size: .87rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
.axis { fill: var(--ink); }
path { fill: none; }
.grid { stroke: var(--rule); }
.diagonal { stroke: var(--soft); stroke-dasharray: 2 4; }
.reach { stroke-width: 1.5; opacity: .45; }
.reach.new { stroke: var(--new); }
.reach.old { stroke: var(--old); }
.line { stroke-width: 2.2; stroke-linejoin: round; }
.line.new { stroke: var(--new); }
.line.old { stroke: var(--old); stroke-dasharray: 6 4; }
.line.thin { stroke-width: 1; opacity: .6; }
.dot.new { fill: var(--new); }
.dot.old { fill: var(--sheet); stroke: var(--old); stroke-width: 1.6; }
.key { margin-right: 1.2rem; }
.key::before { content: ""; display: inline-block; width: 1.4rem; margin-right: .4rem;
  vertical-align: .25rem; border-top: .16rem solid var(--new); }
.key.old::before { border-top: .16rem dashed var(--old); }
.tiles { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); font-size: .87rem; }
.tiles img, .tiles em { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: var(--page); border-radius: .3rem; }
.tiles div { margin-top: .3rem; line-height: 1.35; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem;
  margin: 0 0 1rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
details { margin-bottom: .6rem; }
summary { cursor: pointer; }
@media (max-width: 40rem) { .meter { width: 4rem; } section { padding: 1rem; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
