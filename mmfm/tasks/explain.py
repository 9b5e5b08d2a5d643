"""Where in a picture a label finds its evidence, which words of it count, and whether that is so.

    explanation = explain(clip, picture, labels, vectors, texts)
    evidence = explanation.labels[0]       # that of the likeliest label
    evidence.relevance                     # on which patches its score rests
    evidence.similarity                    # which patches are like it, each by itself
    evidence.words                         # on which words of its text its score rests
    test = curves(clip, picture, vectors, evidence.number, evidence.order)
    draw(explanation, [test])              # all of it over the picture

Relevance is that of Chefer, Gur & Wolf 2021 ("Generic Attention-model Explainability"): attention,
weighted by how much more of it would raise the score, followed through all layers. A drawing of it
persuades whether it is right or not; the curves tell, because they take the patches away.
`benchmarks/explain_deletion.py` does so over many pictures: relevance passes; similarity fails with
clip-shapes, whose patches beside the object are more like the label than the object's own.

Shapes: h heads, t tokens (those that are no patch, then the patches), n patches, y and x rows and
columns of patches, k labels, e numbers in the common space, m orders, s steps.
"""

import functools
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor, nn

from mmfm.errors import BadInput
from mmfm.models.clip import CLIP, TextTransformer, TwoTowers
from mmfm.models.tokenizer import Tokenizer
from mmfm.models.vit import ViT, ViTConfig
from mmfm.plot import heat

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Word:
    """A word of a label's text, and how much the score rests on it."""

    text: str
    relevance: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What in the picture, and in its own text, speaks for one label."""

    label: str
    number: int  # of the label among all that were given
    cosine: float
    probability: float  # among all the labels that were given
    relevance: Float[Tensor, "y x"]  # 0 or more; its size means nothing beside another label's
    similarity: Float[Tensor, "y x"]  # a cosine for each patch
    words: tuple[Word, ...]  # in the order of the text

    @property
    def order(self) -> Int64[Tensor, " n"]:
        """The numbers of the patches, the most relevant first."""
        return best_first(self.relevance)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The picture as the model saw it, and the evidence for its likeliest labels."""

    view: Image.Image
    grid: tuple[int, int]  # rows and columns of patches
    labels: tuple[Evidence, ...]  # the likeliest first, or as they were named
    alone: bool  # one label only was given: its probability says nothing, its cosine does
    source: str  # whose weights


def explain(
    clip: TwoTowers,
    picture: Image.Image,
    labels: Sequence[str],
    vectors: Float[Tensor, "k e"],
    texts: Sequence[str],
    *,
    most: int = 6,
    only: Sequence[int] = (),
) -> Explanation:
    """Say for the likeliest labels, `most` of them, where their evidence lies.

    `only` names others instead, by their numbers: why not that one? A label's vector may be the
    mean of many sentences; its text is the one whose words are judged.
    """
    parts = _parts(clip, vectors, len(labels))
    tower, tokenizer = parts.text_tower, parts.tokenizer
    if len(texts) != len(labels):
        raise BadInput(f"{len(labels)} labels need as many texts, not {len(texts)}")
    if most < 1:
        raise BadInput(f"evidence for {most} labels; ask for that of one at least")
    _known(only, len(labels))
    # The caller may compute without gradients; here they are what is looked for.
    with torch.inference_mode(False), torch.enable_grad():
        vectors = parts.vectors.clone()
        out = parts.vit(parts.image(picture), attention=True)
        found = _unit(parts.image_projection(out.pooled))[0]  # e
        cosines = vectors @ found  # k
        likely = (parts.scale * cosines.detach()).softmax(dim=-1)  # k
        similarity = _similarity(parts, out.patches.detach()[0], vectors)  # n k

        evidence: list[Evidence] = []
        for number in only or map(int, likely.argsort(descending=True, stable=True)[:most]):
            score = contrast(cosines, number, parts.scale)
            relevance = _patch_relevance(parts.vit.config, out.attention, out.probe, score)
            words = _words(tower, parts.text_projection, tokenizer, texts[number], found.detach())
            evidence.append(
                Evidence(
                    label=labels[number],
                    number=number,
                    cosine=float(cosines[number].detach()),
                    probability=float(likely[number]),
                    relevance=_as_grid(relevance, out.grid),
                    similarity=_as_grid(similarity[:, number], out.grid),
                    words=words,
                )
            )
    view = clip.preprocessing.view(picture)
    return Explanation(view, out.grid, tuple(evidence), len(labels) == 1, clip.source)


def best_first(values: Float[Tensor, "y x"]) -> Int64[Tensor, " n"]:
    """The numbers of the patches, that of the highest value first."""
    return values.flatten().argsort(descending=True, stable=True)


# --- relevance ------------------------------------------------------------------------------------


def contrast(
    cosines: Float[Tensor, " k"], number: int, scale: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """How much nearer a label is than the others, each of which counts as it is likely.

    Its gradient is that of the label's log odds: what all labels share is evidence for none. A
    label that is alone is judged by its cosine.
    """
    others = torch.cat([cosines[:number], cosines[number + 1 :]])
    if not len(others):
        return cosines[number]
    likely = (scale * others.detach()).softmax(dim=-1)
    return cosines[number] - likely @ others


def relevance_flow(
    attention: Sequence[Float[Tensor, "h t t"]], gradients: Sequence[Float[Tensor, "h t t"]]
) -> Float[Tensor, "t t"]:
    """How much of each first token speaks for the score in each last one.

    Chefer et al. 2021, equations 5 and 6: A is the mean over the heads of (gradient * attention)+,
    and R becomes R + A R, layer by layer. R starts as the identity there; here that start is taken
    off again in the end, because it says of every token no more than that it is itself.
    """
    start = torch.eye(attention[0].shape[-1]).to(attention[0])
    flow = start
    for weights, gradient in zip(attention, gradients, strict=True):
        flow = flow + _spoken(weights, gradient) @ flow
    return flow - start


def _spoken(weights: Float[Tensor, "h q t"], gradient: Float[Tensor, "h q t"]) -> Tensor:
    return (gradient * weights).clamp_min(0).mean(dim=0)  # q t


def _gradients(score: Float[Tensor, ""], attention: Sequence[Tensor]) -> list[Tensor]:
    """How a score would change with each attention weight; the next label asks the same pass."""
    return [part[0] for part in torch.autograd.grad(score, attention, retain_graph=True)]


def _patch_relevance(
    config: ViTConfig,
    attention: dict[int, Float[Tensor, "1 h t t"]],
    probe: Float[Tensor, "1 h 1 n"] | None,
    score: Float[Tensor, ""],
) -> Float[Tensor, " n"]:
    blocks = [attention[number] for number in sorted(attention)]
    asked = [*blocks, *([] if probe is None else [probe])]
    gradients = _gradients(score, asked)
    weights = [_wide(part.detach()[0]) for part in asked]
    flow = relevance_flow(weights[: len(blocks)], gradients[: len(blocks)])  # t t
    if probe is None:
        return (_summed_up_by(config, flow) @ flow)[config.prefix :]
    # The question looks once, after the last layer, at what each patch has become by then; that a
    # patch is itself counts here, as the part of it that no layer moved.
    row = _spoken(weights[-1], gradients[-1])[0]  # n
    return row + row @ flow[config.prefix :, config.prefix :]


def _summed_up_by(config: ViTConfig, flow: Float[Tensor, "t t"]) -> Float[Tensor, " t"]:
    """How much each of the last tokens counts in the pooled one."""
    row = flow.new_zeros(len(flow))
    if config.distilled:
        row[:2] = 0.5
    elif config.pool == "cls":
        row[0] = 1
    else:
        row[config.prefix :] = 1 / (len(row) - config.prefix)
        if config.pool == "cls+mean":
            row[0] = 1
            row = row / 2
    return row


def _similarity(
    parts: "_Parts", patches: Float[Tensor, "n d"], vectors: Float[Tensor, "k e"]
) -> Float[Tensor, "n k"]:
    """The cosine of each patch with each label, as if the patch were all that is pooled."""
    with torch.no_grad():
        # Whatever the model pools by, it finds this one patch there.
        alone = repeat(patches, "n d -> n t d", t=parts.vit.config.prefix + 1)
        return _unit(parts.image_projection(parts.vit.pool(alone))) @ vectors.T


# --- words ----------------------------------------------------------------------------------------


def _words(
    tower: TextTransformer,
    projection: nn.Module,
    tokenizer: Tokenizer,
    text: str,
    found: Float[Tensor, " e"],
) -> tuple[Word, ...]:
    """On which words of a text its nearness to a picture rests."""
    out = tower(tokenizer([text]).to(tower.positions.device), attention=True)
    blocks = [out.attention[number] for number in sorted(out.attention)]
    gradients = _gradients(_unit(projection(out.pooled))[0] @ found, blocks)
    flow = relevance_flow([_wide(part.detach()[0]) for part in blocks], gradients)
    row = flow[int(out.place)][len(tokenizer.frame.begin) :].tolist()
    return tuple(Word(word, math.fsum(row[a:b])) for word, a, b in spans(tokenizer, text))


def spans(tokenizer: Tokenizer, text: str) -> list[tuple[str, int, int]]:
    """Which pieces of a text belong to which word: from one to before another.

    Words end at spaces; where the tokenizer reads over a space, two words count as one. What is too
    long for the model is left out.
    """
    pieces, room = tokenizer.pieces(text), tokenizer.frame.room
    found: list[tuple[str, int, int]] = []
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    first = start = 0
    for end in ends:
        so_far = tokenizer.pieces(text[:end]) if end < ends[-1] else pieces
        if so_far != pieces[: len(so_far)]:
            continue
        word = " ".join(text[first:end].split())
        found.append((word, start, min(len(so_far), room)))
        first, start = end, len(so_far)
        if start >= room:
            break
    return found


# --- is it so? ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """What a label scores while the model sees ever more of the patches."""

    shares: tuple[float, ...]  # of the patches that the model saw, from one patch to all
    scores: tuple[float, ...]  # the label's probability among the labels; alone: its cosine

    @property
    def area(self) -> float:
        """The mean score along the way, from one patch to all."""
        if len(self.shares) == 1:
            return self.scores[0]
        x, y = torch.tensor(self.shares).double(), torch.tensor(self.scores).double()
        return float(torch.trapezoid(y, x) / (x[-1] - x[0]))


@dataclass(frozen=True)
class Curves:
    """The test of one order of the patches (Petsiuk et al. 2018, section 4.2).

    Read deletion from its end: from all patches on, the first of the order are taken away.
    """

    deletion: Curve  # only the last of the order are left: low where the order is right
    insertion: Curve  # only the first of the order are shown: high where the order is right
    chance: Curve  # the mean over random orders, to which it makes no difference


def curves(
    clip: TwoTowers,
    picture: Image.Image,
    vectors: Float[Tensor, "k e"],
    number: int,
    order: Int64[Tensor, " n"],
    *,
    steps: int = 16,
    chances: int = 16,
    generator: torch.Generator | None = None,
) -> Curves:
    """Take patches away, the best first, and the worst first; hold it against random orders.

    A patch that is taken away was never there: the model gets no grey square to wonder about.
    """
    if chances < 1:
        raise BadInput(f"{chances} random orders to compare with; at least one is needed")
    random = random_orders(chances, len(order), generator)
    # Shown first or taken away first is the same for a random order, so half of it is enough.
    orders = torch.cat([order.cpu()[None], order.cpu().flip(0)[None], random])
    shares, scores = shown(clip, picture, vectors, number, orders, steps=steps)
    seen = tuple(shares.tolist())
    insertion, deletion, chance = scores[0], scores[1], scores[2:].mean(dim=0)
    return Curves(
        *(Curve(seen, tuple(line.tolist())) for line in (deletion, insertion, chance)),
    )


def shown(
    clip: TwoTowers,
    picture: Image.Image,
    vectors: Float[Tensor, "k e"],
    number: int,
    orders: Int64[Tensor, "m n"],
    *,
    steps: int = 16,
    batch: int = 64,
) -> tuple[Float[Tensor, " s"], Float[Tensor, "m s"]]:
    """What a label scores when only the first patches of each order are shown, from one to all.

    Deletion is the same with the order turned round. Returns the shares of the patches and scores.
    """
    parts = _parts(clip, vectors, len(vectors))
    _known([number], len(vectors))
    if steps < 2 or batch < 1:
        raise BadInput(f"{steps} steps, {batch} pictures at once; at least 2 and 1 are needed")
    with torch.inference_mode():
        image = parts.image(picture)  # 1 c y x
        size = parts.vit.config.patch_size
        patches = (image.shape[-2] // size) * (image.shape[-1] // size)
        orders = orders.cpu()
        every = repeat(torch.arange(patches), "n -> m n", m=len(orders))
        if not torch.equal(orders.sort(dim=-1).values, every):
            raise BadInput(f"an order names each of the {patches} patches once, from 0 on")
        place = orders.argsort(dim=-1)  # m n: the place of each patch in the order
        counts = torch.linspace(1, patches, steps).round().long().unique()
        columns: list[Tensor] = []
        for count in counts.tolist():  # pictures of one batch keep equally many
            kept = [place_of < count for place_of in place.split(batch)]
            columns.append(torch.cat([_scores(parts, image, keep, number) for keep in kept]))
        return counts / patches, torch.stack(columns, dim=1)


def random_orders(
    count: int, patches: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "m n"]:
    """Orders of the patches that know nothing of the picture."""
    return torch.rand(count, patches, generator=generator).argsort(dim=-1)


def _scores(parts: "_Parts", image: Tensor, keep: Tensor, number: int) -> Float[Tensor, " b"]:
    images = image.expand(len(keep), -1, -1, -1)
    pooled = parts.vit(images, keep=keep.to(image.device)).pooled
    cosines = _unit(parts.image_projection(pooled)) @ parts.vectors.T  # b k
    if cosines.shape[1] == 1:
        return cosines[:, 0].cpu()
    return (parts.scale * cosines).softmax(dim=-1)[:, number].cpu()


# --- in words -------------------------------------------------------------------------------------

_COLUMNS = 7  # of the curves, of all their steps
_STEADY = 0.9  # a score that keeps so much of itself without most patches tells nothing of them


def lines(explanation: Explanation, tests: Sequence[Curves] = ()) -> list[str]:
    """Say it to a person: the scores, the words they rest on, and each test's own curves."""
    rows, columns = explanation.grid
    said = [f"{explanation.source}: {rows} x {columns} patches"]
    for place, evidence in enumerate(explanation.labels):
        chance = "" if explanation.alone else f"{evidence.probability:.1%}, "
        said += ["", f"{evidence.label}: {chance}cosine {evidence.cosine:.3f}"]
        total = math.fsum(word.relevance for word in evidence.words)
        if total > 0:
            shares = [f"{word.text} {word.relevance / total:.0%}" for word in evidence.words]
            said.append(f"  rests on the words   {', '.join(shares)}")
        if place < len(tests):
            said += _curve_lines(tests[place])
    return said


def _curve_lines(test: Curves) -> list[str]:
    steps = len(test.chance.shares)
    picked = torch.linspace(steps - 1, 0, min(_COLUMNS, steps)).round().long().tolist()
    rows = [
        ("best patches first, taken away", test.deletion),
        ("best patches first, shown", test.insertion),
        ("in random order", test.chance),
    ]
    shares = "".join(f"{test.chance.shares[step]:8.0%}" for step in picked)
    said = [f"  {'patches that are seen':32}{shares}   mean"]
    for name, curve in rows:
        scores = "".join(f"{curve.scores[step]:8.3f}" for step in picked)
        said.append(f"  {name:32}{scores}{curve.area:7.3f}")
    if min(*test.deletion.scores, *test.chance.scores) > _STEADY * test.chance.scores[-1]:
        # Told from these labels by any scrap of it, even by what the object leaves behind.
        return [*said, "  hardly any patch is needed to tell it from these labels: no test of them"]
    right = test.deletion.area < test.chance.area < test.insertion.area
    said.append(
        "  the patches found matter more than random ones"
        if right
        else "  here the patches found matter no more than random ones: do not trust this one"
    )
    return said


# --- drawing --------------------------------------------------------------------------------------

_DRAWN = 6  # labels in a picture; more would be too small to see
_WORDS = 8  # of a text
_LONGEST = 44  # letters of a label or a word


def draw(explanation: Explanation, tests: Sequence[Curves] = ()) -> Image.Image:
    """Draw the evidence over the picture, a row a label, and the tests of the first labels."""
    # Drawn on a canvas of its own, as in `plot.curve`: pyplot would open windows.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = explanation.labels[:_DRAWN]
    columns = 4 if tests else 3
    size = (3 * columns + 2 * bool(tests), 2.9 * (1 + len(drawn)))  # the curves' names beside them
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    rows = figure.subfigures(1 + len(drawn), 1, squeeze=False)[:, 0]
    _draw_answer(rows[0], explanation, drawn)
    for place, (row, evidence) in enumerate(zip(rows[1:], drawn, strict=True)):
        score = f"cosine {evidence.cosine:.2f}"
        if not explanation.alone:
            score = f"{evidence.probability:.1%}"
        name, fonts = _writable(evidence.label, f"label {evidence.number + 1}")
        row.suptitle(f"{name}   {score}", x=0.02, ha="left", family=fonts, parse_math=False)
        cells = row.subplots(1, columns)
        _draw_heat(cells[0], "what it rests on", explanation, evidence.relevance)
        # Cosines lie close together, above or below zero: only their differences can be seen.
        low, high = evidence.similarity.min(), evidence.similarity.max()
        title = f"patches like it: {low:.2f} to {high:.2f}"
        _draw_heat(cells[1], title, explanation, evidence.similarity - low)
        _draw_words(cells[2], evidence)
        if place < len(tests):
            _draw_curves(cells[3], tests[place], explanation.alone)
        elif tests:
            cells[3].axis("off")
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    file.seek(0)
    return Image.open(file).convert("RGB")


def _draw_answer(row: "Figure", explanation: Explanation, drawn: Sequence[Evidence]) -> None:
    """The picture as the model saw it, beside what it said."""
    seen, said = row.subplots(1, 2, width_ratios=[1, 2])
    seen.imshow(explanation.view.convert("RGB"))
    seen.set_title("what the model sees", size="medium")
    seen.axis("off")
    values = [e.cosine if explanation.alone else e.probability for e in drawn]
    said.set_title("cosine" if explanation.alone else "probability", size="medium")
    _bars(said, [(e.label, f"label {e.number + 1}") for e in drawn], values)
    if not explanation.alone:
        said.set_xlim(0, 1)


def _draw_heat(
    axes: Any, title: str, explanation: Explanation, values: Float[Tensor, "y x"]
) -> None:
    axes.imshow(heat(explanation.view, values))
    axes.set_title(title, size="medium")
    axes.axis("off")


def _draw_words(axes: Any, evidence: Evidence) -> None:
    best = sorted(evidence.words, key=lambda word: -word.relevance)[:_WORDS]
    shown = [word for word in evidence.words if word in best][:_WORDS]
    names = [(word.text, f"word {i}") for i, word in enumerate(shown, 1)]
    _bars(axes, names, [word.relevance for word in shown])
    axes.set_title("its words", size="medium")
    axes.set_xticks([])  # as with the patches, only their proportions mean something


def _draw_curves(axes: Any, test: Curves, alone: bool) -> None:
    for name, curve, colour in (
        ("the best shown", test.insertion, "tab:blue"),
        ("random ones", test.chance, "tab:gray"),
        ("the best taken away", test.deletion, "tab:red"),
    ):
        axes.plot(curve.shares, curve.scores, color=colour, label=f"{name}:\narea {curve.area:.2f}")
    axes.set_title("with a share of the patches", size="medium")
    axes.set(ylabel="cosine" if alone else "probability", xlim=(0, 1))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def _bars(axes: Any, names: Sequence[tuple[str, str]], values: Sequence[float]) -> None:
    """Bars from top to bottom, each with its name, or the other one where no font can write it."""
    axes.barh(range(len(values)), values, color="tab:blue", height=0.6)
    axes.set_yticks(range(len(values)))
    written = [_writable(*name) for name in names]
    axes.set_yticklabels([name for name, _ in written], parse_math=False)
    for label, (_, fonts) in zip(axes.get_yticklabels(), written, strict=True):
        label.set_family(fonts)
    axes.invert_yaxis()
    axes.set_ylim(max(len(values), 3) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _writable(text: str, instead: str) -> tuple[str, list[str]]:
    """A text with the fonts that can write it; another one where this machine has none."""
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    fonts = _fonts(frozenset(text) - {" "})
    return (instead, ["DejaVu Sans"]) if fonts is None or not text else (text, list(fonts))


@functools.lru_cache(maxsize=1000)
def _fonts(letters: frozenset[str]) -> tuple[str, ...] | None:
    """Fonts of this machine that have all the letters between them, matplotlib's own first."""
    from matplotlib import font_manager

    entries = sorted(font_manager.fontManager.ttflist, key=_preference)
    families: list[str] = []
    for entry in entries:
        if families and not letters:
            break
        # Coloured letters cannot be drawn here, and the last resort draws a box for each letter.
        if entry.name in families or re.search("Emoji|Last ?Resort", entry.name):
            continue
        try:
            font = font_manager.get_font(entry.fname)
        except (OSError, RuntimeError):  # listed, but gone or damaged since
            continue
        having = {letter for letter in letters if font.get_char_index(ord(letter))}
        if having or not families:
            families.append(entry.name)
            letters = letters - having
    return None if letters else tuple(families)


def _preference(entry: Any) -> tuple[bool, bool, bool, str]:
    """DejaVu Sans, which comes with matplotlib; then upright regular ones, those of Korea first."""
    korean = re.search(r"CJK|KR\b|Korea|Nanum|Malgun|Gothic|Dotum|Pretendard", entry.name)
    irregular = entry.style != "normal" or entry.weight not in (400, "normal", "regular")
    return entry.name != "DejaVu Sans", irregular, korean is None, entry.name


# --- the model's parts ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Parts:
    """What is needed of a CLIP, known to be there; vectors as rows of length 1."""

    clip: CLIP
    vit: ViT
    image_projection: nn.Module
    text_tower: TextTransformer
    text_projection: nn.Module
    tokenizer: Tokenizer
    vectors: Float[Tensor, "k e"]

    @property
    def scale(self) -> float:
        return float(self.clip.scale.detach().exp())

    def image(self, picture: Image.Image) -> Float[Tensor, "1 c y x"]:
        return rearrange(self.clip.preprocessing(picture), "c y x -> 1 c y x").to(self.clip.weight)


def _parts(clip: TwoTowers, vectors: Float[Tensor, "k e"], labels: int) -> _Parts:
    if not isinstance(clip, CLIP):
        raise BadInput(
            f"{clip.source}: run by open_clip, which hands out no attention to explain; "
            "take a model that mmfm runs itself, such as clip-shapes"
        )
    if clip.image is None or clip.image_projection is None:
        raise BadInput(f"{clip.source}: was loaded without its picture tower")
    if clip.text is None or clip.text_projection is None:
        raise BadInput(f"{clip.source}: was loaded without its text tower")
    if clip.tokenizer is None:
        raise BadInput(f"{clip.source}: has no tokenizer, so the words of a text are not known")
    if not min(clip.config.image.depth, clip.config.text.depth):
        raise BadInput(f"{clip.source}: a tower without a block has no attention to explain")
    if labels == 0:
        raise BadInput("no labels; name at least one that the picture may show")
    if vectors.shape != (labels, clip.dim) or not vectors.isfinite().all():
        raise BadInput(
            f"{labels} labels need vectors as ({labels} {clip.dim}) of finite numbers, "
            f"not as {tuple(vectors.shape)}"
        )
    rows = _unit(vectors.detach().to(clip.weight))
    return _Parts(
        clip,
        clip.image,
        clip.image_projection,
        clip.text,
        clip.text_projection,
        clip.tokenizer,
        rows,
    )


def _known(numbers: Sequence[int], labels: int) -> None:
    strange = [number for number in numbers if not 0 <= number < labels]
    if strange:
        raise BadInput(f"no label {strange[0]}; there are {labels}, counted from 0")


def _as_grid(values: Float[Tensor, " n"], grid: tuple[int, int]) -> Float[Tensor, "y x"]:
    return rearrange(values.detach().float().cpu(), "(y x) -> y x", y=grid[0])


def _unit(x: Float[Tensor, "... e"]) -> Float[Tensor, "... e"]:
    return F.normalize(_wide(x), dim=-1)


def _wide(x: Tensor) -> Tensor:
    """Half precision would lose what is compared and added here."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
