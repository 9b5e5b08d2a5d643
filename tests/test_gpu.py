"""What only a CUDA device can show: `pytest -m gpu`; skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmfm.models.checkpoints import load_denoiser, load_vit
from mmfm.models.vit import ViT, ViTConfig, variant
from mmfm.tasks.generate import samples
from mmfm.tasks.score import score
from mmfm.tasks.train_diffusion import DiffusionRecipe, resume_diffusion, train_diffusion
from mmfm.tasks.train_ruler import RulerRecipe, train_ruler
from mmfm.tasks.train_vit import VitRecipe, resume_vit, train_vit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def test_a_vit_says_the_same_on_the_gpu_as_on_the_cpu() -> None:
    model = ViT(variant("B/16", classes=10)).eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        here = model(images)
        torch.set_float32_matmul_precision("highest")
        there = model.cuda()(images.cuda())
    scale = max(1.0, here.tokens.abs().max().item())
    assert (here.tokens - there.tokens.cpu()).abs().max() < 1e-4 * scale


def test_sincos_positions_and_masks_follow_the_model_to_the_gpu() -> None:
    config = ViTConfig(image_size=(8, 8), patch_size=2, dim=16, depth=1, heads=2, mlp_dim=16,
                       positions="sincos")  # fmt: skip
    model = ViT(config).cuda()
    keep = torch.arange(16, device="cuda") % 2 == 0
    out = model(torch.randn(1, 3, 8, 8, device="cuda"), keep=keep, attention=True)
    assert out.attention[0].is_cuda
    assert out.patches.shape[1] == 8


def test_training_on_the_gpu_learns_stops_and_goes_on(tmp_path: Path) -> None:
    recipe = VitRecipe.read("vit-digits")
    short = replace(recipe, plan=replace(recipe.plan, steps=300))
    reports = list(train_vit("digits", tmp_path / "run", short, device="cuda"))
    assert reports[0].step.notes[0].startswith("computing in bf16")
    longer = list(resume_vit(tmp_path / "run", changes={"steps": 700}, device="cuda"))
    assert longer[0].step.number == 301
    assert longer[-1].scores["accuracy"] > 0.93
    assert load_vit(str(tmp_path / "run"), device="cuda").head is not None


def test_digits_are_learned_gone_on_with_drawn_and_scored_on_the_gpu(tmp_path: Path) -> None:
    plan = {"batch": 64, "steps": 250}
    ruler = RulerRecipe.of({"model": {"widths": [16, 32], "features": 32}, "plan": plan})
    list(train_ruler("digits", tmp_path / "ruler", ruler, device="cuda"))

    network = {"widths": [16, 32], "depths": [1, 1], "attention": [1], "embed": 32}
    sampling = {"steps": 8, "guidance": 1.5}
    recipe = DiffusionRecipe.of({"model": network, "plan": plan, "sampling": sampling})
    out = tmp_path / "run"
    reports = list(train_diffusion("digits", out, recipe, device="cuda"))
    assert reports[0].step.notes[0].startswith("computing in bf16")
    longer = list(resume_diffusion(out, changes={"steps": 600}, device="cuda"))
    assert [report.step.number for report in longer] == list(range(251, 601))
    losses = [report.step.loss for report in reports + longer]
    assert sum(losses[-50:]) < 0.8 * sum(losses[:50])

    den = load_denoiser(str(out), device="cuda")
    images = torch.cat([some for _, some in samples(den, [3, 7], count=30, seed=1)])
    assert images.shape == (30, 8, 8, 1) and not images.is_cuda
    # The noise is the same wherever it is drawn, so the pictures are nearly those of a processor.
    here = load_denoiser(str(out), device="cpu")
    same = torch.cat([some for _, some in samples(here, [3, 7], count=30, seed=1)])
    assert (images.float() - same.float()).abs().mean() < 3
    found = score(den, "digits", count=100, rulers=[str(tmp_path / "ruler")], device="cuda")
    these = found.readings[0].these
    assert these.accuracy is not None and these.accuracy.value > 0.5
    assert found.readings[0].ratio > 0
