"""The denoiser: what it promises of shapes and first words, its parts equal to a library's."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.dit_transformer_2d import DiTTransformer2DModel
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmfm.data.draws import normal, uniform
from mmfm.diffusion import objectives, schedules
from mmfm.errors import BadInput, BadWeights, MmfmError, NotHere
from mmfm.models import denoiser
from mmfm.models.checkpoints import (
    denoiser_from,
    denoiser_settings,
    load_denoiser,
    load_vit,
    save_denoiser,
    save_vit,
)
from mmfm.models.denoiser import (
    BENDS,
    Denoiser,
    DenoiserConfig,
    DiT,
    Look,
    Read,
    ResidualBlock,
    Told,
    joined,
    pieces,
)
from mmfm.models.vit import ViT, ViTConfig
from mmfm.models.weights import flat_patches
from mmfm.optimizers import make_optimizers
from mmfm.runs import Run
from mmfm.train import Batch, Plan, fit

Module = TypeVar("Module", bound=nn.Module)

SMALL: dict[str, Any] = {
    "image_size": 12,
    "classes": 3,
    "embed": 16,
    "widths": (8, 16),
    "depths": (1, 2),
    "attention": (1,),
    "groups": 4,
    "head_dim": 8,
    "mlp": 0,
}
SMALL_DIT: dict[str, Any] = {
    "image_size": 12,
    "classes": 3,
    "embed": 16,
    "kind": "dit",
    "patch": 4,
    "dim": 16,
    "depth": 2,
    "head_dim": 8,
    "mlp": 2,
}
WORDS: dict[str, Any] = {"text_dim": 6, "text_context": 12, "text_model": "a" * 32}
BOTH = pytest.mark.parametrize("small", [SMALL, SMALL_DIT], ids=["unet", "dit"])


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def shaken(module: Module) -> Module:
    """Give a module weights that matter: none at its initial value, all in float64."""
    module.double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).double() * 0.2)
    return module


def small_denoiser(small: dict[str, Any] = SMALL, **options: Any) -> Denoiser:
    return shaken(Denoiser(DenoiserConfig(**{**small, **options})))


def ask(model: Denoiser, count: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, times and classes to ask a denoiser about."""
    c = model.config
    x = numbers(count, c.channels, c.image_size, c.image_size)
    return x, torch.linspace(0, 1, count).double(), torch.arange(count) % (c.classes + 1)


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


# --- the parts, beside a library's ----------------------------------------------------------------


@pytest.mark.parametrize("bend", ["silu", "relu"])
@pytest.mark.parametrize(("before", "after"), [(8, 8), (8, 12), (16, 8)])
def test_a_residual_block_is_diffusers_with_scale_and_shift(
    before: int, after: int, bend: denoiser.Bend
) -> None:
    theirs = shaken(
        ResnetBlock2D(
            in_channels=before,
            out_channels=after,
            temb_channels=10,
            groups=4,
            eps=1e-5,
            time_embedding_norm="scale_shift",
            non_linearity=bend,
        )
    )
    config = DenoiserConfig(
        widths=(8,), depths=(1,), attention=(), groups=4, embed=10, activation=bend
    )
    ours = ResidualBlock(before, after, config).double()
    state = {
        name.replace("norm1.", "norm.").replace("conv_shortcut.", "shortcut."): weight
        for name, weight in theirs.state_dict().items()
        if not name.startswith(("time_emb_proj.", "norm2."))
    }
    # Theirs scales and shifts twice, by constants and then by what is told; ours once, by both.
    weight, bias = theirs.norm2.weight.data, theirs.norm2.bias.data
    scales, shifts = theirs.time_emb_proj.weight.data.chunk(2)
    scale, shift = theirs.time_emb_proj.bias.data.chunk(2)
    told_scales, told_shifts = weight[:, None] * scales, bias[:, None] * scales + shifts
    told = weight * (1 + scale) - 1, bias * (1 + scale) + shift
    state["steer.weight"] = torch.cat([told_scales, told_shifts])
    state["steer.bias"] = torch.cat(told)
    ours.load_state_dict(state)
    x, heard = numbers(3, before, 7, 5), numbers(3, 10, seed=1)
    assert_same(ours(x, BENDS[bend](heard)), theirs(x, heard))


class Given(nn.Module):
    """Stands where diffusers makes a vector of time and class, and hands out one that is given."""

    def __init__(self, vector: Tensor) -> None:
        super().__init__()
        self.vector = vector

    def forward(self, *_: object, **__: object) -> Tensor:
        return self.vector


def put_block(theirs: BasicTransformerBlock, looks: nn.Module, thinks: nn.Module) -> None:
    """Copy a block of diffusers' into our two steered parts."""
    steer_look, steer_think = theirs.norm1.linear.weight.data.chunk(2)
    bias_look, bias_think = theirs.norm1.linear.bias.data.chunk(2)
    attention, mlp = theirs.attn1, theirs.ff.net
    named = {
        "q": attention.to_q,
        "k": attention.to_k,
        "v": attention.to_v,
        "out": attention.to_out[0],
        "up": mlp[0].proj,
        "down": mlp[2],
    }
    state = {
        f"part.{ours}.{name}": weight
        for ours, layer in named.items()
        for name, weight in layer.state_dict().items()
    }
    first = {key: state[key] for key in state if key.split(".")[1] in ("q", "k", "v", "out")}
    second = {key: state[key] for key in state if key not in first}
    looks.load_state_dict(first | {"steer.weight": steer_look, "steer.bias": bias_look})
    thinks.load_state_dict(second | {"steer.weight": steer_think, "steer.bias": bias_think})


def test_a_look_with_an_mlp_is_diffusers_block_of_ada_layer_norm_zero() -> None:
    theirs = shaken(
        BasicTransformerBlock(
            16,
            2,
            8,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=3,
            attention_bias=True,
            norm_elementwise_affine=False,
            norm_type="ada_norm_zero",
            norm_eps=1e-6,
        )
    )
    heard = numbers(3, 16, seed=1)
    theirs.norm1.emb = Given(heard)
    ours = Look(16, DenoiserConfig(**{**SMALL, "mlp": 4})).double()
    put_block(theirs, *ours.parts)
    x = numbers(3, 16, 3, 5)
    places = rearrange(x, "b c y x -> b (y x) c")
    wanted = theirs(places, timestep=torch.zeros(3), class_labels=torch.zeros(3).long())
    assert_same(ours(x, F.silu(heard)), rearrange(wanted, "b (y x) c -> b c y x", y=3))


def test_a_look_is_torchs_attention_over_places_behind_a_gate() -> None:
    theirs = shaken(nn.MultiheadAttention(16, 2, batch_first=True))
    ours = shaken(Look(16, DenoiserConfig(**SMALL)))
    part = ours.parts[0].part
    for layer, weight, bias in zip(
        (part.q, part.k, part.v),
        theirs.in_proj_weight.chunk(3),
        theirs.in_proj_bias.chunk(3),
        strict=True,
    ):
        layer.load_state_dict({"weight": weight, "bias": bias})
    part.out.load_state_dict(theirs.out_proj.state_dict())
    x, told = numbers(3, 16, 3, 5), numbers(3, 16, seed=1)
    shift, scale, gate = ours.parts[0].steer(told)[:, None].chunk(3, dim=-1)
    places = rearrange(x, "b c y x -> b (y x) c")
    asked = F.layer_norm(places, (16,), eps=1e-6) * (1 + scale) + shift
    places = places + gate * theirs(asked, asked, asked, need_weights=False)[0]
    assert_same(ours(x, told), rearrange(places, "b (y x) c -> b c y x", y=3))


def test_a_whole_dit_is_diffusers() -> None:
    theirs = shaken(
        DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=3,
            out_channels=3,
            num_layers=2,
            sample_size=12,
            patch_size=4,
            num_embeds_ada_norm=3,
            norm_eps=1e-6,
        )
    )
    heard = numbers(2, 16, seed=1)
    for block in theirs.transformer_blocks:
        block.norm1.emb = Given(heard)
    ours = DiT(DenoiserConfig(**{**SMALL_DIT, "channels": 3, "mlp": 4})).double()
    for their_block, our_block in zip(theirs.transformer_blocks, ours.blocks, strict=True):
        put_block(their_block, *our_block)
    ours.enter.load_state_dict(
        {
            "weight": flat_patches(theirs.pos_embed.proj.weight.data),
            "bias": theirs.pos_embed.proj.bias.data,
        }
    )
    ours.steer.load_state_dict(theirs.proj_out_1.state_dict())
    ours.leave.load_state_dict(theirs.proj_out_2.state_dict())
    # Theirs says the column before the row; whichever it is, it is a constant.
    theirs.pos_embed.pos_embed = denoiser.sincos_2d(3, 3, 16)[None].double()
    x = numbers(2, 3, 12, 12)
    wanted = theirs(x, timestep=torch.zeros(2), class_labels=torch.zeros(2).long()).sample
    assert_same(ours(x, F.silu(heard)), wanted)


# --- the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 9, 15, 28, 33, 64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channels": 3},
        {"patch": 2},
        {"patch": 3, "channels": 3, "join": "add"},
        {"widths": (4, 8, 8, 16), "depths": (1, 1, 1, 1), "attention": (2, 3, 3)},
        {"widths": (8,), "depths": (2,), "attention": (), "middle": 0},
        {"kind": "dit", "patch": 2, "dim": 16, "depth": 1, "mlp": 2},
        {"kind": "dit", "patch": 4, "dim": 16, "depth": 1, "mlp": 2, "channels": 3},
    ],
    ids=str,
)
def test_what_comes_out_has_the_shape_of_what_went_in(side: int, options: dict[str, Any]) -> None:
    model = small_denoiser(**options, image_size=side)
    x, t, condition = ask(model, 2)
    with torch.inference_mode():
        out = model(x, t, condition)
    assert out.shape == x.shape
    assert out.std() > 0
    assert out.isfinite().all()


class Same(nn.Module):
    """A network that says what it was shown."""

    def forward(self, x: Tensor, told: Tensor, text: object) -> Tensor:
        return x


@pytest.mark.parametrize("patch", [1, 2, 3, 5])
def test_a_picture_that_had_to_be_padded_comes_back_where_it_was(patch: int) -> None:
    model = small_denoiser(patch=patch, image_size=13)
    model.net = Same()
    x, t, condition = ask(model)
    assert torch.equal(model(x, t, condition), x)


@pytest.mark.parametrize("side", [9, 12, 13])
@BOTH
def test_the_whole_picture_is_seen_and_every_pixel_has_its_say(
    small: dict[str, Any], side: int
) -> None:
    """Also where a side has to be padded: the pixels at the edge matter, and at every place."""
    model = small_denoiser(small, image_size=side)
    x, t, condition = ask(model, 1)
    x.requires_grad_()
    for row, column in ((0, 0), (side - 1, side - 1), (side // 2, 0)):
        (gradient,) = torch.autograd.grad(model(x, t, condition)[0, 0, row, column], x)
        assert (gradient != 0).all()


@BOTH
def test_a_fresh_denoiser_says_nothing_and_can_learn_to(small: dict[str, Any]) -> None:
    model = Denoiser(DenoiserConfig(**small))
    x, t, condition = (one.float() if one.is_floating_point() else one for one in ask(model))
    out = model(x, t, condition)
    assert (out == 0).all()
    (out - x).square().mean().backward()
    assert model.net.leave.weight.grad is not None
    assert model.net.leave.weight.grad.abs().max() > 0


@BOTH
def test_pictures_do_not_know_of_each_other(small: dict[str, Any]) -> None:
    model = small_denoiser(small)
    x, t, condition = ask(model, 4)
    together = model(x, t, condition)
    for i in range(4):
        alone = model(x[i : i + 1], t[i : i + 1], condition[i : i + 1])
        assert_same(together[i : i + 1], alone)


@BOTH
def test_time_and_class_are_heard(small: dict[str, Any]) -> None:
    model = small_denoiser(small)
    x, t, condition = ask(model, 4)
    said = model(x, t, condition)
    later, other = model(x, t + 0.01, condition), model(x, t, (condition + 1) % 4)
    for changed in (later, other):
        assert ((said - changed).flatten(1).abs().amax(dim=1) > 1e-4).all()


@BOTH
def test_no_condition_is_the_null_class_for_all(small: dict[str, Any]) -> None:
    model = small_denoiser(small)
    x, t, _ = ask(model)
    assert model.null == 3
    assert torch.equal(model(x, t), model(x, t, torch.full((3,), 3)))
    assert not torch.equal(model(x, t), model(x, t, torch.full((3,), 2)))


@BOTH
def test_a_denoiser_without_classes_only_knows_the_null_class(small: dict[str, Any]) -> None:
    model = small_denoiser(small, classes=0)
    x, t, _ = ask(model)
    assert model.null == 0
    assert torch.equal(model(x, t), model(x, t, torch.zeros(3).long()))


@BOTH
def test_one_time_and_one_class_serve_all_pictures(small: dict[str, Any]) -> None:
    model = small_denoiser(small)
    x, _, _ = ask(model)
    each = model(x, torch.full((3,), 0.3).double(), torch.full((3,), 1))
    assert_same(model(x, torch.tensor(0.3).double(), torch.tensor(1)), each)
    assert_same(model(x, torch.tensor([0.3]).double(), torch.tensor([1])), each)


@pytest.mark.parametrize("options", [{}, {"patch": 2}, {"patch": 3}])
def test_how_a_picture_lies_in_memory_does_not_matter(options: dict[str, Any]) -> None:
    model = small_denoiser(channels=3, **options)
    x, t, condition = ask(model)
    beside = x.contiguous(memory_format=torch.channels_last)
    assert_same(model(beside, t, condition), model(x, t, condition))


@pytest.mark.parametrize("bend", BENDS)
def test_every_activation_bends_in_its_own_way(bend: str) -> None:
    model, others = (
        small_denoiser(activation=a) for a in (bend, "silu" if bend != "silu" else "relu")
    )
    x, t, condition = ask(model)
    assert not torch.equal(model(x, t, condition), others(x, t, condition))


def test_half_precision_is_for_the_network_and_not_for_the_picture() -> None:
    model = Denoiser(DenoiserConfig(**SMALL)).eval()
    nn.init.normal_(model.net.leave.weight, generator=torch.Generator().manual_seed(0))
    x, t, condition = ask(model)
    exact = model(x.float(), t, condition)
    rough = copy.deepcopy(model).bfloat16()(x.float(), t, condition)
    assert rough.dtype == torch.float32
    assert F.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.999
    # Times that are told apart in float32 are told apart, though bf16 could not hold them.
    times = torch.tensor([0.9005, 0.9008])
    told = copy.deepcopy(model).bfloat16().told(times)
    assert not torch.equal(told[0], told[1])


@BOTH
def test_autocast_comes_near_full_precision(small: dict[str, Any]) -> None:
    model = shaken(Denoiser(DenoiserConfig(**small))).float()
    x, t, condition = ask(model)
    exact = model(x.float(), t, condition)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(x.float(), t, condition)
    assert rough.dtype == torch.float32
    rough.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert F.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.99


# --- fresh weights, and who moves them ------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, WORDS], ids=["mute", "reads"])
@BOTH
def test_a_seed_decides_the_first_weights(small: dict[str, Any], more: dict[str, Any]) -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        model = Denoiser(DenoiserConfig(**small, **more))
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(7.0)  # whatever was there before
        model.reset(torch.Generator().manual_seed(seed))
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    one, same, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert not any((p == 7).any() for p in one.values())


@BOTH
def test_muon_is_handed_what_lies_between_the_first_and_the_last_layer(
    small: dict[str, Any],
) -> None:
    model = Denoiser(DenoiserConfig(**small))
    named = dict(model.named_parameters())
    handed = set(model.matrices())
    assert handed
    assert all(named[name].ndim >= 2 and name.endswith("weight") for name in handed)
    left = {name for name, p in named.items() if p.ndim >= 2} - handed
    assert {name.split(".")[-2] for name in left} == {
        "0",
        "2",
        "classes",
        "enter",
        "leave",
        "steer",
    }
    make_optimizers(
        model, rate=1e-3, matrix_rate=1e-2, weight_decay=0, betas=(0.9, 0.99), matrices=handed
    )


class Bars:
    """Pictures of a bar, lying or standing, on their way to noise."""

    def __init__(self, side: int = 12) -> None:
        x = torch.full((2, 1, side, side), -1.0)
        x[0, :, side // 2], x[1, :, :, side // 2] = 1.0, 1.0
        self.x, self.side = x, side

    def __len__(self) -> int:
        return 64

    def batch(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        noise = normal(seed, epoch, index, self.side**2).view(-1, 1, self.side, self.side)
        t = uniform(seed, epoch, index, 1, stream=1)[:, 0]
        return {"x": self.x[index % 2], "noise": noise, "t": t, "condition": index % 2}


def flow_loss(model: nn.Module, batch: Batch) -> Tensor:
    t = batch["t"][:, None, None, None]
    x = (1 - t) * batch["x"] + t * batch["noise"]
    return F.mse_loss(model(x, batch["t"], batch["condition"]), batch["noise"] - batch["x"])


@BOTH
def test_it_learns_with_muon_in_seconds_and_goes_on_to_the_same_weights(
    small: dict[str, Any], tmp_path: Path
) -> None:
    plan = Plan(steps=40, batch=16, threads=1, precision="fp32", rate=2e-2, hold=0.3, fall="linear")

    def trained(folder: Path, leave_at: int | None = None) -> tuple[dict[str, Tensor], list[float]]:
        model = Denoiser(DenoiserConfig(**{**small, "classes": 2}))
        model.reset(torch.Generator().manual_seed(0))
        averaged = copy.deepcopy(model)
        known = folder.exists()
        losses: list[float] = []
        with Run.resume(folder, "test") if known else Run.start(folder, {"train": "test"}) as run:
            for step in fit(
                model,
                Bars(),
                flow_loss,
                plan,
                averaged=averaged,
                matrices=model.matrices(),
                run=run,
            ):
                losses.append(step.loss)
                if step.number == leave_at:
                    break
        return dict(averaged.state_dict()), losses

    whole, losses = trained(tmp_path / "whole")
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]
    trained(tmp_path / "left", leave_at=17)
    resumed, rest = trained(tmp_path / "left")
    assert rest == losses[17:]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


# --- files ----------------------------------------------------------------------------------------

SAMPLING = {"sampler": "euler", "steps": 8, "guidance": 1.15, "interval": [0.3, 0.85]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a small denoiser of three labels."""
    model = small_denoiser().float()
    model.labels, model.sampling = ("a", "b", "c"), dict(SAMPLING)
    save_denoiser(model, tmp_path / "saved")
    return tmp_path / "saved"


@BOTH
def test_a_denoiser_comes_back_from_its_folder_as_it_went(
    small: dict[str, Any], tmp_path: Path
) -> None:
    config = DenoiserConfig(**small, objective="velocity", schedule="cosine")
    model = shaken(Denoiser(config, ("ein", "zwei", "셋"), SAMPLING)).float()
    save_denoiser(model, tmp_path)
    back = load_denoiser(str(tmp_path))
    assert (back.config, back.labels, back.sampling) == (config, model.labels, SAMPLING)
    assert (back.name, back.origin, back.training) == (str(tmp_path), "local", False)
    assert model.source == "random weights"
    assert back.source == f"{tmp_path} (local)"
    x, t, condition = ask(model)
    assert torch.equal(back(x.float(), t, condition), model(x.float(), t, condition))
    alone = load_denoiser(str(tmp_path / "model.safetensors"))  # the file says by itself what it is
    assert torch.equal(alone(x.float(), t, condition), model(x.float(), t, condition))


def test_what_a_denoiser_was_not_taught_is_kept_and_of_others_nothing_is_said(
    folder: Path, tmp_path: Path
) -> None:
    den = load_denoiser(str(folder))
    assert (den.guidable, den.taught, den.null) == (True, None, 3)
    assert not {"guidable", "taught"} & denoiser_settings(den).keys()
    den.guidable, den.taught = False, (1, 2)
    save_denoiser(den, tmp_path / "told")
    told = load_denoiser(str(tmp_path / "told"))
    begun = denoiser_from(json.loads(json.dumps(denoiser_settings(told))))
    for one in (told, begun):
        assert (one.guidable, one.taught) == (False, (1, 2))
    x, t, _ = ask(told)
    assert told(x.float(), t, torch.tensor([0, 1, 2])).isfinite().all()
    with pytest.raises(BadInput, match="never drawn without a label"):
        told(x.float(), t)


def test_a_denoiser_is_loaded_in_the_type_that_is_asked_for(folder: Path) -> None:
    assert load_denoiser(str(folder), dtype=torch.float64).classes.weight.dtype == torch.float64
    assert load_denoiser(str(folder), dtype=torch.bfloat16).classes.weight.dtype == torch.bfloat16
    with pytest.raises(BadInput, match="dtype"):
        load_denoiser(str(folder), dtype=torch.int8)


def test_a_vit_is_no_denoiser_and_a_denoiser_no_vit(folder: Path, tmp_path: Path) -> None:
    vit = ViT(ViTConfig(image_size=(8, 8), patch_size=4, dim=8, depth=1, heads=2, mlp_dim=8))
    save_vit(vit, tmp_path / "vit")
    with pytest.raises(BadInput, match="this is a 'vit', not a 'denoiser'; load it with load_vit"):
        load_denoiser(str(tmp_path / "vit"))
    with pytest.raises(BadInput, match="'denoiser', not a 'vit'; load it with load_denoiser"):
        load_vit(str(folder))


def changed_settings(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Damage both places where a folder says what it holds."""

    def damage(folder: Path) -> None:
        path = folder / "config.json"
        settings = json.loads(path.read_text())
        change(settings)
        path.write_text(json.dumps(settings))
        weights = folder / "model.safetensors"
        save_file(load_file(weights), weights, {"mmfm": json.dumps(settings)})

    return damage


def changed_weights(change: Callable[[dict[str, Tensor]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        state = load_file(path)
        change(state)
        save_file(state, path)

    return damage


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def half_a_run(folder: Path) -> None:
    without_weights(folder)
    (folder / "config.json").unlink()
    (folder / "run.json").write_text("{}")
    (folder / "checkpoint.safetensors").write_bytes(b"")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def another_publishers(folder: Path) -> None:
    (folder / "config.json").write_text('{"architecture": "vit_base"}')
    changed_weights(lambda state: None)(folder)


BIAS = "net.enter.bias"


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (without_weights, NotHere, "no model.safetensors"),
        (half_a_run, NotHere, "it holds checkpoint.safetensors, run.json"),
        (cut_short, BadWeights, "not a whole safetensors file"),
        (another_publishers, BadInput, "not that of a denoiser of ours"),
        (changed_weights(lambda s: s.pop(BIAS)), BadWeights, f"missing: {BIAS}"),
        (changed_weights(lambda s: s.update(odd=s[BIAS] + 1)), BadWeights, "left over: odd"),
        (changed_weights(lambda s: s.update({BIAS: s[BIAS] / 0})), BadWeights, "NaN or infinite"),
        (changed_settings(lambda s: s.pop("config")), BadWeights, "no 'config'"),
        (changed_settings(lambda s: s.pop("sampling")), BadWeights, "no 'sampling'"),
        (changed_settings(lambda s: s.update(labels=["a"])), BadInput, "1 labels for a denoiser"),
        (changed_settings(lambda s: s.update(config=3)), BadWeights, "damaged"),
        (changed_settings(lambda s: s["config"].update(kind="vae")), BadInput, "kind 'vae'"),
        (changed_settings(lambda s: s["config"].update(new=1)), BadWeights, "new"),
        (changed_settings(lambda s: s["config"].update(widths=8)), BadInput, "widths is a list"),
        (changed_settings(lambda s: s["config"].update(widths=[8, 24])), BadWeights, "of another"),
        (changed_settings(lambda s: s["config"].update(embed=16.0)), BadWeights, "embed is 16.0"),
        (changed_settings(lambda s: s["config"].update(depths=[1, 10**9])), BadWeights, "layers"),
        (changed_settings(lambda s: s["config"].update(embed=2**60)), MmfmError, ""),
        (changed_settings(lambda s: s.update(guidable=0)), BadWeights, "guidable is 0"),
        (changed_settings(lambda s: s.update(taught=[2, 0])), BadWeights, "taught is [2, 0]"),
    ],
)  # fmt: skip
def test_a_folder_that_is_damaged_or_foreign_is_named_in_a_line(
    folder: Path, damage: Callable[[Path], None], error: type[MmfmError], says: str
) -> None:
    damage(folder)
    with pytest.raises(error) as caught:
        load_denoiser(str(folder))
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_a_name_that_is_nowhere_says_what_is_here(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="here are"):
        load_denoiser(str(tmp_path / "nothing"))


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_size": 0}, "positive"),
        ({"channels": 0}, "positive"),
        ({"classes": -1}, "no count is below 0"),
        ({"embed": 15}, "pairs of numbers, not in 15"),
        ({"kind": "gan"}, "kind 'gan' is none of unet, dit"),
        ({"join": "mean"}, "join 'mean' is none of concat, add"),
        ({"activation": "tanh"}, "activation 'tanh' is none of silu, gelu, relu"),
        ({"objective": "score"}, "objective 'score' is none of noise, clean, velocity, flow"),
        ({"schedule": "edm"}, "schedule 'edm' is none of flow, cosine, linear"),
        ({"jumps": "far"}, "jumps 'far' is none of none, anywhere, picture"),
        ({"jumps": "picture", "objective": "noise"}, "jumps lead along the flow, not by 'noise'"),
        ({"widths": ()}, "0 widths and 2 depths"),
        ({"widths": (8, 16, 16)}, "3 widths and 2 depths"),
        ({"widths": "8, 16"}, "widths is a list of whole numbers, not '8, 16'"),
        ({"widths": (8, 16.0)}, "widths is a list of whole numbers"),
        ({"depths": (1, 0)}, "each level has a block"),
        ({"attention": (2,)}, "attention at levels 2, of 0 to 1"),
        ({"attention": (-1,)}, "attention at levels -1, of 0 to 1"),
        ({"groups": 3}, "8 channels do not divide into 3 groups"),
        ({"groups": 0}, "at least one group"),
        ({"head_dim": 6}, "16 numbers a place do not divide into heads of 6"),
        ({"kind": "dit"}, "a DiT has blocks, and MLPs in them"),
        ({"kind": "dit", "mlp": 4, "depth": 0}, "a DiT has blocks"),
        ({"kind": "dit", "mlp": 4, "dim": 6, "head_dim": 3}, "a multiple of four numbers, not 6"),
        ({"kind": "dit", "mlp": 4, "dim": 20}, "20 numbers a place do not divide into heads of 8"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        DenoiserConfig(**{**SMALL, **options})


@BOTH
@pytest.mark.parametrize("shape", [(2, 1, 12, 11), (2, 3, 12, 12), (1, 12, 12), (2, 1, 24, 24)])
def test_a_picture_of_another_shape_is_refused(
    small: dict[str, Any], shape: tuple[int, ...]
) -> None:
    says = f"takes pictures of (b, 1, 12, 12), not {shape}"
    with pytest.raises(BadInput, match=re.escape(says)):
        small_denoiser(small)(torch.zeros(shape).double(), torch.zeros(2).double())


def test_times_and_classes_that_are_not_as_many_as_pictures_are_refused() -> None:
    model = small_denoiser()
    x, t, condition = ask(model)
    with pytest.raises(BadInput, match="3 pictures need a time each"):
        model(x, t[:2], condition)
    with pytest.raises(BadInput, match="3 pictures need a class each"):
        model(x, t, condition[:2])


def test_labels_are_as_many_as_classes() -> None:
    with pytest.raises(BadInput, match="2 labels for a denoiser of 3 classes"):
        Denoiser(DenoiserConfig(**SMALL), ("a", "b"))


def test_a_denoiser_without_classes_draws_without_a_label() -> None:
    with pytest.raises(BadInput, match="only drawing without a label"):
        Denoiser(DenoiserConfig(**{**SMALL, "classes": 0}), guidable=False)


def test_it_knows_the_objectives_and_schedules_that_there_are() -> None:
    assert get_args(denoiser.Objective) == get_args(objectives.Objective)
    assert set(get_args(denoiser.Schedule)) == set(schedules.SCHEDULES)


# --- jumps ----------------------------------------------------------------------------------------


@BOTH
def test_a_network_that_jumps_begins_as_one_that_walks(small: dict[str, Any]) -> None:
    walks = small_denoiser(small)
    jumps = Denoiser(DenoiserConfig(**small, jumps="anywhere")).double()
    jumps.reset(torch.Generator().manual_seed(0))
    jumps.load_state_dict(jumps.state_dict() | walks.state_dict())
    x, t, condition = ask(walks)
    for to in (None, t, t / 2, torch.tensor(0.0)):
        assert torch.equal(jumps(x, t, condition, to), walks(x, t, condition))
    out = jumps(x, t, condition, t / 2)
    out.square().mean().backward()
    assert all(p.grad is not None for p in jumps.parameters())
    assert jumps.span is not None and jumps.span[-1].weight.grad.abs().max() > 0


@BOTH
def test_how_far_an_answer_is_to_lead_is_heard(small: dict[str, Any]) -> None:
    model = small_denoiser(small, jumps="anywhere")
    x, t, condition = ask(model, 4)
    here = model(x, t, condition)
    assert torch.equal(model(x, t, condition, t), here)
    for to in (t - 0.1, t / 3, torch.tensor(-1.0)):
        said = model(x, t, condition, to)
        assert ((said - here).flatten(1).abs().amax(dim=1)[t != to] > 1e-4).all()
    assert_same(
        model(x, t, condition, torch.tensor(0.25)),
        model(x, t, condition, torch.full((4,), 0.25).double()),
    )
    with pytest.raises(BadInput, match="4 pictures need a time to go to each"):
        model(x, t, condition, t[:2])


@pytest.mark.parametrize("jumps", ["none", "picture"])
def test_who_does_not_jump_anywhere_hears_of_no_time_to_go_to(jumps: denoiser.Jumps) -> None:
    model = small_denoiser(jumps=jumps)
    x, t, condition = ask(model)
    with pytest.raises(BadInput, match=f"jumps='{jumps}'"):
        model(x, t, condition, t)
    assert model(x, t, condition).shape == x.shape
    assert not [name for name, _ in model.named_parameters() if "span" in name]


@pytest.mark.parametrize("jumps", ["none", "anywhere", "picture"])
def test_whether_it_jumps_is_kept_in_its_folder(tmp_path: Path, jumps: denoiser.Jumps) -> None:
    model = small_denoiser(jumps=jumps).float()
    save_denoiser(model, tmp_path)
    back = load_denoiser(str(tmp_path))
    assert back.config.jumps == jumps and back.config.shape == (1, 12, 12)
    x, t, condition = ask(model)
    to = {"to": t / 2} if jumps == "anywhere" else {}
    assert torch.equal(back(x.float(), t, condition, **to), model(x.float(), t, condition, **to))


def test_a_folder_from_before_there_were_jumps_has_none(folder: Path) -> None:
    x, t, condition = ask(small_denoiser())
    before = load_denoiser(str(folder))(x.float(), t, condition)
    changed_settings(lambda settings: settings["config"].pop("jumps"))(folder)
    old = load_denoiser(str(folder))
    assert old.config.jumps == "none" and torch.equal(old(x.float(), t, condition), before)


# --- words ----------------------------------------------------------------------------------------

LENGTHS = (5, 1, 3)


def reading_denoiser(small: dict[str, Any] = SMALL, **options: Any) -> Denoiser:
    return small_denoiser({**small, **WORDS}, **options)


def told(model: Denoiser, lengths: tuple[int, ...] = LENGTHS, seed: int = 5) -> Told:
    """A class and a text for each picture, in as many tokens as are named."""
    count, longest = len(lengths), max(lengths)
    seen = torch.arange(longest) < torch.tensor(lengths)[:, None]
    words = numbers(count, longest, model.config.text_dim, seed=seed) * seen[..., None]
    return Told(torch.arange(count) % (model.config.classes + 1), words, seen)


@BOTH
def test_with_shut_gates_nothing_is_read(small: dict[str, Any]) -> None:
    mute = small_denoiser(small)
    reads = Denoiser(DenoiserConfig(**small, **WORDS)).double()
    # What reads stands between looking around and thinking.
    same = {re.sub(r"(blocks\.\d+)\.1\.", r"\1.2.", n): p for n, p in mute.state_dict().items()}
    reads.load_state_dict(reads.state_dict() | same)
    x, t, _ = ask(mute)
    said = told(reads)
    assert torch.equal(reads(x, t, said), mute(x, t, said.kinds))
    assert torch.equal(reads(x, t), mute(x, t))
    reads.train()(x, t, said).square().mean().backward()
    assert reads.summary is not None and reads.summary.weight.grad.abs().max() > 0
    gates = [part.steer.weight.grad for part in reads.modules() if isinstance(part, Read)]
    assert len(gates) == (1 if small is SMALL else 2)
    assert all(gate.abs().max() > 0 for gate in gates), "and all gates can be opened"


@BOTH
def test_words_are_heard_by_the_picture_that_they_are_told_to(small: dict[str, Any]) -> None:
    model = reading_denoiser(small)
    x, t, _ = ask(model)
    said, other = told(model), told(model, seed=6)
    before = model(x, t, said)
    assert ((before - model(x, t, other)).flatten(1).abs().amax(dim=1) > 1e-4).all()
    # One word of one text is another, and not the last one, of which the summary is made.
    words = said.words.clone()
    words[0, 1] += 1
    after = model(x, t, said._replace(words=words))
    assert (before[0] - after[0]).abs().max() > 1e-4
    assert_same(before[1:], after[1:])


@BOTH
@pytest.mark.parametrize("kind", [{}, {"patch": 2, "channels": 3}])
def test_padding_never_matters(small: dict[str, Any], kind: dict[str, Any]) -> None:
    model = reading_denoiser(small, **kind)
    x, t, _ = ask(model)
    said = told(model)
    noise = 1e3 * numbers(3, 7, 6, seed=9)
    longer = Told(
        said.kinds,
        torch.cat([torch.where(said.seen[..., None], said.words, -1e3), noise], dim=1),
        F.pad(said.seen, (0, 7), value=False),
    )
    assert_same(model(x, t, longer), model(x, t, said))
    for number, length in enumerate(LENGTHS):
        one = slice(number, number + 1)
        alone = Told(said.kinds[one], said.words[one, :length], said.seen[one, :length])
        assert_same(model(x[one], t[one], alone), model(x, t, said)[one])


@BOTH
def test_the_order_of_a_batch_does_not_matter(small: dict[str, Any]) -> None:
    model = reading_denoiser(small)
    x, t, _ = ask(model)
    said, turned = told(model), torch.tensor([2, 0, 1])
    moved = Told(*(part[turned] for part in said))
    assert_same(model(x[turned], t[turned], moved), model(x, t, said)[turned])


@BOTH
def test_one_text_serves_all_pictures(small: dict[str, Any]) -> None:
    model = reading_denoiser(small)
    x, t, _ = ask(model)
    one = told(model, (4,))
    each = Told(*(torch.cat([part] * 3) for part in one))
    assert_same(model(x, t, one), model(x, t, each))


@BOTH
def test_who_is_told_no_words_hears_silence(small: dict[str, Any]) -> None:
    model = reading_denoiser(small)
    x, t, kinds = ask(model)
    said = told(model)
    silence = model.silent(said, torch.ones(3, dtype=torch.bool))
    assert silence.seen.sum(dim=1).tolist() == [1, 1, 1]
    assert_same(model(x, t, kinds), model(x, t, silence._replace(kinds=kinds)))
    assert_same(model(x, t), model(x, t, model.unsaid(said)))
    assert model.unsaid(said).kinds.tolist() == 3 * [model.null]
    some = model.silent(said, torch.tensor([True, False, False]))
    mixed = model(x, t, some)
    assert_same(mixed[:1], model(x, t, silence)[:1])
    assert_same(mixed[1:], model(x, t, said)[1:])
    assert (mixed[0] - model(x, t, said)[0]).abs().max() > 1e-4
    assert said.seen.sum(dim=1).tolist() == list(LENGTHS), "what was said stays as it was"


@BOTH
def test_silence_and_all_that_reads_learn(small: dict[str, Any]) -> None:
    model = reading_denoiser(small)
    x, t, _ = ask(model)
    model(x, t, model.silent(told(model), torch.tensor([False, True, False]))).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
    assert model.silence is not None and model.silence.grad is not None
    assert model.silence.grad.abs().max() > 0


@BOTH
def test_words_are_read_in_half_precision_too(small: dict[str, Any]) -> None:
    model = reading_denoiser(small).float()
    x, t, _ = ask(model)
    x, said = x.float(), told(model)
    said = said._replace(words=said.words.float())
    exact = model(x, t, said)
    rough = copy.deepcopy(model).bfloat16()(x, t, said)
    assert rough.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):  # attention is computed in another way there
        learning = model(x, t, said)
    learning.square().mean().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if name != "silence"}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    for one in (rough, learning):
        assert F.cosine_similarity(exact.flatten(), one.flatten(), dim=0) > 0.99


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ({}, [6]),
        ({"attention": (1, 0, 1), "mlp": 2}, [12, 6, 6]),
        ({"image_size": 9, "attention": (0, 1)}, [9, 5]),
        (SMALL_DIT, [3, 3]),
        ({**SMALL_DIT, "image_size": 13}, [4, 4]),
    ],
    ids=str,
)
def test_it_is_shown_which_words_each_place_looked_at(
    options: dict[str, Any], sides: list[int]
) -> None:
    model = reading_denoiser(**options)
    x, t, _ = ask(model)
    said = told(model)
    asked: list[tuple[Read, Tensor]] = []
    for part in model.modules():
        if isinstance(part, Read):
            part.attention.q.register_forward_hook(
                lambda _, given, __, part=part: asked.append((part, given[0]))
            )
    looked = model.reading(x, t, said)
    assert [tuple(shares.shape) for shares in looked] == [
        (3, 16 // 8 if side == sides[-1] else 8 // 8, side, side, 5) for side in sides
    ]
    for shares in looked:
        assert_same(shares.sum(dim=-1), torch.ones(shares.shape[:-1]).double())
        # At the last token of a text nobody looks, unless it is alone.
        for text, length in enumerate((4, 1, 2)):
            assert (shares[text, ..., length:] == 0).all()
        assert shares[0, ..., :4].std(dim=(-3, -2)).min() > 1e-6, (
            "places differ in what they look at"
        )
    # They are those that the answer is made of: the same places ask the same there.
    model(x, t, said)
    shown, then = asked[: len(looked)], asked[len(looked) :]
    for (part, places), (same, again), shares in zip(shown, then, looked, strict=True):
        assert part is same
        assert_same(places, again)
        others = torch.arange(5) < torch.tensor([[4], [1], [2]])
        by_hand = part.attention.weights(again, said.words, mask=others)
        assert_same(rearrange(shares, "b h y x m -> b h (y x) m"), by_hand)


def test_texts_of_several_lengths_are_joined_and_cut_up_again() -> None:
    model = reading_denoiser()
    x, t, _ = ask(model, 5)
    first, rest = told(model), told(model, (2, 7), seed=8)
    both = joined([first, rest])
    assert isinstance(both, Told) and both.words.shape == (5, 7, 6)
    assert_same(
        model(x, t, both), torch.cat([model(x[:3], t[:3], first), model(x[3:], t[3:], rest)])
    )
    parts = pieces(both, 2)
    assert [len(part.kinds) for part in parts if isinstance(part, Told)] == [2, 2, 1]
    again = joined(parts)
    assert isinstance(again, Told)
    assert all(torch.equal(one, other) for one, other in zip(again, both, strict=True))
    plain = torch.arange(5)
    assert [part.tolist() for part in pieces(plain, 2)] == [[0, 1], [2, 3], [4]]
    assert torch.equal(joined(pieces(plain, 2)), plain)
    with pytest.raises(BadInput, match="some pictures are told words"):
        joined([first, plain])


@BOTH
def test_muon_is_handed_what_reads_but_neither_its_gates_nor_silence(small: dict[str, Any]) -> None:
    mute, reads = Denoiser(DenoiserConfig(**small)), reading_denoiser(small)
    more = len(reads.matrices()) - len(mute.matrices())
    assert more == 4 * sum(isinstance(part, Read) for part in reads.modules())
    assert not [n for n in reads.matrices() if "silence" in n or "summary" in n or "steer" in n]
    make_optimizers(
        reads, rate=1e-3, matrix_rate=1e-2, weight_decay=0, betas=(0.9, 0.99),
        matrices=set(reads.matrices()),
    )  # fmt: skip


@BOTH
def test_one_that_reads_comes_back_from_its_folder_as_it_went(
    small: dict[str, Any], tmp_path: Path
) -> None:
    model = reading_denoiser(small).float()
    model.reads = "clip-nano"
    save_denoiser(model, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["reads"] == "clip-nano" and settings["config"]["text_dim"] == 6
    back = load_denoiser(str(tmp_path))
    assert (back.config, back.reads) == (model.config, "clip-nano")
    x, t, _ = ask(model)
    said = told(model)
    assert torch.equal(back(x.float(), t, said), model(x.float(), t, said))
    assert torch.equal(back(x.float(), t), model(x.float(), t))


def test_a_folder_from_before_there_were_words_is_loaded(folder: Path) -> None:
    before = load_denoiser(str(folder))

    def age(settings: dict[str, Any]) -> None:
        del settings["reads"]
        for name in WORDS:
            del settings["config"][name]

    changed_settings(age)(folder)
    back = load_denoiser(str(folder))
    assert (back.config, back.reads) == (before.config, "")
    x, t, condition = ask(before)
    assert torch.equal(back(x.float(), t, condition), before(x.float(), t, condition))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"text_dim": 6}, "texts of 0 tokens of 6 numbers: who reads names both"),
        ({"text_context": 12}, "texts of 12 tokens of 0 numbers"),
        ({"text_model": "abc"}, "who does not names neither, nor a text_model"),
        ({"text_dim": -6, "text_context": 12}, "no count is below 0"),
        ({**WORDS, "text_model": 3}, "text_model is a fingerprint, not 3"),
        ({**WORDS, "attention": ()}, "a U-Net reads where it has attention: name a level"),
    ],
    ids=str,
)
def test_one_that_cannot_read_is_not_built(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)) as caught:
        DenoiserConfig(**{**SMALL, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda said: said._replace(words=said.words[..., :5]), "words of (3, 5, 5)"),
        (lambda said: said._replace(words=said.words[:, :4]), "words of (3, 4, 6), seen of (3, 5)"),
        (lambda said: said._replace(seen=said.seen[:2]), "seen of (2, 5)"),
        (lambda said: Told(said.kinds, said.words[:2], said.seen[:2]), "need a text each"),
        (lambda said: Told(said.kinds[:2], *said[1:]), "3 pictures need a class each"),
        (
            lambda said: Told(said.kinds, *(torch.cat([part] * 3, dim=1) for part in said[1:])),
            "of 1 to 12 tokens of 6 numbers",
        ),
        (
            lambda said: Told(said.kinds, said.words[:, :0], said.seen[:, :0]),
            "of 1 to 12 tokens of 6 numbers",
        ),
    ],
)  # fmt: skip
def test_words_of_another_shape_are_refused(change: Callable[[Told], Told], says: str) -> None:
    model = reading_denoiser()
    x, t, _ = ask(model)
    for asked in (model, model.reading):
        with pytest.raises(BadInput, match=re.escape(says)) as caught:
            asked(x, t, change(told(model)))
        assert "\n" not in str(caught.value)


def test_one_that_does_not_read_says_so() -> None:
    said, model = told(reading_denoiser()), small_denoiser()
    x, t, _ = ask(model)
    model.name = "mnist-nano"
    for call in (
        lambda: model(x, t, said),
        lambda: model.reading(x, t, said),
        lambda: model.unsaid(said),
        lambda: model.silent(said, said.seen[:, 0]),
    ):
        with pytest.raises(BadInput, match=r"^mnist-nano reads no words: tell it classes"):
            call()
    assert not [n for n, _ in model.named_parameters() if "silence" in n or "summary" in n]


@BOTH
def test_it_learns_from_words_alone_what_to_draw(small: dict[str, Any]) -> None:
    """Of a token, moreover, that does not sum up the text: places must look for it."""
    model = Denoiser(DenoiserConfig(**{**small, **WORDS, "classes": 0}))
    model.reset(torch.Generator().manual_seed(0))
    pictures, random = Bars().x, torch.Generator().manual_seed(1)
    texts = torch.zeros(2, 3, 6)
    texts[:, 0] = torch.tensor([[1.0], [-1.0]])  # lying, standing
    optimizers = make_optimizers(
        model, rate=1e-2, matrix_rate=2e-2, weight_decay=0, betas=(0.9, 0.99),
        matrices=set(model.matrices()),
    )  # fmt: skip

    def answers(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """What it says of nothing but noise, to which each text belongs as well as the other."""
        kinds = torch.arange(count) % 2
        noise = torch.randn(count // 2, 1, 12, 12, generator=random).repeat_interleave(2, dim=0)
        said = Told(kinds * 0, texts[kinds], torch.ones(count, 3, dtype=torch.bool))
        return model(noise, torch.ones(count), said), noise, pictures[kinds]

    for _ in range(60):
        answer, noise, picture = answers(16)
        model.zero_grad()
        F.mse_loss(answer, noise - picture).backward()
        for optimizer in optimizers:
            optimizer.step()
    with torch.no_grad():
        answer, _, picture = answers(16)
    found, wanted = (answer[1::2] - answer[::2]).mean(dim=0), picture[0] - picture[1]
    assert F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.4
