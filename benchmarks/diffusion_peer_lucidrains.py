"""lucidrains' denoising-diffusion-pytorch on MNIST, as its README trains it.

A Unet of dim 64; of the README's four levels the first three, since 28 pixels cannot be halved
three times. GaussianDiffusion as it comes (1,000 levels of the sigmoid, predicts v), and what the
README's Trainer does: 32 pictures twice a step, Adam at 8e-5 with (0.9, 0.99), gradients of length
1 at most, averaged weights with a memory of 0.995, taken up every tenth step. Its half precision is
for GPUs, and it would mirror the pictures, which ruins digits: both are off. It knows no labels.

    pip install denoising-diffusion-pytorch
"""

import contextlib
import io

import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from ema_pytorch import EMA
from jaxtyping import Float, Int64
from torch import Tensor, nn

PIECE, PIECES = 32, 2


class Lucidrains:
    """The README's network and its Trainer's way of learning."""

    package = "denoising-diffusion-pytorch"
    batch = PIECE * PIECES
    conditional = False
    samplers = ("ddim",)

    def __init__(self) -> None:
        net = Unet(dim=64, dim_mults=(1, 2, 4), channels=1, flash_attn=True)
        self.diffusion = GaussianDiffusion(net, image_size=28, timesteps=1000)
        parameters = self.diffusion.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=8e-5, betas=(0.9, 0.99))
        self.averaged = EMA(self.diffusion, beta=0.995, update_every=10)
        # The averaging knows the network that it follows, so its part holds both.
        self.parts = {"averaged": self.averaged, "optimizer": self.optimizer}

    def learn(self, images: Float[Tensor, "b 1 28 28"], labels: Int64[Tensor, " b"]) -> float:
        total = 0.0
        for piece in ((images + 1) / 2).split(PIECE):
            loss = self.diffusion(piece) / PIECES
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averaged.update()
        return total

    def draw(
        self, labels: Int64[Tensor, " b"], sampler: str, steps: int
    ) -> Float[Tensor, "b 1 28 28"]:
        averaged = self.averaged.ema_model.eval()
        # Fewer steps than levels make `sample` take DDIM's.
        averaged.sampling_timesteps, averaged.is_ddim_sampling = steps, True
        with contextlib.redirect_stderr(io.StringIO()):  # it shows a bar for each batch
            return averaged.sample(batch_size=len(labels)) * 2 - 1
