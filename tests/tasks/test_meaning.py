"""What is said about vectors holds for vectors whose answers are known beforehand."""

import gc

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.clip import CLIP
from mmfm.tasks.meaning import (
    Found,
    Memory,
    close_gap,
    found_first,
    found_in_pile,
    gap,
    plane,
    plane_across,
    plane_within,
    rivals,
    similarity,
    sums,
)

IDENTITY = torch.arange(3)[:, None].expand(3, 2)  # three pairs, each of the same number


def rows(count: int, seed: int, dim: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator), dim=-1)


def two_kinds(apart: float) -> tuple[Tensor, Tensor]:
    """Three pictures and three texts that agree, but for one direction that parts the kinds."""
    meaning = torch.eye(4)[:3]
    away = apart * torch.eye(4)[3]
    return F.normalize(meaning + away, dim=-1), F.normalize(meaning - away, dim=-1)


class Counting(CLIP):
    """Stands for a model, and counts what it is shown."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.dim = 8
        self.seen: list[object] = []

    def encode_image(self, pictures: object, *, batch: int = 64) -> Tensor:
        return self._count(pictures)

    def encode_text(self, texts: object, *, batch: int = 256) -> Tensor:
        return self._count(texts)

    def _count(self, items: object) -> Tensor:
        assert isinstance(items, list)
        self.seen += items
        return torch.stack([rows(1, len(self.seen) + number)[0] for number in range(len(items))])


# --- memory -------------------------------------------------------------------------------------


def test_a_picture_is_seen_once_and_a_text_is_read_once() -> None:
    model, memory = Counting(), Memory()
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first = memory.images(model, [red, blue, red.copy()])
    assert len(model.seen) == 2
    torch.testing.assert_close(first[0], first[2])
    again = memory.images(model, [blue, red])
    assert len(model.seen) == 2
    torch.testing.assert_close(again, first[[1, 0]])
    memory.texts(model, ["red", "red", "blue"])
    memory.texts(model, ["blue"])
    assert model.seen[2:] == ["red", "blue"]


def test_equal_bytes_in_another_shape_are_another_picture() -> None:
    model, memory = Counting(), Memory()
    memory.images(model, [Image.new("RGB", (2, 8)), Image.new("RGB", (8, 2))])
    memory.texts(model, [])
    assert len(model.seen) == 2


def test_memory_lets_go_of_the_oldest_and_of_models_that_are_gone() -> None:
    model, memory = Counting(), Memory(most=2)
    memory.texts(model, ["a", "b", "c"])  # more at once than are kept
    memory.texts(model, ["c"])
    assert model.seen == ["a", "b", "c"]
    memory.texts(model, ["a"])
    assert model.seen == ["a", "b", "c", "a"]
    del model
    gc.collect()
    assert len(memory._known) == 0  # pyright: ignore[reportPrivateUsage]


# --- who is near whom ---------------------------------------------------------------------------


def test_similarity_is_the_cosine() -> None:
    images, texts = rows(4, 0), rows(5, 1)
    expected = F.cosine_similarity(images[:, None], texts[None], dim=-1)
    torch.testing.assert_close(similarity(images, texts), expected)


def test_those_who_find_a_partner_first_are_counted() -> None:
    images = torch.eye(3)
    texts = torch.eye(3)[[0, 2, 1]]
    assert found_first(images, images, IDENTITY) == Found(3, 3)
    assert found_first(images, texts, IDENTITY) == Found(1, 3)
    assert found_first(images, texts, IDENTITY[:0]) == Found(0, 0)
    several = torch.tensor([[0, 1], [0, 0], [2, 2]])  # two captions of one picture; one has none
    assert found_first(images, texts, several) == Found(1, 2)


def test_a_gap_hides_partners_in_a_mixed_pile_only() -> None:
    images, texts = two_kinds(apart=1.5)
    assert found_first(images, texts, IDENTITY) == Found(3, 3)
    assert found_in_pile(images, texts, IDENTITY) == Found(0, 3)
    assert found_in_pile(*close_gap(images, texts, 1), IDENTITY) == Found(3, 3)
    assert found_in_pile(images, texts, IDENTITY[:0]) == Found(0, 0)


def test_rivals_are_the_nearest_wrong_answers_the_worst_first() -> None:
    near = torch.tensor([[0.9, 0.2, 0.7], [0.6, 0.5, 0.1], [0.0, 0.3, 0.4]])
    found = rivals(near, IDENTITY)
    assert [(r.question, r.wrong, r.right) for r in found] == [(1, 0, 1), (2, 1, 2), (0, 2, 0)]
    assert [r.margin for r in found] == pytest.approx([0.1, -0.1, -0.2])
    # Another right answer is no rival, and the nearest of the right ones is the one to beat.
    [one] = rivals(near, torch.tensor([[0, 2], [0, 0]]))
    assert (one.wrong, one.right, one.margin) == (1, 0, pytest.approx(-0.7))
    assert rivals(near[:1], torch.tensor([[0, 0], [0, 1], [0, 2]])) == []


# --- the map ------------------------------------------------------------------------------------


def test_a_flat_cloud_keeps_all_on_the_map() -> None:
    flat = torch.zeros(6, 5)
    flat[:, 1] = torch.tensor([-3.0, 3, 0, 0, 1, -1])
    flat[:, 3] = torch.tensor([0.0, 0, 1, -1, 0, 0])
    sheet = plane(flat + 7)
    assert sum(sheet.kept(flat)) == pytest.approx(1)
    assert sheet.kept(flat)[0] == pytest.approx(20 / 22)
    torch.testing.assert_close(torch.pdist(sheet.place(flat + 7)), torch.pdist(flat))
    torch.testing.assert_close(sheet.axes.abs(), torch.eye(5)[[1, 3]])
    assert (sheet.axes.sum(dim=1) > 0).all()  # the same cloud, the same way up


def test_what_a_map_keeps_is_the_share_of_variance() -> None:
    from sklearn.decomposition import PCA

    vectors = rows(30, 3)
    theirs = PCA(2).fit(vectors.numpy())
    sheet = plane(vectors)
    assert sheet.kept(vectors) == pytest.approx(theirs.explained_variance_ratio_, abs=1e-5)
    places = torch.from_numpy(theirs.transform(vectors.numpy()))
    torch.testing.assert_close(sheet.place(vectors).abs(), places.abs(), atol=1e-4, rtol=1e-4)


def test_the_map_within_kinds_is_blind_to_the_gap_and_the_map_across_shows_it() -> None:
    images, texts = two_kinds(apart=1.5)
    distance = gap(images, texts).norm()
    within, across = plane_within(images, texts), plane_across(images, texts)
    places = [within.place(kind).mean(dim=0) for kind in (images, texts)]
    torch.testing.assert_close(places[0], places[1], atol=1e-5, rtol=0)
    left, right = (across.place(kind).mean(dim=0) for kind in (texts, images))
    torch.testing.assert_close(right - left, torch.stack([distance, torch.tensor(0.0)]))
    for sheet in (across, plane_across(rows(5, 1), rows(6, 2))):
        torch.testing.assert_close(sheet.axes @ sheet.axes.T, torch.eye(2), atol=1e-5, rtol=0)


def test_one_vector_makes_no_map() -> None:
    with pytest.raises(BadInput, match="a map needs two vectors of two numbers; here are 1 of 8"):
        plane(rows(1, 0))


# --- the gap ------------------------------------------------------------------------------------


def test_the_gap_closes_opens_and_turns_round() -> None:
    images, texts = two_kinds(apart=1.5)
    before = gap(images, texts)
    for amount, check in (
        (0.0, lambda now: torch.testing.assert_close(now, before)),
        (0.5, lambda now: assert_between(now @ before, 0, before @ before)),
        (1.0, lambda now: torch.testing.assert_close(now, 0 * now, atol=1e-5, rtol=0)),
        (2.0, lambda now: assert_between(now @ before, -(before @ before) * 2, 0)),
        (-1.0, lambda now: assert_between(before.norm(), 0, now.norm())),
    ):
        moved = close_gap(images, texts, amount)
        check(gap(*moved))
        for kind in moved:
            torch.testing.assert_close(kind.norm(dim=-1), torch.ones(3))


def assert_between(value: Tensor, low: float | Tensor, high: float | Tensor) -> None:
    assert low < value < high


# --- sums ---------------------------------------------------------------------------------------


def test_taking_one_word_away_and_adding_another_leads_to_the_other_picture() -> None:
    red, blue, circle, gap_of_texts = torch.eye(4)
    picture = F.normalize(red + circle, dim=0)
    way = sums(picture, red + gap_of_texts, blue + gap_of_texts, [0, 0.5, 2**-0.5])
    torch.testing.assert_close(way[0], picture)
    torch.testing.assert_close(way[2], F.normalize(blue + circle, dim=0))
    torch.testing.assert_close(way.norm(dim=-1), torch.ones(3))
    assert way[0] @ way[1] > way[0] @ way[2]


def test_words_may_be_missing_from_a_sum() -> None:
    start, word = rows(2, 5)
    torch.testing.assert_close(sums(start, None, word, [1.0])[0], F.normalize(start + word, dim=0))
    torch.testing.assert_close(sums(start, word, None, [1.0])[0], F.normalize(start - word, dim=0))
    torch.testing.assert_close(sums(start, None, None, [2.0])[0], start)
