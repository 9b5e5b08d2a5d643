"""A small CLIP of random weights, and a denoiser that reads its words: what it draws is noise, but
every word has a say in it."""

from pathlib import Path

import torch

from mmfm.models.checkpoints import save_clip, save_denoiser
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.denoiser import Denoiser, DenoiserConfig
from mmfm.models.tokenizer import learn
from mmfm.models.vit import ViTConfig
from mmfm.models.words import Reader

SAID = (
    "red heart", "blue heart", "green apple", "smiling face", "cat with sunglasses", "yellow star",
    "빨간 하트", "파란 하트", "웃는 얼굴", "초록 사과", "선글라스 낀 고양이",
)  # fmt: skip
HANDS = ("noto", "fluent_flat")
CONTEXT = 14


def make_clip(seed: int = 1) -> CLIP:
    """Its tokenizer has learned the texts above as whole words."""
    tokenizer = learn(SAID * 4, vocabulary=420, context=CONTEXT)
    image = ViTConfig((16, 16), 8, dim=16, depth=1, heads=2, mlp_dim=24)
    text = TextConfig(
        tokenizer.vocabulary, CONTEXT, dim=24, depth=1, heads=2, mlp_dim=32, pool="end", end=2
    )
    clip = CLIP(CLIPConfig(image, text, dim=12), tokenizer=tokenizer)
    clip.reset(torch.Generator().manual_seed(seed))
    return clip.eval()


def make_denoiser(reader: Reader, *, reads: str = "", **settings: object) -> Denoiser:
    """It reads at 16x16 and at 8x8 places; its weights are large enough that words matter."""
    c = DenoiserConfig(
        image_size=16, channels=3, classes=len(HANDS), embed=32, widths=(8, 16), depths=(1, 1),
        attention=(0, 1), head_dim=8, text_dim=reader.dim, text_context=reader.context,
        text_model=reader.fingerprint, **settings,  # type: ignore[arg-type]
    )  # fmt: skip
    sampling = {"sampler": "euler", "steps": 6, "guidance": 2.0}
    den = Denoiser(c, HANDS, sampling, reads)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in den.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return den.eval()


def save_both(folder: Path) -> Path:
    """A denoiser in a folder, which names the CLIP in the folder beside."""
    clip = make_clip()
    save_clip(clip, folder / "clip")
    save_denoiser(make_denoiser(Reader(clip), reads=str(folder / "clip")), folder / "reads")
    return folder / "reads"
