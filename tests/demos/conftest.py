"""One server with a small random model, for all tests of the pages."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import visitors
from mmfm.demos import app
from mmfm.demos.page import Context
from playwright.sync_api import Browser, expect, sync_playwright

from mmfm.models.checkpoints import save_vit
from mmfm.models.vit import ViT, ViTConfig

LABELS = ("cat", "dog", "<b>horse</b>", "ship")
CARD = """---
datasets: [noise-10]
---
# A model of random weights
"""

expect.set_options(timeout=30_000)  # of a machine that is slow or busy


@pytest.fixture(scope="session")
def noise() -> ViT:
    """A model whose random weights are large enough that patches matter."""
    config = ViTConfig((32, 32), 4, dim=48, depth=3, heads=4, mlp_dim=64, registers=1, classes=4)
    model = ViT(config, labels=LABELS)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def folder(noise: ViT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a card."""
    folder = tmp_path_factory.mktemp("models") / "vit-noise"
    save_vit(noise, folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="session")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Where the pages are served."""
    os.environ["MMFM_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    with (
        app.private_gradio(),
        visitors.serving(app.build(Context("cpu", str(folder)))) as address,
    ):
        yield address


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    """Chromium, for the visitors of one page."""
    with sync_playwright() as playwright:
        flags = visitors.FLAGS.split()
        browser = playwright.chromium.launch(executable_path=visitors.CHROMIUM, args=flags)
        yield browser
        browser.close()
