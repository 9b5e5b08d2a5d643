"""torchcfm on MNIST, as its own example of conditional flow matching trains it.

examples/images/conditional_mnist.ipynb of atong01/conditional-flow-matching: its UNetModel with 32
channels and one block a level, told the digit; independent pairs of noise and picture (sigma 0);
Adam at 1e-3, batches of 128, no averaged weights, no guidance. The example draws with an adaptive
solver; fast ones that ask as often as the others' are Euler's and the midpoint rule.

    pip install torchcfm
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
from torchcfm.models.unet import UNetModel


class TorchCFM:
    """The example's network and its way of learning."""

    package = "torchcfm"
    batch = 128
    conditional = True
    samplers = ("euler", "midpoint")

    def __init__(self) -> None:
        self.net = UNetModel(
            dim=(1, 28, 28), num_channels=32, num_res_blocks=1, num_classes=10, class_cond=True
        )
        self.optimizer = torch.optim.Adam(self.net.parameters())
        self.matcher = ConditionalFlowMatcher(sigma=0.0)
        self.parts = {"net": self.net, "optimizer": self.optimizer}

    def learn(self, images: Float[Tensor, "b 1 28 28"], labels: Int64[Tensor, " b"]) -> float:
        noise = torch.randn_like(images)
        t, x, flow = self.matcher.sample_location_and_conditional_flow(noise, images)
        loss = (self.net(t, x, labels) - flow).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def draw(
        self, labels: Int64[Tensor, " b"], sampler: str, steps: int
    ) -> Float[Tensor, "b 1 28 28"]:
        x = torch.randn(len(labels), 1, 28, 28)

        def flow(t: float, x: Tensor) -> Tensor:
            return self.net(torch.full((len(x),), t), x, labels)

        if sampler == "euler":
            for step in range(steps):
                x = x + flow(step / steps, x) / steps
            return x
        half = 1 / steps  # the midpoint rule asks twice a step, so it takes half as many
        for step in range(steps // 2):
            start = 2 * half * step
            x = x + 2 * half * flow(start + half, x + half * flow(start, x))
        return x
