"""A small network of diffusers' own, with random weights: what stock pipelines are made of."""

from typing import Any

from diffusers import UNet2DModel

STOCK: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}


def stock_unet(**options: Any) -> UNet2DModel:
    """Such a network, but for what is said otherwise; it is asked, not trained."""
    return UNet2DModel(**{**STOCK, **options}).eval()
