"""Looking into a vision transformer says what the model itself computes."""

import pytest
import torch
from PIL import Image

from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput
from mmfm.models.vit import ViT, ViTConfig, cost, patchify
from mmfm.tasks.look import Lens, patch_costs

POOLS = {
    "cls": {"registers": 2},
    "mean": {"pool": "mean", "cls_token": False},
    "cls+mean": {"pool": "cls+mean", "registers": 1},
    "map": {"pool": "map", "cls_token": False},
    "distilled": {"distilled": True},
}


def a_model(**changes: object) -> ViT:
    """A small model whose weights are large enough to tell patches apart."""
    settings = {"image_size": (16, 24), "patch_size": 4, "dim": 32, "depth": 3, "heads": 4}
    model = ViT(ViTConfig(**{**settings, "mlp_dim": 48, "classes": 5, **changes}))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def a_picture(seed: int = 0, size: tuple[int, int] = (24, 16)) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


@pytest.fixture(params=POOLS)
def model(request: pytest.FixtureRequest) -> ViT:
    return a_model(**POOLS[request.param])


@torch.inference_mode()
def test_attention_is_the_models_own(model: ViT) -> None:
    look = Lens(model).look(a_picture())
    image = model.preprocessing(a_picture())[None]
    for layer, weights in model(image, attention=True).attention.items():
        mine = look.attention(layer)
        prefix = model.config.prefix
        torch.testing.assert_close(mine[:, :prefix], weights[0, :, :prefix, prefix:])
        torch.testing.assert_close(mine[:, -24:], weights[0, :, prefix:, prefix:])
        assert mine.shape == (4, len(look.askers) + 24, 24)


@torch.inference_mode()
def test_the_asker_that_sums_up_is_what_the_model_pools_by(model: ViT) -> None:
    look = Lens(model).look(a_picture())
    kind = look.askers[look.summing_up]
    pool = model.config.pool
    assert kind == {"map": "probe", "mean": "mean"}.get(pool, "cls")
    weights = look.attention(1)[:, look.summing_up]
    if kind == "mean":
        torch.testing.assert_close(weights, look.attention(1)[:, -24:].mean(dim=1))
    if kind == "probe":
        # The probe takes all it has from the patches, and looks once: the layer is of no matter.
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(4))
        torch.testing.assert_close(weights, look.attention(0)[:, look.summing_up])


def test_a_probe_looks_the_way_the_pooled_token_says() -> None:
    model = a_model(**POOLS["map"])
    look = Lens(model).look(a_picture())
    pool = model.attention_pool
    assert pool is not None
    with torch.inference_mode():
        tokens = model(look.image).tokens
        values = pool.attention.v(tokens)[0].reshape(24, 4, 8)
        mixed = torch.einsum("hn,nhk->hk", look.attention(0)[:, look.summing_up], values)
        torch.testing.assert_close(
            pool.attention.out(mixed.flatten()), pool.attention(pool.probe[None], tokens)[0, 0]
        )


def test_rollout_gives_shares_of_the_whole_picture(model: ViT) -> None:
    rollout = Lens(model).look(a_picture()).rollout
    assert (rollout >= 0).all()
    assert (rollout.sum(dim=-1) <= 1 + 1e-5).all()
    if model.config.prefix == 0:
        torch.testing.assert_close(rollout.sum(dim=-1), torch.ones(len(rollout)))


def test_a_patch_is_most_like_itself_and_not_its_own_neighbour(model: ViT) -> None:
    look = Lens(model).look(a_picture())
    ahead = len(look.askers)
    for layer in range(look.depth):
        alike = look.similarity(layer)
        torch.testing.assert_close(alike[ahead:].diagonal(), torch.ones(24))
        neighbours = look.nearest(ahead + 5, layer, count=23)
        assert {patch for patch, _ in neighbours} == set(range(24)) - {5}
        cosines = [cosine for _, cosine in neighbours]
        assert cosines == sorted(cosines, reverse=True)


def test_equal_patches_without_positions_are_the_nearest() -> None:
    model = a_model(positions="none")
    picture = a_picture()
    picture.paste(picture.crop((0, 0, 4, 4)), (20, 12))
    look = Lens(model).look(picture)
    [(patch, cosine)] = look.nearest(len(look.askers), layer=2, count=1)
    assert patch == 23
    assert cosine == pytest.approx(1, abs=1e-5)


def test_masked_patches_are_never_seen(model: ViT) -> None:
    keep = torch.ones(24, dtype=torch.bool)
    keep[[3, 10, 23]] = False
    one, other = a_picture(0), a_picture(0)
    for patch in (3, 10, 23):
        left, top = patch % 6 * 4, patch // 6 * 4
        other.paste("white", (left, top, left + 4, top + 4))
    lens = Lens(model)
    first, second = lens.look(one).answer(keep), lens.look(other).answer(keep)
    torch.testing.assert_close(first.probabilities, second.probabilities)
    assert first.likeness(second) == pytest.approx(1, abs=1e-5)
    whole = lens.look(one).answer()
    assert whole.probabilities is not None
    assert first.probabilities is not None
    assert whole.probabilities.sum() == pytest.approx(1)
    assert (whole.probabilities - first.probabilities).abs().max() > 1e-4


def test_a_model_without_classes_still_has_a_summary() -> None:
    look = Lens(a_model(classes=0)).look(a_picture())
    assert look.answer().probabilities is None
    assert look.answer([True] * 12 + [False] * 12).likeness(look.whole) < 0.9999


def test_the_view_is_what_the_model_sees() -> None:
    model = a_model()
    look = Lens(model).look(a_picture(size=(300, 200)))
    assert look.view.size == (24, 16)
    torch.testing.assert_close(look.image[0], model.preprocessing(a_picture(size=(300, 200))))
    tiles = patchify(look.image, 4)
    assert tiles.shape == (1, look.patches, 48)


def test_a_picture_is_cropped_once() -> None:
    half = (0.5, 0.5, 0.5)
    preparation = Preprocessing((16, 24), half, half, crop_fraction=0.5)
    model = a_model()
    model.preprocessing = preparation
    picture = a_picture(size=(300, 200))
    torch.testing.assert_close(Lens(model).look(picture).image[0], preparation(picture))


def test_a_picture_seen_before_is_remembered_until_memory_is_short() -> None:
    lens = Lens(a_model(), memory=1)
    first = lens.look(a_picture(0))
    assert lens.look(a_picture(0)) is first
    assert lens.remembered(first.key) is first
    lens.look(a_picture(1))
    assert lens.remembered(first.key) is None


def test_what_cannot_be_is_one_clear_line() -> None:
    look = Lens(a_model()).look(a_picture())
    for wrong, line in (
        (lambda: look.attention(3), "no layer 3; the model's layers are 0 to 2"),
        (lambda: look.similarity(-1), "no layer -1; the model's layers are 0 to 2"),
        (lambda: look.answer([False] * 24), "all patches are masked; keep at least one"),
        (lambda: look.answer([True] * 5), "each of 24 patches, not 5"),
    ):
        with pytest.raises(BadInput, match=line):
            wrong()


def test_other_patch_sizes_cost_what_such_a_model_would() -> None:
    config = a_model().config
    costs = {c.patch_size: c for c in patch_costs(config, 16, 24)}
    assert list(costs) == [1, 2, 4, 8]
    assert costs[4].flops == cost(config).flops
    assert costs[2].grid == (8, 12)
    assert costs[2].tokens == 8 * 12 + 1
    # Every two tokens look at each other: 385 tokens cost (385 / 25)^2 as much as 25.
    assert costs[1].attention_flops / costs[4].attention_flops == pytest.approx((385 / 25) ** 2)
    assert all(c.attention_flops < c.flops for c in costs.values())
