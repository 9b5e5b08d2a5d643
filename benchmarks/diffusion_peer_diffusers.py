"""diffusers on MNIST, as the notebook on class conditioning of Hugging Face's course trains it.

Unit 2 of huggingface/diffusion-models-class: a UNet2DModel of 32, 64 and 64 channels, two blocks a
level, attention at 14x14 and 7x7; the digit comes in as four more channels, the same everywhere.
It learns to name the noise of 1,000 levels of the squared cosine; Adam at 1e-3, batches of 128, no
averaged weights, no guidance.

    pip install diffusers
"""

import torch
import torch.nn.functional as F
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DModel,
)
from einops import repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

DIGITS, TOLD_IN = 10, 4  # classes, and channels that tell of them


class Conditioned(nn.Module):
    """An unconditional network to whose picture channels are added that say what it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Embedding(DIGITS, TOLD_IN)
        self.unet = UNet2DModel(
            sample_size=28,
            in_channels=1 + TOLD_IN,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )

    def forward(self, x: Float[Tensor, "b 1 y x"], t: Tensor, labels: Int64[Tensor, " b"]):
        height, width = x.shape[-2:]
        told = repeat(self.classes(labels), "b k -> b k y x", y=height, x=width)
        return self.unet(torch.cat([x, told], dim=1), t).sample


class Diffusers:
    """The notebook's network and its way of learning."""

    package = "diffusers"
    batch = 128
    conditional = True
    samplers = ("ddim", "dpm++")

    def __init__(self) -> None:
        self.net = Conditioned()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
        self.parts = {"net": self.net, "optimizer": self.optimizer}

    def learn(self, images: Float[Tensor, "b 1 28 28"], labels: Int64[Tensor, " b"]) -> float:
        noise = torch.randn_like(images)
        t = torch.randint(0, 999, (len(images),))  # the notebook leaves out the last two levels
        noisy = self.noising.add_noise(images, noise, t)
        loss = F.mse_loss(self.net(noisy, t, labels), noise)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def draw(
        self, labels: Int64[Tensor, " b"], sampler: str, steps: int
    ) -> Float[Tensor, "b 1 28 28"]:
        if sampler == "ddim":
            schedule = DDIMScheduler.from_config(self.noising.config)
        else:  # with the bound that diffusers' documentation asks for with the squared cosine
            schedule = DPMSolverMultistepScheduler.from_config(
                self.noising.config, lambda_min_clipped=-5.1
            )
        schedule.set_timesteps(steps)
        x = torch.randn(len(labels), 1, 28, 28) * schedule.init_noise_sigma
        for t in schedule.timesteps:
            x = schedule.step(self.net(x, t, labels), t, x).prev_sample
        return x
