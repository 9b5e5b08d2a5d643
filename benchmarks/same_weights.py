"""One CLIP of the size of ViT-B/32, with random weights, written as each package reads it.

What it answers means nothing; the work is the same as with trained weights, whoever does it.
"""

import json
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor, nn

# transformers' names of what lies in a block, beside open_clip's.
_IN_A_BLOCK = {
    "layer_norm1": "ln_1",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_NORMS = {
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "text_model.final_layer_norm": "ln_final",
}
_TENSORS = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
}


def random_clip(seed: int = 0) -> nn.Module:
    """open_clip's own ViT-B-32, as it draws its weights."""
    import open_clip

    torch.manual_seed(seed)
    return open_clip.create_model("ViT-B-32", pretrained=None).eval()


def write_open_clip(clip: nn.Module, folder: Path) -> None:
    """A folder as open_clip publishes it; it reads it as local-dir:FOLDER, and mmfm as FOLDER."""
    import open_clip

    folder.mkdir(parents=True)
    save_file(dict(clip.state_dict()), folder / "open_clip_model.safetensors")
    settings = {
        "model_cfg": open_clip.get_model_config("ViT-B-32"),
        "preprocess_cfg": {
            "mean": open_clip.OPENAI_DATASET_MEAN,
            "std": open_clip.OPENAI_DATASET_STD,
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(settings))


def write_transformers(clip: nn.Module, folder: Path) -> None:
    """A folder as transformers saves it, with CLIP's tokenizer out of open_clip's vocabulary."""
    import transformers
    from open_clip.tokenizer import SimpleTokenizer

    # As open_clip's ViT-B-32 has it; OpenAI's own models have the slower quick_gelu.
    config = transformers.CLIPConfig(
        text_config={"eos_token_id": 49407, "hidden_act": "gelu"},
        vision_config={"hidden_act": "gelu"},
    )
    model = transformers.CLIPModel(config)
    model.load_state_dict(_as_transformers_names_it(clip.state_dict()), strict=True)
    model.save_pretrained(folder)
    simple = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(piece, piece): number for piece, number in simple.encoder.items()}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=list(simple.bpe_ranks))
    transformers.CLIPProcessor(transformers.CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def write_rclip(clip: nn.Module, folder: Path) -> None:
    """The files that rclip looks for in RCLIP_DATADIR before it asks the network.

    It prepares pictures of 256x256 pixels; the graph cuts out the middle, so that the tower has no
    more to do than the others'.
    """
    import open_clip

    class Middle(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return clip.encode_image(images[:, :, 16:240, 16:240])

    class Texts(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return clip.encode_text(ids)

    models = folder / "ViT-B-32-256-datacomp_s34b_b86k"
    models.mkdir(parents=True)
    (folder / "tokenizer").mkdir()
    pictures, ids = torch.randn(2, 3, 256, 256), torch.ones(2, 77, dtype=torch.int64)
    for module, given, name in ((Middle(), pictures, "visual"), (Texts(), ids, "textual")):
        torch.onnx.export(
            module.eval(),
            (given,),
            models / f"{name}.onnx",
            input_names=["input"],
            dynamic_shapes=({0: torch.export.Dim("b")},),
            external_data=False,
            verbose=False,
        )
    vocabulary = Path(open_clip.tokenizer.default_bpe())
    (folder / "tokenizer" / vocabulary.name).write_bytes(vocabulary.read_bytes())


def _as_transformers_names_it(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {theirs: state[name] for theirs, name in _TENSORS.items()}
    found |= {theirs: state[name].T.contiguous() for theirs, name in _TRANSPOSED.items()}
    several = dict(_NORMS)
    for theirs, tower in (("vision_model", "visual."), ("text_model", "")):
        for block in range(12):
            there = f"{theirs}.encoder.layers.{block}"
            here = f"{tower}transformer.resblocks.{block}"
            several |= {f"{there}.{a}": f"{here}.{b}" for a, b in _IN_A_BLOCK.items()}
            for kind in ("weight", "bias"):
                parts = rearrange(
                    state[f"{here}.attn.in_proj_{kind}"], "(three d) ... -> three d ...", three=3
                )
                found |= {
                    f"{there}.self_attn.{which}_proj.{kind}": part.contiguous()
                    for which, part in zip("qkv", parts, strict=True)
                }
    for theirs, name in several.items():
        found |= {f"{theirs}.{kind}": state[f"{name}.{kind}"] for kind in ("weight", "bias")}
    return found
