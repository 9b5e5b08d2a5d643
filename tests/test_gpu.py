"""What only a CUDA device can show: `pytest -m gpu`; skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmfm.models.checkpoints import load_vit
from mmfm.models.vit import ViT, ViTConfig, variant
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
    assert longer[-1].accuracy is not None and longer[-1].accuracy > 0.93
    assert load_vit(str(tmp_path / "run"), device="cuda").head is not None
