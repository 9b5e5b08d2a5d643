"""One server with a small random model, for all tests of the pages."""

import os
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import uvicorn
from mmfm.demos import app
from mmfm.demos.page import Context

from mmfm.models.checkpoints import save_vit
from mmfm.models.vit import ViT, ViTConfig

LABELS = ("cat", "dog", "<b>horse</b>", "ship")
CARD = """---
datasets: [noise-10]
---
# A model of random weights
"""


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
    with app.private_gradio(), app.listen("127.0.0.1", 0) as listening:
        pages = app.build(Context("cpu", str(folder)))
        server = uvicorn.Server(
            uvicorn.Config(pages, log_level="critical", timeout_graceful_shutdown=1)
        )
        # A daemon, with all that it starts: a request that never ends shall not keep the tests.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
