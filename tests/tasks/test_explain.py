"""Where a label finds its evidence: by hand the same, on drawings the object, put to the test."""

import dataclasses
from itertools import pairwise
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import mmfm
from mmfm.data import shapes
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.retrieval import class_vectors
from mmfm.models.tokenizer import Tokenizer, clip_bpe, learn
from mmfm.models.vit import ViTConfig
from mmfm.tasks import explain as module
from mmfm.tasks.explain import (
    Curve,
    best_first,
    contrast,
    curves,
    draw,
    explain,
    random_orders,
    shown,
    spans,
)

LABELS = ["red circle", "파란 별", "cat"]
TEXTS = ["a red circle", "파란 별이 있다", "the cat sat"]
TOKENIZER = learn(TEXTS * 3, vocabulary=300, context=40)
IMAGE = ViTConfig((16, 24), 4, dim=16, depth=3, heads=2, mlp_dim=24)
TEXT = TextConfig(300, 40, dim=20, depth=2, heads=2, mlp_dim=24, pool="end", end=2)
POOLS: dict[str, dict[str, Any]] = {
    "cls": {},
    "cls, registers": {"registers": 2, "norm_before": True, "layer_scale": 0.5},
    "mean": {"pool": "mean", "cls_token": False},
    "mean, registers": {"pool": "mean", "registers": 2},
    "map": {"pool": "map", "cls_token": False},
    "map, registers": {"pool": "map", "registers": 1, "norm_pooled": True},
    "cls+mean": {"pool": "cls+mean"},
    "distilled": {"distilled": True},
}
TEXT_POOLS: dict[str, dict[str, Any]] = {
    "causal, end": {},
    "both ways, end": {"causal": False},
    "both ways, last": {"causal": False, "pool": "last", "end": None},
    "both ways, first": {"causal": False, "pool": "first", "end": None},
}


def a_model(text: dict[str, Any] | None = None, **changes: Any) -> CLIP:
    """A small CLIP in float64 whose weights tell patches and words apart."""
    config = CLIPConfig(
        dataclasses.replace(IMAGE, **changes),
        dataclasses.replace(TEXT, **(text or {})),
        dim=12,
        scale=1.5,
    )
    prepared = Preprocessing((16, 24), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = CLIP(config, prepared, TOKENIZER)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "scale":
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.double().eval()


def a_picture(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


# --- relevance ------------------------------------------------------------------------------------


def step_by_step(attention: list[Tensor], gradients: list[Tensor]) -> list[list[float]]:
    """R of Chefer et al. 2021, number by number."""
    attention = [weights.detach() for weights in attention]
    count = attention[0].shape[-1]
    flow = [[float(i == j) for j in range(count)] for i in range(count)]
    for weights, gradient in zip(attention, gradients, strict=True):
        heads = len(weights)
        spoken = [[0.0] * count for _ in range(count)]
        for i in range(count):
            for j in range(count):
                for h in range(heads):
                    spoken[i][j] += max(0.0, float(gradient[h, i, j] * weights[h, i, j])) / heads
        flow = [
            [
                flow[i][j] + sum(spoken[i][k] * flow[k][j] for k in range(count))
                for j in range(count)
            ]
            for i in range(count)
        ]
    return flow


@pytest.mark.parametrize("pool", POOLS)
def test_relevance_is_what_the_paper_says_computed_number_by_number(pool: str) -> None:
    model = a_model(**POOLS[pool])
    vectors = model.encode_text(TEXTS)
    explanation = explain(model, a_picture(), LABELS, vectors, TEXTS)
    assert explanation.grid == (4, 6) and len(explanation.labels) == 3
    vit, prefix = model.image, model.config.image.prefix
    assert vit is not None and model.image_projection is not None
    for evidence in explanation.labels:
        out = vit(model.preprocessing(a_picture())[None].double(), attention=True)
        cosines = (unit(model.image_projection(out.pooled)) @ vectors.T)[0]
        a, b = (i for i in range(3) if i != evidence.number)
        share = torch.sigmoid(model.scale.exp() * (cosines[a] - cosines[b])).detach()
        score = cosines[evidence.number] - share * cosines[a] - (1 - share) * cosines[b]
        asked = [out.attention[i] for i in range(3)]
        if out.probe is not None:
            asked.append(out.probe)
        gradients = torch.autograd.grad(score, asked)
        flow = step_by_step([x[0] for x in asked[:3]], [x[0] for x in gradients[:3]])
        expected: list[float] = []
        for patch in range(prefix, prefix + 24):
            start = [float(i == patch) for i in range(len(flow))]
            column = [row[patch] for row in flow]
            moved = [x - own for x, own in zip(column, start, strict=True)]
            mean = sum(moved[prefix:]) / 24
            if out.probe is not None:
                row = (gradients[3] * out.probe.detach())[0, :, 0].clamp_min(0).mean(dim=0)
                value = sum(float(row[i]) * column[prefix + i] for i in range(24))
            elif pool == "distilled":
                value = (moved[0] + moved[1]) / 2
            elif pool == "cls+mean":
                value = (moved[0] + mean) / 2
            else:
                value = moved[0] if pool.startswith("cls") else mean
            expected.append(value)
        torch.testing.assert_close(
            evidence.relevance.flatten().double(), torch.tensor(expected).double()
        )
        assert evidence.relevance.max() > 0
        assert evidence.cosine == pytest.approx(float(cosines[evidence.number].detach()))
        likely = (model.scale.exp() * cosines).softmax(dim=0)[evidence.number]
        assert evidence.probability == pytest.approx(float(likely.detach()))


@pytest.mark.parametrize("pool", POOLS)
def test_similarity_is_the_cosine_of_a_patch_alone(pool: str) -> None:
    model = a_model(**POOLS[pool])
    vectors = model.encode_text(TEXTS)
    explanation = explain(model, a_picture(), LABELS, vectors, TEXTS)
    vit, prefix = model.image, model.config.image.prefix
    assert vit is not None and model.image_projection is not None
    tokens = vit(model.preprocessing(a_picture())[None].double()).tokens[0, prefix:]
    for patch in (0, 7, 23):
        token = tokens[patch]
        if vit.attention_pool is not None:
            pooled = vit.norm_pooled(vit.attention_pool(token[None, None])[0])
        else:
            pooled = torch.cat([token, token]) if pool == "cls+mean" else token
        row = unit(model.image_projection(pooled)) @ vectors.T
        for evidence in explanation.labels:
            cosine = evidence.similarity.flatten()[patch]
            assert float(cosine) == pytest.approx(float(row[evidence.number].detach()), abs=1e-6)


def test_the_contrast_has_the_gradient_of_the_log_odds() -> None:
    cosines = torch.tensor([0.3, 0.1, 0.25, -0.2], dtype=torch.float64, requires_grad=True)
    [mine] = torch.autograd.grad(contrast(cosines, 1, 20.0), cosines)
    p = (20 * cosines).softmax(dim=0)[1]
    [odds] = torch.autograd.grad((p / (1 - p)).log() / 20, cosines)
    torch.testing.assert_close(mine, odds)
    assert contrast(cosines[:1], 0, 20.0) == cosines[0]


def test_a_label_alone_is_judged_by_its_cosine() -> None:
    model = a_model()
    vectors = model.encode_text(TEXTS[:1])
    explanation = explain(model, a_picture(), LABELS[:1], vectors, TEXTS[:1])
    assert explanation.alone
    [evidence] = explanation.labels
    assert evidence.probability == 1
    assert evidence.relevance.max() > 0
    test = curves(model, a_picture(), vectors, 0, evidence.order, steps=3, chances=2)
    assert test.deletion.scores[-1] == pytest.approx(evidence.cosine)
    draw(explanation, [test])


def test_what_all_labels_share_is_evidence_for_none() -> None:
    model = a_model()
    same = model.encode_text(["a red circle", "a red circle"])
    explanation = explain(model, a_picture(), ["a", "b"], same, TEXTS[:2])
    assert all(e.relevance.abs().max() < 1e-12 for e in explanation.labels)


def test_the_likeliest_labels_come_first_and_others_when_they_are_named() -> None:
    model = a_model()
    vectors = model.encode_text(TEXTS)
    every = explain(model, a_picture(), LABELS, vectors, TEXTS).labels
    assert [e.probability for e in every] == sorted((e.probability for e in every), reverse=True)
    assert sum(e.probability for e in every) == pytest.approx(1)
    assert [e.label for e in every] == [LABELS[e.number] for e in every]
    [first] = explain(model, a_picture(), LABELS, vectors, TEXTS, most=1).labels
    assert torch.equal(first.relevance, every[0].relevance)
    last = every[-1].number
    [named] = explain(model, a_picture(), LABELS, vectors, TEXTS, most=1, only=[last]).labels
    assert torch.equal(named.relevance, every[-1].relevance)


def test_a_frozen_model_within_inference_mode_is_explained_too() -> None:
    model = a_model(**POOLS["map"])
    expected = explain(model, a_picture(), LABELS, model.encode_text(TEXTS), TEXTS)
    model.requires_grad_(False)
    with torch.inference_mode():
        vectors = model.encode_text(TEXTS)
        mine = explain(model, a_picture(), LABELS, vectors, TEXTS)
    for one, other in zip(mine.labels, expected.labels, strict=True):
        assert torch.equal(one.relevance, other.relevance)
        assert one.words == other.words


def test_explaining_leaves_the_model_as_it_was() -> None:
    model = a_model()
    explain(model, a_picture(), LABELS, model.encode_text(TEXTS), TEXTS)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_half_precision_finds_the_same_patches(shapes_clip: CLIP) -> None:
    picture, number, _ = next(drawings(1))
    whole = of_number(shapes_clip, picture, number)
    half = mmfm.load_clip("clip-shapes").bfloat16().eval()
    mine = of_number(half, picture, number)
    assert mine.relevance.isfinite().all()
    assert set(mine.order[:2].tolist()) & set(whole.order[:3].tolist())


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TEXT_POOLS)
def test_words_are_the_sums_of_their_pieces_in_the_order_of_the_text(kind: str) -> None:
    model = a_model(TEXT_POOLS[kind])
    vectors = model.encode_text(TEXTS)
    explanation = explain(model, a_picture(), LABELS, vectors, TEXTS)
    found = model.encode_image([a_picture()])[0]
    tower, projection = model.text, model.text_projection
    assert tower is not None and projection is not None
    for evidence in explanation.labels:
        text = TEXTS[evidence.number]
        assert [word.text for word in evidence.words] == text.split()
        out = tower(TOKENIZER([text]), attention=True)
        asked = [out.attention[0], out.attention[1]]
        gradients = torch.autograd.grad(unit(projection(out.pooled))[0] @ found, asked)
        flow = step_by_step([x[0] for x in asked], [x[0] for x in gradients])
        row = flow[int(out.place)]
        pieces = TOKENIZER.pieces(text)
        assert sum(word.relevance for word in evidence.words) == pytest.approx(
            sum(row[1 : 1 + len(pieces)])
        )
        place = 1
        for word in evidence.words:
            end = place
            while "".join(TOKENIZER.pieces(word.text)) != "".join(pieces[place - 1 : end]):
                end += 1
            assert word.relevance == pytest.approx(sum(row[place : end + 1]))
            place = end + 1


@pytest.mark.parametrize("tokenizer", [TOKENIZER, clip_bpe()], ids=["ours", "CLIP's"])
@pytest.mark.parametrize("text", ["a  red circle ", "빨간 별이 있다", "well-known, isn't it?", "x"])
def test_spans_cover_all_pieces_of_a_text_once(tokenizer: Tokenizer, text: str) -> None:
    found = spans(tokenizer, text)
    assert [word for word, _, _ in found] == text.split()
    assert found[0][1] == 0 and found[-1][2] == len(tokenizer.pieces(text))
    for (_, _, end), (_, start, _) in pairwise(found):
        assert end == start


def test_words_that_do_not_fit_are_left_out() -> None:
    short = learn(TEXTS * 3, vocabulary=300, context=4)
    found = spans(short, "red circle red circle red circle")
    assert found[-1][2] == 2 and len(found) < 6
    assert spans(short, "  ") == []


def test_words_that_are_read_as_one_count_as_one() -> None:
    class Joining(type(TOKENIZER)):  # type: ignore[misc]
        """Reads "New York" as one piece."""

        def pieces(self, text: str) -> list[str]:
            return text.replace("New York", "New_York").split()

    joining = TOKENIZER.__reduce__()
    tokenizer = Joining(*joining[1])
    assert spans(tokenizer, "in New York now") == [("in", 0, 1), ("New York", 1, 2), ("now", 2, 3)]


# --- clip-shapes ----------------------------------------------------------------------------------

CLASSES = shapes.classes()
SAID = [" ".join(pair) for pair in CLASSES]


@pytest.fixture(scope="module")
def shapes_clip() -> CLIP:
    loaded = mmfm.load_clip("clip-shapes")
    assert isinstance(loaded, CLIP)
    return loaded.eval()


def drawings(count: int):  # type: ignore[no-untyped-def]
    """Pictures of one object of unseen colour and form, its number, and how much each patch has."""
    images, scenes = shapes.evaluation("colour and shape", count, seed=5, size=48)
    for pixels, scene in zip(images, scenes, strict=True):
        # The background is one light tone, darker in one direction: the object stands out of it.
        edge = torch.cat([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).float()
        far = (pixels.float() - edge.median(dim=0).values).abs().amax(dim=-1) > 60  # y x
        cover = far.float().unflatten(0, (6, 8)).unflatten(2, (6, 8)).mean(dim=(1, 3))
        number = CLASSES.index(scene.objects[0].pair)
        yield Image.fromarray(pixels.numpy()), number, cover.flatten() > 0.1


def of_number(clip: CLIP, picture: Image.Image, number: int) -> Any:
    vectors = class_vectors(clip, [shapes.say_class(*pair) for pair in CLASSES])
    [evidence] = explain(clip, picture, SAID, vectors, SAID, only=[number]).labels
    return evidence


def test_the_most_relevant_patches_lie_on_the_object(shapes_clip: CLIP) -> None:
    vectors = class_vectors(shapes_clip, [shapes.say_class(*pair) for pair in CLASSES])
    hits, chance, better = 0, 0.0, 0
    for picture, number, on_object in drawings(40):
        [evidence] = explain(shapes_clip, picture, SAID, vectors, SAID, only=[number]).labels
        hits += int(on_object[evidence.order[0]])
        chance += float(on_object.float().mean())
        random = torch.Generator().manual_seed(0)
        test = curves(
            shapes_clip, picture, vectors, number, evidence.order, steps=6, chances=4,
            generator=random,
        )  # fmt: skip
        better += test.deletion.area < test.chance.area < test.insertion.area
    assert chance < 10  # of 40
    assert hits >= 36
    assert better >= 36


def test_of_two_objects_each_label_finds_its_own(shapes_clip: CLIP) -> None:
    left = shapes.Shape("red", "circle", "large", "on the left")
    right = shapes.Shape("green", "star", "large", "on the right")
    image = shapes.draw([shapes.Scene((left, right))], 48, seed=3)[0]
    texts = ["빨간 원이 있다", "초록색 별이 있다"]
    vectors = shapes_clip.encode_text(texts)
    picture = Image.fromarray(image.numpy())
    red, green = sorted(
        explain(shapes_clip, picture, texts, vectors, texts).labels, key=lambda e: e.number
    )
    assert red.relevance[:, :3].sum() > 2 * red.relevance[:, 3:].sum()
    assert green.relevance[:, 3:].sum() > 2 * green.relevance[:, :3].sum()
    assert [word.text for word in green.words] == ["초록색", "별이", "있다"]


# --- curves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_scores_are_those_of_the_patches_that_are_shown(pool: str) -> None:
    model = a_model(**POOLS[pool])
    vectors = model.encode_text(TEXTS)
    orders = random_orders(3, 24, torch.Generator().manual_seed(0))
    shares, scores = shown(model, a_picture(), vectors, 1, orders, steps=5, batch=2)
    assert shares.tolist() == pytest.approx([1 / 24, 7 / 24, 12 / 24, 18 / 24, 1], abs=0.03)
    vit = model.image
    assert vit is not None and model.image_projection is not None
    image = model.preprocessing(a_picture())[None].double()
    for order, row in zip(orders, scores, strict=True):
        for share, score in zip(shares.tolist(), row.tolist(), strict=True):
            keep = torch.zeros(24, dtype=torch.bool)
            keep[order[: round(share * 24)]] = True
            rows = unit(model.image_projection(vit(image, keep=keep).pooled)) @ vectors.T
            likely = (model.scale.exp() * rows).softmax(dim=1)[0, 1]
            assert score == pytest.approx(float(likely.detach()))


def test_deletion_leaves_the_worst_patches_and_insertion_shows_the_best() -> None:
    model = a_model()
    vectors, order = model.encode_text(TEXTS), torch.arange(24).roll(5)
    test = curves(model, a_picture(), vectors, 2, order, steps=4, chances=3)
    _, direct = shown(model, a_picture(), vectors, 2, torch.stack([order, order.flip(0)]), steps=4)
    assert test.insertion.scores == pytest.approx(direct[0].tolist())
    assert test.deletion.scores == pytest.approx(direct[1].tolist())
    assert test.deletion.scores[-1] == pytest.approx(test.chance.scores[-1])
    assert test.deletion.shares[0] == pytest.approx(1 / 24)  # all but one are gone


def test_chance_is_drawn_by_the_generator() -> None:
    model = a_model()
    vectors, order = model.encode_text(TEXTS), torch.arange(24)

    def chance(seed: int) -> Curve:
        generator = torch.Generator().manual_seed(seed)
        return curves(model, a_picture(), vectors, 0, order, steps=3, generator=generator).chance

    assert chance(1) == chance(1) != chance(2)


def test_the_area_is_the_mean_score_along_the_way() -> None:
    assert Curve((0.1, 0.4, 1.0), (0.5, 0.5, 0.5)).area == pytest.approx(0.5)
    assert Curve((0.5, 1.0), (0.0, 1.0)).area == pytest.approx(0.5)
    assert Curve((0.0, 0.75, 1.0), (0.0, 0.0, 1.0)).area == pytest.approx(0.125)
    assert Curve((1.0,), (0.3,)).area == 0.3


def test_a_picture_of_one_patch_has_a_curve_of_one_point() -> None:
    model = a_model(image_size=(4, 4))
    model.preprocessing = Preprocessing((4, 4), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    vectors = model.encode_text(TEXTS)
    explanation = explain(model, a_picture(), LABELS, vectors, TEXTS)
    test = curves(model, a_picture(), vectors, 0, explanation.labels[0].order)
    assert test.deletion == test.insertion
    draw(explanation, [test])


def test_the_best_patches_come_first() -> None:
    assert best_first(torch.tensor([[0.1, 0.5], [0.5, 0.9]])).tolist() == [3, 1, 2, 0]


# --- drawing --------------------------------------------------------------------------------------


def test_a_drawing_has_a_row_for_each_label_and_one_for_the_picture() -> None:
    model = a_model()
    labels, texts = [*LABELS, "$x$ and $y"], [*TEXTS, "x\ny"]
    vectors = model.encode_text(texts)
    explanation = explain(model, a_picture(), labels, vectors, texts)
    test = curves(model, a_picture(), vectors, 0, torch.arange(24), steps=3, chances=2)
    assert draw(explanation).size == (900, 1450)
    assert draw(explanation, [test]).size == (1400, 1450)


def test_letters_that_no_font_has_become_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    own = [e for e in font_manager.fontManager.ttflist if e.name == "DejaVu Sans"]
    fallback = [e for e in font_manager.fontManager.ttflist if "Resort" in e.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fallback + own)
    module._fonts.cache_clear()
    try:
        assert module._writable("파란 별", "label 2") == ("label 2", ["DejaVu Sans"])
        assert module._writable("blue  star", "label 2") == ("blue star", ["DejaVu Sans"])
        assert module._writable("", "label 2")[0] == "label 2"
    finally:
        module._fonts.cache_clear()


def test_a_font_of_this_machine_writes_korean() -> None:
    from matplotlib import font_manager

    if not any("CJK" in e.name or "Nanum" in e.name for e in font_manager.fontManager.ttflist):
        pytest.skip("this machine has no Korean font")
    text, fonts = module._writable("파란 별", "label 2")
    assert text == "파란 별" and len(fonts) >= 2


def test_long_names_are_cut() -> None:
    assert len(module._writable("word " * 40, "")[0]) == 44


# --- what cannot be -------------------------------------------------------------------------------


def test_what_cannot_be_explained_is_one_clear_line() -> None:
    model = a_model()
    vectors, order = model.encode_text(TEXTS), torch.arange(24)
    picture = a_picture()
    no_text = CLIP(model.config, model.preprocessing, TOKENIZER, towers="image")
    no_image = CLIP(model.config, model.preprocessing, TOKENIZER, towers="text")
    no_tokenizer = CLIP(model.config, model.preprocessing)
    flat = a_model(depth=0)
    for wrong, line in (
        (lambda: explain(model, picture, [], vectors[:0], []), "no labels"),
        (
            lambda: explain(model, picture, LABELS, vectors[:2], TEXTS),
            r"\(3 12\).*not as \(2, 12\)",
        ),
        (lambda: explain(model, picture, LABELS, vectors[:, :5], TEXTS), r"not as \(3, 5\)"),
        (lambda: explain(model, picture, LABELS, vectors * torch.nan, TEXTS), "finite"),
        (lambda: explain(model, picture, LABELS, vectors, TEXTS[:2]), "as many texts, not 2"),
        (lambda: explain(model, picture, LABELS, vectors, TEXTS, most=0), "one at least"),
        (lambda: explain(model, picture, LABELS, vectors, TEXTS, only=[3]), "no label 3"),
        (lambda: explain(no_text, picture, LABELS, vectors, TEXTS), "without its text tower"),
        (lambda: explain(no_image, picture, LABELS, vectors, TEXTS), "without its picture tower"),
        (lambda: explain(no_tokenizer, picture, LABELS, vectors, TEXTS), "no tokenizer"),
        (lambda: explain(flat, picture, LABELS, vectors, TEXTS), "without a block"),
        (lambda: curves(model, picture, vectors, -1, order), "no label -1; there are 3"),
        (lambda: curves(model, picture, vectors, 0, order, chances=0), "0 random orders"),
        (lambda: curves(model, picture, vectors, 0, order, steps=1), "1 steps"),
        (lambda: curves(model, picture, vectors, 0, order[:5]), "each of the 24 patches once"),
        (lambda: curves(model, picture, vectors, 0, order * 0), "each of the 24 patches once"),
    ):
        with pytest.raises(BadInput, match=line) as caught:
            wrong()
        assert "\n" not in str(caught.value)


def test_a_model_that_open_clip_runs_has_no_attention_to_explain() -> None:
    class Wrapped(TwoTowers):
        """What `mmfm.models.wrapped` makes, without the seconds that open_clip takes to import."""

        name, origin = "somebody's", "local"

        def project_image(self, images: Tensor) -> Tensor:
            pytest.fail("a model without attention is refused before it is run")

        project_text = project_image

    wrapped = Wrapped()
    with pytest.raises(BadInput, match="hands out no attention to explain; take a model") as caught:
        explain(wrapped, a_picture(), LABELS, torch.ones(3, 12), TEXTS)
    assert "\n" not in str(caught.value)
