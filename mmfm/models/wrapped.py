"""Models that are no pair of plain transformers, run by open_clip behind the same methods as ours.

ConvNeXt, ResNet, MobileCLIP, EVA, ViTamin, CoCa, towers of transformers' language models: whatever
open_clip builds from its settings. Its numbers are its own.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmfm import hub
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadWeights
from mmfm.models import weights
from mmfm.models.clip import Towers, TwoTowers
from mmfm.models.tokenizer import Tokenizer

# What open_clip's models call the parts of their towers.
_PARTS = {
    "image": ("visual",),
    "text": (
        "text",
        "text_decoder",
        "transformer",
        "token_embedding",
        "positional_embedding",
        "ln_final",
        "text_projection",
    ),
}


class OpenCLIP(TwoTowers):
    """A model that open_clip builds from a `model_cfg`."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        preprocessing: Preprocessing,
        tokenizer: Tokenizer | None = None,
        *,
        name: str = "",
    ) -> None:
        super().__init__()
        self.settings = deepcopy(dict(settings))
        self.model = _built(settings, name)
        self.scale = self.model.logit_scale
        self.bias = getattr(self.model, "logit_bias", None)
        self.dim = settings["embed_dim"]
        # What a language model knows, its own settings said when it was built.
        language_model = getattr(getattr(self.model, "text", None), "config", None)
        known = getattr(language_model, "vocab_size", None)
        self.vocabulary = known or settings["text_cfg"].get("vocab_size", 49_408)
        self.preprocessing = preprocessing
        self.tokenizer = tokenizer
        self.name, self.origin = name, "random"
        self.towers: Towers = "both"

    def read(self, path: Path) -> None:
        """Read a weight file, as strictly as open_clip reads it."""
        from open_clip.factory import load_checkpoint

        try:
            load_checkpoint(self.model, str(path), strict=True)  # type: ignore[arg-type]
        except Exception as error:  # a damaged file meets nearly any exception in there
            reason = " ".join(str(error).split())
            raise BadWeights(f"{path}: open_clip cannot read it ({reason:.300})") from error
        # CoCa's writer of captions is never asked here, and a part of it open_clip leaves undrawn.
        state = self.model.state_dict()
        asked = {key: x for key, x in state.items() if not key.startswith("text_decoder.")}
        weights.check_finite(asked, str(path))

    def keep(self, towers: Towers) -> None:
        """Let go of the tower that is not wanted, and of its memory."""
        self.towers = towers
        if towers != "both":
            for part in _PARTS["text" if towers == "image" else "image"]:
                if hasattr(self.model, part):
                    setattr(self.model, part, None)

    def project_image(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b e"]:
        """Put pictures into the common space, at whatever length the tower gives them."""
        if self.towers == "text":
            raise BadInput(f"{self.source}: was loaded without its picture tower")
        return self.model.encode_image(images, normalize=False)

    def project_text(self, ids: Int64[Tensor, "b n"]) -> Float[Tensor, "b e"]:
        """Put texts into the common space, at whatever length the tower gives them."""
        if self.towers == "image":
            raise BadInput(f"{self.source}: was loaded without its text tower")
        return self.model.encode_text(ids, normalize=False)


def _built(settings: Mapping[str, Any], name: str) -> Any:
    """What open_clip's own factory builds from these settings, without a weight."""
    language_model = settings["text_cfg"].get("hf_model_name")
    if language_model:
        # Its settings lie in a repository of their own, where open_clip will look for them.
        hub.fetch_files(language_model, name, [["config.json"]])
    from open_clip import CLIP, CoCa, CustomTextCLIP

    given = deepcopy(dict(settings))
    given["vision_cfg"].pop("timm_model_pretrained", None)
    if language_model:
        given["text_cfg"]["hf_model_pretrained"] = False
    custom = given.pop("custom_text", False) or language_model
    kind: type[nn.Module] = CustomTextCLIP if custom else CLIP
    if "multimodal_cfg" in given:
        kind = CoCa
    try:
        return kind(**given)
    except Exception as error:  # options that no version, or another one, of open_clip knows
        reason = " ".join(str(error).split())
        raise BadInput(f"{name}: open_clip cannot build it ({reason:.300})") from error
