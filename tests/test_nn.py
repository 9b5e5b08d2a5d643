"""The parts of every transformer: each shown by its property, and equal to somebody else's."""

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from mmfm.errors import BadInput
from mmfm.nn import (
    ACTIVATIONS,
    MLP,
    Activation,
    Attention,
    Block,
    LayerNorm,
    LayerScale,
    RMSNorm,
    Rotate,
    resize_positions,
    rotary_1d,
    rotary_2d,
    sincos_2d,
    sinusoidal,
)

Module = TypeVar("Module", bound=nn.Module)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def shaken(module: Module) -> Module:
    """Give a module weights that matter: none at zero or one, all in float64."""
    module.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).double() * 0.3)
    return module


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


# --- norms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-12, 1e-6, 0.1])
@pytest.mark.parametrize(("ours", "theirs"), [(LayerNorm, nn.LayerNorm), (RMSNorm, nn.RMSNorm)])
def test_norms_equal_torchs(ours: type[nn.Module], theirs: type[nn.Module], eps: float):
    mine, their = shaken(ours(12, eps=eps)), shaken(theirs(12, eps=eps))
    x = numbers(2, 5, 12)
    assert_same(mine(x), their(x))


def test_a_fresh_layer_norm_gives_mean_0_and_variance_1_and_rms_norm_length_sqrt_d():
    x = numbers(3, 7, 64) * 5 + 2
    normed = LayerNorm(64).double()(x)
    assert_same(normed.mean(dim=-1), torch.zeros(3, 7).double())
    torch.testing.assert_close(normed.var(dim=-1, correction=0), torch.ones(3, 7).double())
    length = RMSNorm(64).double()(x).norm(dim=-1)
    torch.testing.assert_close(length, torch.full((3, 7), 8.0).double())


# --- attention --------------------------------------------------------------------------------

ROTATIONS: dict[str, Callable[[], Rotate | None]] = {
    "no positions": lambda: None,
    "rotary 1-D": lambda: rotary_1d(6, 8),
    "rotary 2-D": lambda: rotary_2d(2, 3, 8),
}
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "causal": {"causal": True},
    "LayerNorm over queries and keys": {"qk_norm": LayerNorm},
    "RMSNorm over queries and keys": {"qk_norm": RMSNorm},
    "no bias": {"bias": False},
    "cross": {"context_dim": 10},
}


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_attention_weights_rows_sum_to_one_and_reproduce_the_output(kind: str, rotation: str):
    attention = shaken(Attention(24, 3, **KINDS[kind]))  # type: ignore[arg-type]
    rotate = ROTATIONS[rotation]()
    x = numbers(2, 6, 24)
    context = numbers(2, 6, 10, seed=3) if kind == "cross" else None
    weights = attention.weights(x, context, rotate=rotate)
    assert weights.shape == (2, 3, 6, 6)
    assert (weights >= 0).all()
    assert_same(weights.sum(dim=-1), torch.ones(2, 3, 6).double())

    values = attention.v(x if context is None else context)
    gathered = weights @ rearrange(values, "b m (h k) -> b h m k", h=3)
    by_hand = attention.out(rearrange(gathered, "b h n k -> b n (h k)"))
    assert_same(attention(x, context, rotate=rotate), by_hand)


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_looking_computes_the_same_and_a_gradient_reaches_its_weights(kind: str, rotation: str):
    attention = shaken(Attention(24, 3, **KINDS[kind]))  # type: ignore[arg-type]
    attention.requires_grad_(False)
    rotate = ROTATIONS[rotation]()
    x = numbers(2, 6, 24)
    context = numbers(2, 6, 10, seed=3) if kind == "cross" else None
    output, weights = attention.look(x, context, rotate=rotate)
    assert_same(output, attention(x, context, rotate=rotate))
    assert_same(weights, attention.weights(x, context, rotate=rotate))

    # What a weight more of token m does to the outcome: the value of m, through the last layer.
    toward = numbers(24, seed=4)
    [gradient] = torch.autograd.grad((output @ toward).sum(), weights)
    values = rearrange(attention.v(x if context is None else context), "b m (h k) -> b h m k", h=3)
    pull = rearrange(toward @ attention.out.weight, "(h k) -> h k 1", h=3)
    assert_same(gradient, rearrange(values @ pull, "b h m 1 -> b h 1 m").expand(2, 3, 6, 6))
    with torch.no_grad():
        assert not attention.look(x, context, rotate=rotate)[1].requires_grad


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torchs(causal: bool):
    ours = shaken(Attention(24, 3, causal=causal))
    theirs = nn.MultiheadAttention(24, 3, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]),
            "in_proj_bias": torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = numbers(2, 6, 24)
    future = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    output, weights = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    assert_same(ours(x), output)
    assert_same(ours.weights(x), weights)


def test_cross_attention_equals_torchs():
    ours = shaken(Attention(24, 3, context_dim=10))
    theirs = nn.MultiheadAttention(24, 3, kdim=10, vdim=10, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "q_proj_weight": ours.q.weight,
            "k_proj_weight": ours.k.weight,
            "v_proj_weight": ours.v.weight,
            "in_proj_bias": torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x, context = numbers(2, 4, 24), numbers(2, 7, 10, seed=3)
    output, weights = theirs(x, context, context, average_attn_weights=False)
    assert_same(ours(x, context), output)
    assert_same(ours.weights(x, context), weights)


# Of which tokens there are in rows of seven; the first ones always, for a row must have some.
THERE = torch.tensor([[True, True, False, True, False, True, True], [True] * 3 + [False] * 4])


@pytest.mark.parametrize("causal", [False, True])
def test_a_mask_hides_what_torchs_key_padding_mask_hides(causal: bool):
    ours = shaken(Attention(24, 3, causal=causal))
    theirs = nn.MultiheadAttention(24, 3, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]),
            "in_proj_bias": torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x = numbers(2, 7, 24)
    future = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    output, weights = theirs(
        x, x, x, attn_mask=future, key_padding_mask=~THERE, average_attn_weights=False
    )
    looked, seen = ours.look(x, mask=THERE)
    assert_same(ours(x, mask=THERE), output)
    assert_same(looked, output)
    assert_same(ours.weights(x, mask=THERE), weights)
    assert_same(seen, weights)
    assert not torch.allclose(ours(x), output)


def test_a_mask_over_a_context_equals_torchs_too():
    ours = shaken(Attention(24, 3, context_dim=10))
    theirs = nn.MultiheadAttention(24, 3, kdim=10, vdim=10, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict(
        {
            "q_proj_weight": ours.q.weight,
            "k_proj_weight": ours.k.weight,
            "v_proj_weight": ours.v.weight,
            "in_proj_bias": torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x, context = numbers(2, 4, 24), numbers(2, 7, 10, seed=3)
    output, weights = theirs(
        x, context, context, key_padding_mask=~THERE, average_attn_weights=False
    )
    looked, seen = ours.look(x, context, mask=THERE)
    assert_same(ours(x, context, mask=THERE), output)
    assert_same(looked, output)
    assert_same(ours.weights(x, context, mask=THERE), weights)
    assert_same(seen, weights)
    # So what lies in a hidden place does not matter, nor whether there is one.
    louder = torch.where(THERE[..., None], context, 1e6)
    assert_same(ours(x, louder, mask=THERE), output)
    assert_same(ours(x[1:], context[1:, :3]), output[1:])


@pytest.mark.parametrize("causal", [False, True])
def test_without_a_mask_no_bit_changes(causal: bool):
    attention, x = Attention(24, 3, causal=causal), torch.randn(2, 7, 24)
    q, k, v = (
        rearrange(layer(x), "b n (h k) -> b h n k", h=3)
        for layer in (attention.q, attention.k, attention.v)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert torch.equal(attention(x), attention.out(rearrange(mixed, "b h n k -> b n (h k)")))


@pytest.mark.parametrize("rotation", ["no positions", "rotary 1-D"])
def test_causal_attention_ignores_the_future(rotation: str):
    attention = shaken(Attention(24, 3, causal=True))
    rotate = ROTATIONS[rotation]()
    x = numbers(2, 6, 24)
    changed = x.clone()
    changed[:, 4:] = numbers(2, 2, 24, seed=5)
    before, after = attention(x, rotate=rotate), attention(changed, rotate=rotate)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
    assert attention.weights(x, rotate=rotate).triu(1).count_nonzero() == 0


def test_attention_without_positions_does_not_care_for_order():
    attention = shaken(Attention(24, 3))
    x, order = numbers(2, 6, 24), torch.tensor([3, 0, 5, 1, 4, 2])
    assert_same(attention(x[:, order]), attention(x)[:, order])


def test_in_bf16_attention_learns_what_it_does_in_fp32() -> None:
    """On a CPU it is computed in another way there, which must not change what comes out."""
    torch.manual_seed(0)
    padded = torch.arange(9) < torch.tensor([[9], [4], [1]])
    for causal, mask in ((False, None), (True, None), (False, padded), (True, padded)):
        attention, x = Attention(32, 4, causal=causal), torch.randn(3, 9, 32)
        found = []
        for enabled in (False, True):
            shown = x.clone().requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                out = attention(shown, mask=mask)
            out.float().square().sum().backward()
            assert shown.grad is not None
            found.append((out.float(), shown.grad))
        for exact, rough in zip(*found, strict=True):
            assert (rough - exact).abs().max() < 0.03 * exact.abs().max()


def test_normed_queries_and_keys_do_not_care_for_length():
    attention = shaken(Attention(24, 3, bias=False, qk_norm=lambda dim: LayerNorm(dim, 1e-20)))
    x = numbers(2, 6, 24)
    assert_same(attention.weights(100 * x), attention.weights(x))


# --- feed-forward -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("gelu", nn.GELU()),
        ("gelu_tanh", nn.GELU(approximate="tanh")),
        ("gelu_tanh", ACT2FN["gelu_pytorch_tanh"]),
        ("quick_gelu", ACT2FN["quick_gelu"]),
    ],
)
def test_activations_equal_torchs_and_transformers(ours: str, theirs: nn.Module):
    x = numbers(1000) * 4
    assert_same(ACTIVATIONS[ours](x), theirs(x))


def test_the_three_gelus_are_not_the_same():
    x = torch.tensor(-2.0)
    exact, tanh, quick = (ACTIVATIONS[kind](x) for kind in ("gelu", "gelu_tanh", "quick_gelu"))
    assert (exact - tanh).abs() > 1e-5
    assert (exact - quick).abs() > 1e-2


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "quick_gelu"])
def test_an_mlp_is_two_linear_maps_with_a_bend_between(activation: Activation):
    mlp = shaken(MLP(12, 20, activation))
    assert mlp.gate is None
    x = numbers(2, 5, 12)
    bent = ACTIVATIONS[activation](x @ mlp.up.weight.T + mlp.up.bias)
    assert_same(mlp(x), bent @ mlp.down.weight.T + mlp.down.bias)


def test_swiglu_equals_llamas():
    ours = shaken(MLP(12, 20, "swiglu"))
    theirs = LlamaMLP(
        LlamaConfig(hidden_size=12, num_attention_heads=2, intermediate_size=20, mlp_bias=True)
    ).double()
    for name, part in (("gate_proj", ours.gate), ("up_proj", ours.up), ("down_proj", ours.down)):
        assert part is not None
        getattr(theirs, name).load_state_dict(part.state_dict())
    x = numbers(2, 5, 12)
    assert_same(ours(x), theirs(x))


# --- the block --------------------------------------------------------------------------------


def test_a_block_adds_attention_then_mlp_to_what_came_in():
    block = shaken(Block(24, 3, 40, layer_scale=0.1))
    x = numbers(2, 6, 24)
    looked = x + block.scale1(block.attention(block.norm1(x)))
    assert_same(block(x), looked + block.scale2(block.mlp(block.norm2(looked))))


def test_a_block_equals_torchs_pre_norm_layer():
    ours = shaken(Block(24, 3, 40))
    theirs = nn.TransformerEncoderLayer(
        24, 3, 40, dropout=0, activation="gelu", layer_norm_eps=1e-6, batch_first=True,
        norm_first=True, dtype=torch.float64,
    )  # fmt: skip
    a = ours.attention
    parts = {
        "self_attn.in_proj_weight": torch.cat([a.q.weight, a.k.weight, a.v.weight]),
        "self_attn.in_proj_bias": torch.cat([a.q.bias, a.k.bias, a.v.bias]),
    }
    for their, mine in (
        ("self_attn.out_proj", a.out),
        ("norm1", ours.norm1),
        ("norm2", ours.norm2),
        ("linear1", ours.mlp.up),
        ("linear2", ours.mlp.down),
    ):
        parts |= {f"{their}.{key}": value for key, value in mine.state_dict().items()}
    theirs.load_state_dict(parts)
    x = numbers(2, 6, 24)
    assert_same(ours(x), theirs(x))


def test_a_blocks_attention_weights_are_those_it_uses():
    block = shaken(Block(24, 3, 40, causal=True))
    x, rotate = numbers(2, 6, 24), rotary_1d(6, 8)
    expected = block.attention.weights(block.norm1(x), rotate=rotate)
    assert torch.equal(block.attention_weights(x, rotate=rotate), expected)
    output, weights = block.look(x, rotate=rotate)
    assert_same(output, block(x, rotate=rotate))
    assert torch.equal(weights, expected)
    assert_same(block(x, rotate=rotate)[:, :3], block(x[:, :3], rotate=rotary_1d(3, 8)))


def test_a_block_with_scales_looks_as_it_computes():
    block = shaken(Block(24, 3, 40, layer_scale=0.1, activation="swiglu", norm=RMSNorm))
    x = numbers(2, 6, 24)
    assert_same(block.look(x)[0], block(x))


def test_layer_scale_starts_at_its_value_and_scales_each_channel():
    scale = LayerScale(4, 0.01)
    x = torch.ones(2, 3, 4)
    torch.testing.assert_close(scale(x), 0.01 * x)
    with torch.no_grad():
        scale.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert scale(x)[0, 0].tolist() == [1, 2, 3, 4]


def test_a_block_with_a_silent_layer_scale_changes_nothing():
    block = shaken(Block(24, 3, 40, layer_scale=0.0))
    nn.init.zeros_(block.scale1.weight)  # type: ignore[arg-type]
    nn.init.zeros_(block.scale2.weight)  # type: ignore[arg-type]
    x = numbers(2, 6, 24)
    assert torch.equal(block(x), x)


# --- positions --------------------------------------------------------------------------------


def test_sinusoidal_codes_are_the_papers_formula():
    codes = sinusoidal(torch.arange(50).double(), 8)
    for position in (0, 1, 49):
        for i in range(4):
            angle = torch.tensor(position / 10_000 ** (2 * i / 8)).double()
            torch.testing.assert_close(codes[position, i], angle.sin(), rtol=0, atol=1e-6)
            torch.testing.assert_close(codes[position, i + 4], angle.cos(), rtol=0, atol=1e-6)


def test_the_product_of_two_sinusoidal_codes_depends_on_their_distance_only():
    codes = sinusoidal(torch.arange(40).double(), 16)
    products = codes @ codes.T
    for distance in range(10):
        diagonal = products.diagonal(distance)
        assert_same(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0, 0] > products[0, 1] > products[0, 2]


@pytest.mark.parametrize("side", [1, 4, 7])
def test_sincos_2d_equals_maes_but_for_the_order_of_the_halves(side: int):
    """MAE, and DiT in diffusers, write the column first and the row second; we the row first."""
    theirs = get_2d_sincos_pos_embed(16, side, base_size=side, output_type="pt")
    column, row = theirs.float().chunk(2, dim=-1)
    assert_close = torch.testing.assert_close
    assert_close(sincos_2d(side, side, 16), torch.cat([row, column], dim=-1), rtol=0, atol=1e-6)


def test_sincos_2d_says_the_row_then_the_column_row_by_row():
    codes = rearrange(sincos_2d(3, 5, 16), "(h w) (half d) -> half h w d", h=3, half=2)
    row, column = codes
    assert torch.equal(row, row[:, :1].expand_as(row))
    assert torch.equal(column, column[:1].expand_as(column))
    assert torch.equal(row[:, 0], sinusoidal(torch.arange(3).float(), 8))
    assert torch.equal(column[0], sinusoidal(torch.arange(5).float(), 8))


def scores(rotate: Rotate, query: Tensor, key: Tensor, tokens: int) -> Tensor:
    """The score of every two places, with the same question and the same answer everywhere."""
    q = rotate(query.expand(1, 1, tokens, -1))
    k = rotate(key.expand(1, 1, tokens, -1))
    return (q @ k.transpose(-1, -2))[0, 0]


def test_rotary_scores_depend_on_distance_only():
    table = scores(rotary_1d(20, 16), numbers(16), numbers(16, seed=2), 20)
    for distance in range(-19, 20):
        diagonal = table.diagonal(distance)
        assert_same(diagonal, diagonal[:1].expand_as(diagonal))
    assert table[0, 1:].std() > 0.01  # and they do depend on it


def test_attention_turns_questions_and_answers_alike():
    """Between equal tokens, only distance is left to tell how much they look at each other."""
    attention = shaken(Attention(24, 3))
    same = numbers(1, 1, 24).expand(1, 6, 24)
    seen = attention.weights(same, rotate=rotary_1d(6, 8)).log()[0]  # h n m
    seen = seen - seen.diagonal(dim1=1, dim2=2)[..., None]
    for distance in range(-5, 6):
        diagonal = seen.diagonal(distance, 1, 2)
        assert_same(diagonal, diagonal[:, :1].expand_as(diagonal))
    assert seen.std() > 0.1


def test_rotary_2d_scores_depend_on_the_step_in_rows_and_columns_only():
    height, width = 4, 5
    flat = scores(rotary_2d(height, width, 16), numbers(16), numbers(16, seed=2), height * width)
    table = rearrange(flat, "(y x) (v u) -> y x v u", y=height, v=height)
    for y, x in ((1, 2), (2, 0), (3, 4)):
        for down, right in ((0, 0), (-1, 0), (0, -1), (1, 1), (-1, 2)):
            places = [
                table[a, b, a + down, b + right]
                for a in range(height)
                for b in range(width)
                if 0 <= a + down < height and 0 <= b + right < width
            ]
            assert_same(torch.stack(places), places[0].expand(len(places)))
        assert table[y, x].flatten().unique().numel() > height * width // 2


def test_rotary_keeps_lengths_and_leaves_the_first_token_alone():
    x = numbers(2, 3, 6, 16)
    for rotate in (rotary_1d(6, 16), rotary_2d(2, 3, 16)):
        turned = rotate(x)
        assert_same(turned.norm(dim=-1), x.norm(dim=-1))
        assert_same(turned[:, :, 0], x[:, :, 0])
        assert turned.dtype == x.dtype


def test_rotary_equals_llamas():
    config = LlamaConfig(hidden_size=32, num_attention_heads=2, head_dim=16)
    q, k = numbers(1, 2, 9, 16), numbers(1, 2, 9, 16, seed=2)
    cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(9)[None])
    theirs = apply_rotary_pos_emb(q, k, cos, sin)
    rotate = rotary_1d(9, 16)
    for mine, their in zip((rotate(q), rotate(k)), theirs, strict=True):
        # transformers makes its angles in float32.
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dim", [0, 2, 6, 7])
def test_a_size_that_positions_cannot_fill_is_refused(dim: int):
    for make in (lambda: sincos_2d(2, 2, dim), lambda: rotary_2d(2, 2, dim)):
        with pytest.raises(BadInput, match=f"not in {dim}"):
            make()
    if dim in (0, 7):
        for make in (lambda: sinusoidal(torch.arange(2.0), dim), lambda: rotary_1d(2, dim)):
            with pytest.raises(BadInput, match=f"not in {dim}"):
                make()


@pytest.mark.parametrize("antialias", [False, True])
def test_positions_of_the_same_grid_stay_as_they_are(antialias: bool):
    positions = numbers(12, 5)
    assert resize_positions(positions, (3, 4), (3, 4), antialias=antialias) is positions


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_a_constant_stays_constant_at_any_size(height: int, width: int, antialias: bool):
    same = torch.tensor([1.0, -2.0, 0.5]).expand(12, 3)
    resized = resize_positions(same, (3, 4), (height, width), antialias=antialias)
    assert resized.shape == (height * width, 3)
    torch.testing.assert_close(resized, same[:1].expand(height * width, 3))


@pytest.mark.parametrize("antialias", [False, True])
def test_positions_are_resized_as_a_picture_of_their_grid(antialias: bool):
    positions = numbers(12, 5).float()
    as_picture = positions.reshape(3, 4, 5).permute(2, 0, 1)[None]
    resized = F.interpolate(as_picture, size=(2, 7), mode="bicubic", antialias=antialias)
    expected = resized[0].permute(1, 2, 0).reshape(14, 5)
    ours = resize_positions(positions, (3, 4), (2, 7), antialias=antialias)
    torch.testing.assert_close(ours, expected)


def test_a_ramp_down_the_rows_stays_one_down_the_rows():
    ramp = torch.arange(4.0).repeat_interleave(6)[:, None]  # 4 rows, 6 columns
    resized = resize_positions(ramp, (4, 6), (8, 6), antialias=True).reshape(8, 6)
    torch.testing.assert_close(resized, resized[:, :1].expand(8, 6))
    assert (resized[1:, 0] > resized[:-1, 0]).all()


def test_half_precision_positions_are_resized_in_float32():
    positions = numbers(12, 5).bfloat16()
    ours = resize_positions(positions, (3, 4), (6, 8), antialias=True)
    exact = resize_positions(positions.float(), (3, 4), (6, 8), antialias=True)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, exact.bfloat16())
