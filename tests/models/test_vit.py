"""The vision transformer: what it promises about patches, tokens, attention, size and cost."""

import re
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import PatchEmbed
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmfm.errors import BadInput
from mmfm.models.vit import (
    SIZES,
    VARIANTS,
    ViT,
    ViTConfig,
    cost,
    patchify,
    rollout,
    similarity,
    unpatchify,
    variant,
)
from mmfm.models.weights import flat_patches

TINY: dict[str, Any] = {
    "image_size": (24, 32),
    "patch_size": 8,
    "dim": 16,
    "depth": 3,
    "heads": 2,
    "mlp_dim": 24,
    "classes": 5,
}


def tiny(**options: Any) -> ViT:
    """A small model with weights that matter: none at its initial value."""
    model = ViT(ViTConfig(**{**TINY, **options})).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).double() * 0.3)
    return model


def images(count: int = 2, channels: int = 3, height: int = 24, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, channels, height, width, generator=generator).double()


# --- patches --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 9),
    channels=st.integers(1, 6),
    grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    count=st.integers(0, 3),
)
def test_patchify_and_back_gives_the_same_picture(
    size: int, channels: int, grid: tuple[int, int], count: int
):
    pictures = torch.randn(count, channels, grid[0] * size, grid[1] * size)
    patches = patchify(pictures, size)
    assert patches.shape == (count, grid[0] * grid[1], size * size * channels)
    assert torch.equal(unpatchify(patches, size, grid), pictures)


def test_patches_come_row_by_row_and_each_is_a_square_of_the_picture():
    model, pictures = tiny(), images()
    patches = model.patchify(pictures)
    square = pictures[0, :, 8:16, 24:32]  # second row, fourth column
    assert torch.equal(patches[0, 1 * 4 + 3], square.permute(1, 2, 0).flatten())
    assert torch.equal(model.unpatchify(patches), pictures)


def test_patches_of_another_resolution_need_their_grid_to_go_back():
    model, pictures = tiny(), images(height=40, width=16)
    assert torch.equal(model.unpatchify(model.patchify(pictures), grid=(5, 2)), pictures)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [1, 7, 16])
def test_the_patch_embedding_is_timms_strided_convolution(size: int, channels: int):
    theirs = PatchEmbed(None, size, channels, 20).double()
    embed = torch.nn.Linear(size * size * channels, 20).double()
    embed.load_state_dict(
        {"weight": flat_patches(theirs.proj.weight.data), "bias": theirs.proj.bias.data}
    )
    pictures = images(2, channels, 3 * size, 5 * size)
    ours = embed(patchify(pictures, size))
    torch.testing.assert_close(ours, theirs(pictures), rtol=0, atol=1e-12)


# --- the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({}, 1),
        ({"registers": 3}, 4),
        ({"distilled": True}, 2),
        ({"cls_token": False, "pool": "mean"}, 0),
        ({"cls_token": False, "pool": "map", "registers": 2}, 2),
    ],
)
def test_the_output_has_the_shapes_it_says(options: dict[str, Any], prefix: int):
    out = tiny(**options)(images())
    assert out.tokens.shape == (2, prefix + 12, 16)
    assert out.patches.shape == (2, 12, 16)
    assert torch.equal(out.patches, out.tokens[:, prefix:])
    assert out.pooled.shape == (2, 16)
    assert out.logits is not None
    assert out.logits.shape == (2, 5)
    assert (out.prefix, out.grid) == (prefix, (3, 4))


def test_pooling_is_what_its_name_says():
    pictures = images()
    cls = tiny()(pictures)
    assert torch.equal(cls.pooled, cls.tokens[:, 0])
    mean = tiny(pool="mean")(pictures)
    torch.testing.assert_close(mean.pooled, mean.tokens[:, 1:].mean(dim=1))
    both = tiny(pool="cls+mean")(pictures)
    torch.testing.assert_close(
        both.pooled, torch.cat([both.tokens[:, 0], both.tokens[:, 1:].mean(dim=1)], dim=1)
    )
    model = tiny(pool="map")
    asked = model(pictures)
    assert model.attention_pool is not None
    assert torch.equal(asked.pooled, model.attention_pool(asked.patches))


def test_without_classes_there_are_no_logits():
    assert tiny(classes=0)(images()).logits is None


def test_layers_and_attention_come_on_request_and_not_otherwise():
    model, pictures = tiny(), images()
    plain = model(pictures)
    assert plain.layers == []
    assert plain.attention == {}
    out = model(pictures, layers=True, attention=True)
    assert [layer.shape for layer in out.layers] == [(2, 13, 16)] * 4
    assert sorted(out.attention) == [0, 1, 2]
    torch.testing.assert_close(out.tokens, plain.tokens, rtol=0, atol=1e-12)
    assert torch.equal(model.norm_after(out.layers[-1]), out.tokens)
    assert plain.probe is None


POOLS = {
    "cls": {"registers": 2},
    "mean": {"pool": "mean", "registers": 1},
    "cls+mean": {"pool": "cls+mean"},
    "map": {"pool": "map", "cls_token": False},
    "map beside a class token": {"pool": "map", "norm_pooled": True},
    "distilled": {"distilled": True},
    "with a pooler": {"pooler": True, "layer_scale": 0.1, "qk_norm": True},
}


@pytest.mark.parametrize("pool", POOLS)
def test_attention_that_is_asked_for_changes_no_number(pool: str):
    model, pictures = tiny(**POOLS[pool]), images()
    plain = model(pictures)
    for asked in (True, [1]):
        out = model(pictures, attention=asked)
        for mine, other in ((out.pooled, plain.pooled), (out.logits, plain.logits)):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)
    assert torch.equal(model.pool(plain.tokens), plain.pooled)


@pytest.mark.parametrize("pool", POOLS)
def test_a_gradient_of_the_answer_reaches_the_attention(pool: str):
    model = tiny(**POOLS[pool]).requires_grad_(False)
    out = model(images(), attention=True)
    assert out.logits is not None
    handed_out = [*out.attention.values(), *([] if out.probe is None else [out.probe])]
    for gradient in torch.autograd.grad(out.logits.square().sum(), handed_out):
        assert gradient.abs().sum() > 0


def test_with_attention_pooling_the_probes_attention_is_handed_out():
    model, pictures = tiny(pool="map"), images()
    out = model(pictures, attention=[0])
    assert out.probe is not None
    assert out.probe.shape == (2, 2, 1, 12)
    pool = model.attention_pool
    assert pool is not None
    question = pool.probe.expand(2, 1, -1)
    assert torch.equal(out.probe, pool.attention.weights(question, out.patches))
    assert model(pictures).probe is None
    assert tiny()(pictures, attention=True).probe is None


def test_the_attention_of_named_blocks_is_that_of_all():
    model, pictures = tiny(), images()
    everything = model(pictures, attention=True).attention
    named = model(pictures, attention={2, 0}).attention
    assert sorted(named) == [0, 2]
    for number in named:
        torch.testing.assert_close(named[number], everything[number], rtol=0, atol=1e-12)
    for weights in everything.values():
        assert weights.shape == (2, 2, 13, 13)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 13).double())


@pytest.mark.parametrize("pool", ["cls", "mean", "map"])
def test_what_is_not_kept_was_never_there(pool: str):
    model, pictures = tiny(pool=pool, registers=1), images()
    keep = torch.ones(12, dtype=torch.bool)
    keep[[0, 6]] = False
    changed = pictures.clone()
    changed[:, :, 0:8, 0:8] = 9.0  # patch 0
    changed[:, :, 8:16, 16:24] = -9.0  # patch 6
    before, after = model(pictures, keep=keep), model(changed, keep=keep)
    assert before.tokens.shape == (2, 2 + 10, 16)
    assert torch.equal(before.tokens, after.tokens)
    assert torch.equal(before.pooled, after.pooled)
    assert not torch.allclose(before.pooled, model(pictures).pooled)
    assert not torch.allclose(model(changed).pooled, model(pictures).pooled)


def test_keeping_everything_changes_nothing():
    model, pictures = tiny(), images()
    kept = model(pictures, keep=torch.ones(12, dtype=torch.bool))
    assert torch.equal(kept.tokens, model(pictures).tokens)


def test_each_picture_may_keep_its_own_patches():
    model, pictures = tiny(), images()
    keep = torch.zeros(2, 12, dtype=torch.bool)
    keep[0, [1, 5, 7]] = True
    keep[1, [0, 2, 11]] = True
    together = model(pictures, keep=keep).tokens
    for number in (0, 1):
        alone = model(pictures[number : number + 1], keep=keep[number]).tokens
        torch.testing.assert_close(together[number : number + 1], alone)


def test_a_kept_patch_keeps_its_own_position():
    """Dropping the first patches must not move the later ones to the front."""
    model, pictures = tiny(depth=0, norm_after=False), images()
    keep = torch.arange(12) >= 7
    kept = model(pictures, keep=keep).patches
    assert torch.equal(kept, model(pictures).patches[:, 7:])


@pytest.mark.parametrize("positions", ["learned", "sincos", "none"])
def test_any_resolution_that_patches_divide_is_looked_at(positions: str):
    model = tiny(positions=positions)
    for height, width in ((24, 32), (8, 8), (48, 16)):
        out = model(images(height=height, width=width))
        assert out.grid == (height // 8, width // 8)
        assert out.patches.shape[1] == out.grid[0] * out.grid[1]


def test_a_picture_of_one_patch_and_one_pixel_is_a_picture():
    out = tiny(image_size=(1, 1), patch_size=1)(images(height=1, width=1))
    assert out.grid == (1, 1)
    assert out.tokens.shape == (2, 2, 16)
    assert out.logits is not None
    assert out.logits.isfinite().all()


def test_without_positions_the_order_of_patches_is_all_the_same():
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    for positions, same in (("none", True), ("learned", False), ("sincos", False)):
        model = tiny(positions=positions)
        pictures = images()
        shuffled = model.unpatchify(model.patchify(pictures)[:, order])
        assert torch.allclose(model(pictures).pooled, model(shuffled).pooled) is same


def test_a_fresh_model_says_nothing_yet_and_every_part_of_it_learns():
    torch.manual_seed(0)
    options = {"registers": 2, "layer_scale": 0.1, "qk_norm": True, "norm_before": True}
    model = ViT(ViTConfig(**TINY, **options, pool="map", positions="learned"))
    logits = model(images().float()).logits
    assert logits is not None
    assert torch.equal(logits, torch.zeros(2, 5))
    torch.nn.init.normal_(model.head.weight)  # type: ignore[union-attr]
    model(images().float()).logits.sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Without QK-norm a bias of the keys moves every score alike, which softmax doesn't notice.
    assert [name for name in silent if not name.endswith("k.bias")] == []


def test_fresh_weights_depend_on_the_generator_only():
    model, twin = ViT(ViTConfig(**TINY)), ViT(ViTConfig(**TINY))
    for each in (model, twin):
        each.reset(torch.Generator().manual_seed(3))
    for mine, their in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, their)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_model_without_a_publisher_has_preprocessing_of_its_size(channels: int):
    model = tiny(channels=channels)
    assert model.preprocessing.size == (24, 32)
    assert model(images(channels=channels)).grid == (3, 4)


# --- what attention says --------------------------------------------------------------------------


def test_rollout_is_what_a_hand_calculates():
    first = torch.tensor([[[[0.5, 0.5], [0.0, 1.0]], [[1.0, 0.0], [0.5, 0.5]]]])  # two heads
    second = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    # Heads averaged, half of each step stays: [[.875, .125], [.125, .875]] and all .5.
    # Then second times first.
    torch.testing.assert_close(rollout([first]), torch.tensor([[[0.875, 0.125], [0.125, 0.875]]]))
    torch.testing.assert_close(rollout([first, second]), torch.full((1, 2, 2), 0.5))
    third = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])  # both look at the second token
    expected = torch.tensor([[[0.5, 0.5], [0.125, 0.875]]])
    torch.testing.assert_close(rollout([first, third]), expected)


def test_rollouts_rows_sum_to_one():
    attention = tiny()(images(), attention=True).attention
    flow = rollout([attention[number] for number in sorted(attention)])
    assert flow.shape == (2, 13, 13)
    torch.testing.assert_close(flow.sum(dim=-1), torch.ones(2, 13).double())
    assert (flow >= 0).all()


def test_rollout_of_nothing_is_refused():
    with pytest.raises(BadInput, match="at least one"):
        rollout([])


def test_similarity_is_the_cosine_of_every_two_tokens():
    tokens = images(2, 1, 6, 8)[:, 0]
    alike = similarity(tokens)
    assert alike.shape == (2, 6, 6)
    torch.testing.assert_close(alike.diagonal(dim1=1, dim2=2), torch.ones(2, 6).double())
    by_torch = torch.nn.functional.cosine_similarity(tokens[:, :, None], tokens[:, None], dim=-1)
    torch.testing.assert_close(alike, by_torch)
    assert similarity(torch.zeros(3, 4)).eq(0).all()  # no direction, no likeness, no NaN


# --- size and cost --------------------------------------------------------------------------------

COSTS: list[dict[str, Any]] = [
    {},
    {"classes": 0},
    {"activation": "swiglu"},
    {"pool": "map"},
    {"pool": "map", "activation": "swiglu", "cls_token": False},
    {"pool": "cls+mean"},
    {"registers": 3, "qk_norm": True, "layer_scale": 0.1},
    {"distilled": True},
    {"pooler": True, "classes": 0},
    {"channels": 1, "patch_bias": False, "qkv_bias": False},
]


@pytest.mark.parametrize("size", [(24, 32), (48, 16)], ids=str)
@pytest.mark.parametrize("options", COSTS, ids=str)
def test_cost_is_what_torch_counts(options: dict[str, Any], size: tuple[int, int]):
    model = tiny(**options)
    picture = images(1, model.config.channels, *size)
    # torch counts the plain kernel's matrix products; the fused one on a CPU hides them.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        out = model(picture)
    expected = cost(model.config, *size)
    assert expected.flops == counter.get_total_flops()
    assert expected.parameters == sum(p.numel() for p in model.parameters())
    assert expected.tokens == out.tokens.shape[1]


def test_cost_is_that_of_the_models_own_size_unless_told():
    config = ViTConfig(**TINY)
    assert cost(config) == cost(config, 24, 32)
    assert cost(config, 48, 64).tokens == 1 + 4 * 12


def test_smaller_patches_cost_more():
    costs = [cost(variant(f"B/{size}")) for size in (32, 16, 8)]
    assert [c.tokens for c in costs] == [50, 197, 785]
    assert costs[0].flops < costs[1].flops / 3 < costs[2].flops / 9


TIMMS = {"Ti": "tiny", "S": "small", "B": "base", "L": "large", "H": "huge"}
NOT_AT_TIMM = {"S/14", "B/14", "H/16"}  # at least not as plain models


@pytest.mark.parametrize("name", [n for n in VARIANTS if n[0] != "s" and n not in NOT_AT_TIMM])
def test_a_variant_has_as_many_parameters_as_timms(name: str):
    """One token's position fewer: that of CLS is a constant beside a constant, so we fold them."""
    size, patch = name.split("/")
    with torch.device("meta"):
        theirs = timm.create_model(f"vit_{TIMMS[size]}_patch{patch}_224", num_classes=1000)
    config = variant(name, classes=1000)
    assert cost(config).parameters == sum(p.numel() for p in theirs.parameters()) - config.dim


@pytest.mark.parametrize(
    ("name", "millions"), [("B/16", 86.57), ("L/16", 304.33), ("H/14", 632.05)]
)
def test_a_variant_has_the_published_number_of_parameters(name: str, millions: float):
    """timm's figures with 1000 classes; Dosovitskiy et al. 2021, table 1: 86M, 307M, 632M."""
    assert cost(variant(name, classes=1000)).parameters / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize(("patch", "side"), [(14, 224), (16, 256)])
def test_so400m_is_siglips_tower(patch: int, side: int):
    config = variant(
        f"so400m/{patch}", image_size=(side, side), cls_token=False, pool="map", classes=0
    )
    with torch.device("meta"):
        theirs = timm.create_model(f"vit_so400m_patch{patch}_siglip_{side}", num_classes=0)
    assert cost(config).parameters == sum(p.numel() for p in theirs.parameters())


def test_every_variant_is_a_size_and_a_patch_size():
    for name in VARIANTS:
        size, patch = name.split("/")
        config = variant(name, image_size=(4 * int(patch), 4 * int(patch)))
        assert config.patch_size == int(patch)
        assert {key: getattr(config, key) for key in SIZES[size]} == SIZES[size]


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((2, 3, 25, 32), "patches of 8 pixels do not divide a picture of 25x32; "
         "the nearest that fits is 24x32"),
        ((2, 3, 31, 47), "the nearest that fits is 32x48"),
        ((2, 3, 3, 32), "the nearest that fits is 8x32"),
        ((2, 3, 0, 32), "0x32"),
        ((2, 1, 24, 32), "the model looks at 3 channels, not 1"),
        ((3, 24, 32), "(b c h w)"),
        ((2, 1, 3, 24, 32), "(b c h w)"),
    ],
)  # fmt: skip
def test_a_picture_that_does_not_fit_is_refused(shape: tuple[int, ...], says: str):
    with pytest.raises(BadInput, match=re.escape(says)):
        tiny()(torch.zeros(shape).double())


@pytest.mark.parametrize("block", [3, -1, 99])
def test_a_block_that_is_not_there_is_refused(block: int):
    with pytest.raises(BadInput, match="blocks are 0 to 2"):
        tiny()(images(), attention={block})


@pytest.mark.parametrize(
    "keep",
    [
        torch.ones(11, dtype=torch.bool),
        torch.ones(13, dtype=torch.bool),
        torch.zeros(12, dtype=torch.bool),
        torch.ones(3, 12, dtype=torch.bool),
        torch.ones(1, 2, 12, dtype=torch.bool),
        torch.ones(12, dtype=torch.long),
        torch.arange(24).reshape(2, 12) < 7,
    ],
    ids=lambda keep: f"{tuple(keep.shape)} {keep.dtype} {keep.sum()}",
)
def test_a_choice_of_patches_that_cannot_be_is_refused(keep: Tensor):
    with pytest.raises(BadInput, match="each of 12 patches"):
        tiny()(images(), keep=keep)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patch_size": 7}, "patches of 7 pixels do not divide a picture of 24x32; the nearest "),
        ({"patch_size": 0}, "positive"),
        ({"image_size": (0, 8)}, "positive"),
        ({"channels": 0}, "positive"),
        ({"heads": 3}, "16 numbers a token do not divide among 3 heads"),
        ({"heads": 0}, "0 heads"),
        ({"cls_token": False}, "needs a CLS token"),
        ({"cls_token": False, "pool": "cls+mean"}, "needs a CLS token"),
        ({"pool": "max"}, "pool 'max' is none of cls, mean, map, cls+mean"),
        ({"activation": "relu"}, "activation 'relu' is none of gelu"),
        ({"positions": "rotary"}, "positions 'rotary' is none of learned"),
        ({"positions": "sincos", "dim": 18}, "multiple of four"),
        ({"distilled": True, "pool": "mean"}, "distillation token"),
        ({"distilled": True, "norm_pooled": True}, "two pooled tokens"),
        ({"pool": "cls+mean", "pooler": True}, "two pooled tokens"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], says: str):
    with pytest.raises(BadInput, match=re.escape(says)):
        ViTConfig(**{**TINY, **options})


def test_a_size_that_patches_do_not_divide_has_no_cost():
    with pytest.raises(BadInput, match="the nearest that fits is 24x32"):
        cost(ViTConfig(**TINY), 25, 32)


@pytest.mark.parametrize("size", [0, -1, 5])
def test_patchify_refuses_a_size_that_does_not_divide(size: int):
    with pytest.raises(BadInput, match=f"{size} pixels"):
        patchify(images(), size)


def test_an_unknown_variant_names_those_that_are_there():
    with pytest.raises(BadInput, match=r"no variant 'B/15'; there are Ti/16, .*so400m/16"):
        variant("B/15")
