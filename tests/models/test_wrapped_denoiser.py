"""Networks of diffusers' behind our methods: the same pictures as theirs, and honest about it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    PNDMScheduler,
    UNet2DModel,
)
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from stock_unet import stock_unet
from torch import Tensor

from mmfm import hub
from mmfm.diffusion.course import course, discrete
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.errors import BadInput, BadWeights, MmfmError, NotHere, Offline
from mmfm.models.checkpoints import load_denoiser, save_denoiser
from mmfm.models.denoiser import Told
from mmfm.models.wrapped_denoiser import StockDenoiser
from mmfm.tasks import generate as task
from mmfm.tasks.generate import generate, samples
from mmfm.tasks.score import score

SHORT = {"num_train_timesteps": 60, "clip_sample": False, "timestep_spacing": "trailing"}
# What pipelines are asked that must not be compared in part only: nothing of a picture is cut off.
UNCUT = 0.3


def saved(folder: Path, net: UNet2DModel | None = None, **scheduler: Any) -> DDIMPipeline:
    """A pipeline of diffusers' own, and its folder."""
    made = DDIMPipeline(net or stock_unet(), DDIMScheduler(**{**SHORT, **scheduler}))
    made.set_progress_bar_config(disable=True)
    made.save_pretrained(folder)
    return made


def noise(count: int, *shape: int, seed: int = 7) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def drawn(den: StockDenoiser, x: Tensor, steps: int, sampler: str = "ddim") -> Tensor:
    """What our sampler makes of this noise."""
    way = course(den.config.schedule, steps)
    objective, clip = den.config.objective, den.clip
    *_, last = SAMPLERS[sampler](den, x, way, objective=objective, clip=clip)
    return last.x


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path / "pipe")
    return tmp_path / "pipe"


def loaded(folder: Path, **options: Any) -> StockDenoiser:
    den = load_denoiser(str(folder), **options)
    assert isinstance(den, StockDenoiser)
    return den


# --- the same pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["euler", "ddim"])
@pytest.mark.parametrize("clip", [False, True], ids=["free", "clipped"])
@pytest.mark.parametrize(
    ("predicts", "betas"),
    [("epsilon", "linear"), ("sample", "scaled_linear"), ("v_prediction", "squaredcos_cap_v2")],
)
def test_our_samplers_draw_what_the_pipeline_of_diffusers_draws(
    predicts: str, betas: str, clip: bool, sampler: str, tmp_path: Path
) -> None:
    pipe = saved(tmp_path, prediction_type=predicts, beta_schedule=betas, clip_sample=clip)
    theirs = pipe(
        batch_size=3,
        generator=torch.Generator().manual_seed(7),
        num_inference_steps=12,
        use_clipped_model_output=True,
        output_type="pt",
    ).images
    ours = drawn(loaded(tmp_path), noise(3, 1, 8, 8), 12, sampler) / 2 + 0.5
    torch.testing.assert_close(ours.clamp(0, 1), theirs, rtol=0, atol=1e-5)
    assert ((theirs > 0) & (theirs < 1)).float().mean() > UNCUT


def test_a_thousand_betas_as_everyone_has_them_and_pure_noise_at_the_end(tmp_path: Path) -> None:
    usual = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2"}
    pipe = saved(tmp_path, **usual, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    den = loaded(tmp_path)
    assert den.config.schedule[-1] == 0 and len(den.config.schedule) == 1000
    random = torch.Generator().manual_seed(7)
    theirs = pipe(batch_size=2, generator=random, num_inference_steps=20, output_type="pt").images
    ours = drawn(den, noise(2, 1, 8, 8), 20) / 2 + 0.5
    torch.testing.assert_close(ours.clamp(0, 1), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 7, 12, 60])
def test_our_time_is_the_network_s_count_of_betas(steps: int, folder: Path) -> None:
    den, times = loaded(folder), []
    den.model.register_forward_pre_hook(lambda _, given: times.append(given[1].tolist()))
    ours = course(den.config.schedule, steps)
    kept = torch.tensor(den.config.schedule, dtype=torch.float64)
    theirs = discrete(kept, steps, spacing="trailing")
    for stop in ours:
        den(noise(2, 1, 8, 8), stop.t.float().expand(2))
    if 60 % steps == 0:
        assert times == [[t, t] for t in theirs.t.tolist()], "whole numbers, to the last bit"
        for name in ("alpha", "sigma", "next_alpha", "next_sigma"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    else:  # between two betas there is as much noise as between them
        wanted = 60 * ours.t - 1
        torch.testing.assert_close(torch.tensor(times)[:, 0].double(), wanted, atol=1e-3, rtol=0)
        assert (ours.sigma.diff() < 0).all()
    assert ours.next_alpha[-1] == 1 and ours.next_sigma[-1] == 0


def test_a_clean_picture_is_told_as_the_first_beta_and_nothing_before(folder: Path) -> None:
    den = loaded(folder)
    assert den.places(torch.tensor([0.0, 0.001, 1 / 60, 1.0])).tolist() == [0, 0, 0, 59]


def test_a_learned_clock_is_told_whole_betas_only(tmp_path: Path) -> None:
    saved(tmp_path, stock_unet(time_embedding_type="learned", num_train_timesteps=60))
    den = loaded(tmp_path)
    assert den.places(torch.tensor([0.0, 0.502, 1.0])).tolist() == [0, 29, 59]
    assert torch.cat([images for _, images in samples(den, count=2, steps=7)]).shape == (2, 8, 8, 1)


# --- under our tasks ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_of_ours_runs_over_it(sampler: str, folder: Path) -> None:
    *_, last = generate(loaded(folder), count=3, steps=6, sampler=sampler)
    assert last.x.shape == (3, 1, 8, 8) and last.x.isfinite().all()


def test_generate_draws_by_its_own_settings_what_the_pipeline_draws(tmp_path: Path) -> None:
    pipe = saved(tmp_path, clip_sample=True, num_train_timesteps=120)
    den = loaded(tmp_path)
    assert den.sampling["steps"] == 40, "the most up to 50 that divide its betas"
    asked = task.order(den, count=2)
    start = asked.noise(torch.arange(2))
    theirs = asked_of(pipe, start, steps=40)
    *_, last = generate(den, count=2)
    torch.testing.assert_close(last.x, theirs, rtol=0, atol=1e-5)
    assert last.x.abs().max() <= 1, "clipped, as its scheduler says"


def test_its_pictures_are_scored_as_ours_are(tmp_path: Path) -> None:
    saved(tmp_path, stock_unet(sample_size=28))
    den = loaded(tmp_path)
    found = score(den, "digits", count=30, steps=2)
    assert found.count == 30 and found.readings[0].these.accuracy is None
    assert found.readings[0].ratio > 3  # it has learned nothing


def asked_of(pipe: DDIMPipeline, x: Tensor, steps: int) -> Tensor:
    """The loop of the pipeline, from a noise that it would not be given."""
    pipe.scheduler.set_timesteps(steps)
    with torch.no_grad():
        for t in pipe.scheduler.timesteps:
            said = pipe.unet(x, t).sample
            x = pipe.scheduler.step(said, t, x, use_clipped_model_output=True).prev_sample
    return x


def test_it_says_of_itself_what_callers_ask(folder: Path) -> None:
    den = loaded(folder)
    c = den.config
    assert (c.shape, c.image_size, c.channels, c.classes) == ((1, 8, 8), 8, 1, 0)
    assert (c.kind, c.widths, c.depths, c.attention) == ("unet", (8, 16), (1, 1), (1,))
    assert (c.objective, c.jumps, den.labels, den.null) == ("noise", "none", (), 0)
    assert (den.name, den.origin, den.ours, den.guidable) == (str(folder), "local", False, True)
    assert not den.training and "schedule" not in repr(c)
    assert task.names_of(den) == () and task.chosen(den).sampler == "ddim"
    kept = torch.tensor(c.schedule, dtype=torch.float64)
    torch.testing.assert_close(kept.float(), DDIMScheduler(**SHORT).alphas_cumprod)


@pytest.mark.parametrize(
    "options",
    [
        {"out_channels": 2},
        {"sample_size": (8, 12)},
        {"in_channels": 3, "out_channels": 6},
        {
            "down_block_types": ("DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            "add_attention": False,
        },
        {"mid_block_type": None},
        {"resnet_time_scale_shift": "scale_shift", "center_input_sample": True},
        {"downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1},
    ],
    ids=lambda options: ",".join(options),
)
def test_networks_of_other_shapes_answer_as_they_do_by_themselves(
    options: dict[str, Any], tmp_path: Path
) -> None:
    net = stock_unet(**options)
    saved(tmp_path, net)
    den = loaded(tmp_path)
    x = noise(2, *den.config.shape)
    with torch.no_grad():
        theirs = net(x, torch.tensor([29, 59])).sample[:, : x.shape[1]]
        torch.testing.assert_close(den(x, torch.tensor([0.5, 1.0])), theirs, rtol=0, atol=1e-6)
    (_, images), *_ = samples(den, count=2, steps=3)
    channels, rows, columns = den.config.shape
    assert images.shape == (2, rows, columns, channels)


def test_half_precision_is_for_the_network(folder: Path) -> None:
    exact, half = loaded(folder), loaded(folder, dtype=torch.bfloat16)
    x, t = noise(2, 1, 8, 8), torch.tensor([0.3, 0.9])
    assert half(x, t).dtype == torch.float32
    torch.testing.assert_close(half(x, t), exact(x, t), rtol=0, atol=0.05)


# --- labels ---------------------------------------------------------------------------------------


def labelled(folder: Path, classes: int, names: list[str] | None) -> UNet2DModel:
    net = stock_unet(num_class_embeds=classes)
    saved(folder, net)
    index = json.loads((folder / "model_index.json").read_text())
    if names is not None:
        index["id2label"] = {str(number): name for number, name in enumerate(names)}
    (folder / "model_index.json").write_text(json.dumps(index))
    return net


def test_a_network_with_a_null_class_is_guided_and_draws_none_in_particular(
    tmp_path: Path,
) -> None:
    net = labelled(tmp_path, 4, ["cat", "dog", "개구리"])
    den = loaded(tmp_path)
    assert (den.config.classes, den.null, den.labels) == (3, 3, ("cat", "dog", "개구리"))
    x, t = noise(3, 1, 8, 8), torch.full((3,), 0.5)
    with torch.no_grad():
        for told, number in ((torch.tensor([2, 2, 2]), 2), (None, 3)):
            theirs = net(x, 29, class_labels=torch.full((3,), number)).sample
            torch.testing.assert_close(den(x, t, told), theirs, rtol=0, atol=1e-6)
    *_, plain = generate(den, ["dog", None], steps=3)
    *_, guided = generate(den, ["dog", None], steps=3, guidance=3)
    assert not torch.allclose(plain.x[0], guided.x[0])
    torch.testing.assert_close(plain.x[1], guided.x[1])


@pytest.mark.parametrize("names", [None, ["a", "b", "c"]], ids=["unnamed", "named"])
def test_without_a_null_class_guidance_is_refused_in_a_line(
    names: list[str] | None, tmp_path: Path
) -> None:
    labelled(tmp_path, 3, names)
    den = loaded(tmp_path)
    assert den.config.classes == 3 and task.names_of(den) == tuple(names or "012")
    assert not den.guidable
    *_, last = generate(den, [0, 2], steps=3)
    assert last.x.shape[0] == 2
    for wish in ({"guidance": 2.0}, {"labels": [None]}):
        with pytest.raises(BadInput, match="never drawn without a label") as caught:
            generate(den, steps=3, **wish)
        assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)
        assert "leave the guidance at 1 and name labels" in str(caught.value)
    assert torch.equal(last.x, [*generate(den, [0, 2], steps=3, guidance=1.0)][-1].x)


def test_it_reads_no_words_and_says_so(tmp_path: Path) -> None:
    labelled(tmp_path, 3, ["a", "b", "c"])
    den = loaded(tmp_path)
    assert den.reads == ""
    said = Told(torch.tensor([0]), torch.zeros(1, 4, 6), torch.ones(1, 4, dtype=torch.bool))
    for call in (
        lambda: den(torch.zeros(1, 1, 8, 8), torch.zeros(1), said),
        lambda: den.unsaid(said),
        lambda: generate(den, prompt="a cat"),
    ):
        with pytest.raises(BadInput, match="reads no words") as caught:
            call()
        assert "\n" not in str(caught.value)


# --- folders --------------------------------------------------------------------------------------


def test_a_network_alone_learned_as_ddpm_does_unless_a_scheduler_lies_beside(
    tmp_path: Path,
) -> None:
    net = stock_unet()
    net.save_pretrained(tmp_path / "alone")
    den = loaded(tmp_path / "alone")
    usual = DDPMScheduler()
    torch.testing.assert_close(torch.tensor(den.config.schedule).float(), usual.alphas_cumprod)
    assert (den.config.objective, den.clip) == ("noise", 1.0)

    PNDMScheduler(num_train_timesteps=30, prediction_type="v_prediction").save_pretrained(
        tmp_path / "alone"
    )
    den = loaded(tmp_path / "alone")
    assert (len(den.config.schedule), den.config.objective, den.clip) == (30, "velocity", None)
    file = tmp_path / "alone" / "diffusion_pytorch_model.safetensors"
    assert loaded(file).config == den.config, "a file is as good as its folder"


def test_a_part_of_a_pipeline_says_to_name_the_whole(folder: Path) -> None:
    with pytest.raises(BadInput, match=f"name the whole, {folder}$"):
        load_denoiser(str(folder / "unet"))


def test_files_at_the_top_level_and_older_ones_are_read(tmp_path: Path) -> None:
    """As google/ddpm-cifar10-32 has them: no folders, attention under older names, a .bin file."""
    pipe = saved(tmp_path / "new")
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "new" / "unet", old)
    shutil.copy(tmp_path / "new" / "scheduler" / "scheduler_config.json", old)
    shutil.copy(tmp_path / "new" / "model_index.json", old)
    file = old / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(file)
    for new, was in names.items():
        state = {key.replace(f".{new}.", f".{was}."): x for key, x in state.items()}
    assert sum(".query." in key for key in state) == 8
    file.unlink()
    torch.save(state, old / "diffusion_pytorch_model.bin")
    x, t = noise(1, 1, 8, 8), torch.ones(1)
    with torch.no_grad():
        torch.testing.assert_close(loaded(old)(x, t), pipe.unet(x, 59).sample, rtol=0, atol=1e-6)


def edited(file: str, **changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def written(file: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text(text) and None


def without(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def weights(change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        save_file(state, folder / WEIGHTS)

    return damage


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def a_program(folder: Path) -> None:
    """A pickle that would run code, in place of weights."""
    (folder / WEIGHTS).unlink()
    torch.save({"conv_in.bias": Trap(folder)}, folder / WEIGHTS.replace("safetensors", "bin"))


class Trap:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder / "sprung"),)


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
UNET, INDEX, SCHEDULER = "unet/config.json", "model_index.json", "scheduler/scheduler_config.json"
BIAS = "conv_in.bias"


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (without(WEIGHTS), NotHere, "diffusion_pytorch_model"),
        (without(SCHEDULER), NotHere, "without its scheduler"),
        (cut, BadWeights, "not a whole safetensors file"),
        (a_program, BadWeights, "which was not run"),
        (weights(lambda s: s.pop(BIAS)), BadWeights, f"missing: {BIAS}"),
        (weights(lambda s: s.update(odd=s[BIAS] + 1)), BadWeights, "left over: odd"),
        (weights(lambda s: s.update({BIAS: s[BIAS] / 0})), BadWeights, "NaN or infinite"),
        (written(UNET, "{"), BadWeights, "not whole JSON"),
        (written(INDEX, "[]"), BadWeights, "something else than settings"),
        (written(SCHEDULER, '{"_class_name": '), BadWeights, "not whole JSON"),
        (edited(UNET, block_out_channels=[8, 24]), BadWeights, "of another shape"),
        (edited(UNET, block_out_channels=[8]), BadInput, "diffusers cannot build it"),
        (edited(UNET, block_out_channels=8), BadWeights, "damaged"),
        (edited(UNET, layers_per_block="many"), BadWeights, "layers_per_block"),
        (edited(UNET, layers_per_block=10**9), BadWeights, "layers"),
        (edited(UNET, new_option=1), BadInput, "lacks: 'new_option'"),
        (edited(UNET, sample_size=None), BadInput, "how large its pictures are"),
        (edited(UNET, sample_size=[8, -8]), BadInput, "how large its pictures are"),
        (edited(UNET, sample_size=7), BadInput, "cannot draw pictures of 7x7"),
        (edited(UNET, time_embedding_type="fourier"), MmfmError, ""),
        (edited(UNET, _class_name="UNet2DConditionModel"), BadInput, "'UNet2DConditionModel'"),
        (edited(UNET, _class_name="VQModel"), BadInput, "not that of a denoiser"),
        (edited(INDEX, _class_name="StableDiffusionPipeline"), BadInput, "'StableDiffusionPip"),
        (edited(INDEX, _class_name=["my", "Pipeline"]), BadInput, "'Pipeline'"),
        (edited(SCHEDULER, _class_name="ScoreSdeVeScheduler"), BadInput, "'ScoreSdeVe"),
        (edited(SCHEDULER, prediction_type="flow_prediction"), BadInput, "'flow_prediction'"),
        (edited(SCHEDULER, num_train_timesteps=10**12), BadInput, "1000000000000 betas"),
        (edited(SCHEDULER, num_train_timesteps="a"), BadInput, "'a' betas"),
        (edited(SCHEDULER, beta_schedule="zigzag"), BadInput, "zigzag"),
        (edited(SCHEDULER, beta_end=-1), BadInput, "do not turn a picture into noise"),
        (edited(SCHEDULER, beta_end="a"), BadInput, "diffusers cannot build it"),
        (edited(SCHEDULER, trained_betas=[0.5, float("nan")]), BadInput, "step by step"),
        (edited(SCHEDULER, trained_betas=[]), BadInput, "step by step"),
        (edited(SCHEDULER, thresholding=True, sample_max_value=2), BadInput, "up to 2"),
        (edited(SCHEDULER, clip_sample=True, clip_sample_range=-1), BadInput, "to -1"),
    ],
)  # fmt: skip
def test_a_folder_that_is_damaged_or_of_another_kind_is_named_in_a_line(
    folder: Path, damage: Callable[[Path], None], error: type[MmfmError], says: str
) -> None:
    damage(folder)
    with pytest.raises(error) as caught:
        load_denoiser(str(folder))
    said = str(caught.value)
    assert says in said and said.startswith(str(folder)) and "\n" not in said
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"out_channels": 3}, "makes 3 channels of 1"),
        ({"time_embedding_type": "fourier"}, "how strong the noise is"),
        ({"class_embed_type": "identity"}, "told classes by 'identity'"),
        ({"class_embed_type": "timestep"}, "told classes by 'timestep'"),
    ],
)
def test_what_is_no_denoiser_of_counted_betas_is_refused(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    saved(tmp_path, stock_unet(**options))
    with pytest.raises(BadInput, match=says):
        load_denoiser(str(tmp_path))


@pytest.mark.parametrize("names", [{"a": "x"}, {"0": "x", "2": "y"}, {"0": "x"}, ["x", "y", "z"]])
def test_labels_that_do_not_fit_the_classes_are_refused(names: Any, tmp_path: Path) -> None:
    labelled(tmp_path, 3, None)
    edited(INDEX, id2label=names)(tmp_path)
    with pytest.raises(BadInput, match="label"):
        load_denoiser(str(tmp_path))


def test_it_is_asked_as_our_own_are(folder: Path) -> None:
    den = loaded(folder)
    for x, t in ((noise(2, 1, 8, 9), torch.ones(2)), (noise(2, 1, 8, 8), torch.ones(3))):
        with pytest.raises(BadInput):
            den(x, t)
    with pytest.raises(BadInput, match="61 steps are not possible among 60 betas"):
        generate(den, steps=61)
    with pytest.raises(BadInput, match="mmfm export --to diffusers"):
        save_denoiser(den, folder.parent / "copy")
    assert not (folder.parent / "copy").exists()


# --- the hub --------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


def cached(cache: Path, repository: str) -> Path:
    """Where the hub's own library keeps a repository."""
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    return home / "snapshots" / ("0" * 40)


def test_a_repository_in_the_cache_is_loaded_offline_and_another_refused(cache: Path) -> None:
    DDPMPipeline(stock_unet(), DDPMScheduler()).save_pretrained(cached(cache, "somebody/ddpm"))
    den = load_denoiser("hf:somebody/ddpm")
    assert (den.name, den.origin, den.clip) == ("hf:somebody/ddpm", "hub", 1.0)
    with pytest.raises(Offline, match="hf:google/ddpm-cifar10-32 is not on this machine"):
        load_denoiser("hf:google/ddpm-cifar10-32")


def test_of_a_pipeline_that_cannot_be_wrapped_no_weights_are_fetched(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = cached(cache, "somebody/sd")
    asked: list[list[str]] = []

    def fake(repository: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        (home / "unet").mkdir(parents=True, exist_ok=True)
        (home / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
        (home / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
        return str(home)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    monkeypatch.setattr(hub, "network", lambda *_: True)
    with pytest.raises(BadInput, match="hf:somebody/sd: a pipeline of the kind 'StableDiff"):
        load_denoiser("hf:somebody/sd")
    assert [pattern for patterns in asked for pattern in patterns if "diffusion" in pattern] == []
