"""Look into a vision transformer: which patch looks where, and what is said when patches go.

    lens = Lens(load_vit("vit-nano"))
    look = lens.look(picture)              # one pass; everything below reads from it
    look.attention(layer=3)                # who looks at which patch, head by head
    look.rollout                           # the same, followed through all layers
    look.similarity(layer=3)               # which patches the model takes for alike
    look.answer(keep)                      # what it says when it sees only some of the patches

Shapes: h heads, q askers (the tokens that are no patch, then the patches), n patches, k classes,
y and x rows and columns of patches.
"""

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.vit import ViT, ViTConfig, cost, rollout, similarity
from mmfm.nn import Block


@dataclass(frozen=True)
class Answer:
    """What the model says about a picture, or about what is left of it."""

    probabilities: Float[Tensor, " k"] | None  # None: the model has no classes
    summary: Float[Tensor, " d"]  # the pooled token, on which the probabilities rest

    def likeness(self, other: "Answer") -> float:
        """The cosine between two summaries: 1 where the model saw the same."""
        return float(similarity(torch.stack([self.summary, other.summary]))[0, 1])


class Lens:
    """A model under the lens; it remembers the pictures it saw last, so that looking is quick."""

    def __init__(self, model: ViT, *, memory: int = 256_000_000) -> None:
        self.model = model.eval()
        self.memory = memory  # bytes that the remembered pictures may take
        self._lock = threading.RLock()  # pages ask from several threads; the model works for one
        self._looks: OrderedDict[str, Look] = OrderedDict()

    def look(self, picture: Image.Image) -> "Look":
        """Let the model see a picture, or remember what it made of it."""
        view = self.model.preprocessing.view(picture)
        key = hashlib.sha256(view.tobytes()).hexdigest()
        with self._lock:
            found = self.remembered(key)
            if found is not None:
                return found
            look = self._looks[key] = Look(self.model, picture, key, self._lock)
            while len(self._looks) > 1 and sum(x.size for x in self._looks.values()) > self.memory:
                self._looks.popitem(last=False)
            return look

    def remembered(self, key: str) -> "Look | None":
        """A picture seen before, by its key; None when it has been forgotten."""
        with self._lock:
            if key in self._looks:
                self._looks.move_to_end(key)
            return self._looks.get(key)


class Look:
    """All that one pass over one picture tells."""

    def __init__(
        self,
        model: ViT,
        picture: Image.Image,
        key: str,
        lock: "threading.RLock | None" = None,
    ) -> None:
        self.model, self.key = model, key
        self._lock = lock or threading.RLock()
        self.view = model.preprocessing.view(picture)  # what the model sees, still in colours
        parameter = next(model.parameters())
        image = model.preprocessing(picture).to(parameter.device, parameter.dtype)
        self.image = rearrange(image, "c y x -> 1 c y x")
        with torch.inference_mode():
            out = model(self.image, layers=True)
        self.grid: tuple[int, int] = out.grid
        self.prefix: int = out.prefix
        self._tokens: list[Float[Tensor, "1 t d"]] = out.layers  # before block 0, after it, ...
        self._final: Float[Tensor, "1 t d"] = out.tokens
        self.whole = _answer(out.logits, out.pooled)
        self._attention: tuple[int, Tensor] | None = None  # the layer that was asked for last

    @property
    def size(self) -> int:
        """Bytes that remembering this picture takes, about."""
        return sum(tokens.nbytes for tokens in self._tokens)

    @property
    def depth(self) -> int:
        """How many layers there are to look into."""
        return self.model.config.depth

    @property
    def patches(self) -> int:
        """How many patches the picture was cut into."""
        return self.grid[0] * self.grid[1]

    @cached_property
    def askers(self) -> tuple[str, ...]:
        """The tokens that are no patch, in the order of the rows below; patches come after them.

        `mean` is the mean over all patches where the model pools so, `probe` the learned question
        of attention pooling, which looks once, after the last layer.
        """
        c = self.model.config
        names = ["cls"] * c.cls_token + ["distillation"] * c.distilled
        names += [f"register {number + 1}" for number in range(c.registers)]
        names += ["mean"] * (c.pool in ("mean", "cls+mean")) + ["probe"] * (c.pool == "map")
        return tuple(names)

    @property
    def summing_up(self) -> int:
        """Which row sums the picture up for the answer."""
        name = {"map": "probe", "mean": "mean"}.get(self.model.config.pool, "cls")
        return self.askers.index(name)

    # --- who looks where ----------------------------------------------------------------------

    def attention(self, layer: int) -> Float[Tensor, "h q n"]:
        """How much each asker takes from each patch, head by head; other tokens get the rest."""
        self._check_layer(layer)
        with self._lock, torch.inference_mode():
            if self._attention is None or self._attention[0] != layer:
                weights = self._weights(layer)[0]  # h t t
                rows = [weights[..., self.prefix :]]  # h t n
                if "mean" in self.askers:
                    rows.append(rows[0][:, self.prefix :].mean(dim=1, keepdim=True))
                if "probe" in self.askers:
                    rows.append(self._probe())
                self._attention = (layer, self._in_order(rows, dim=1).float().cpu())
            return self._attention[1]

    @cached_property
    def rollout(self) -> Float[Tensor, "q n"]:
        """Attention followed through all layers: where an asker's contents came from."""
        with self._lock, torch.inference_mode():
            steps = [self._weights(layer).mean(dim=1, keepdim=True) for layer in range(self.depth)]
            flow = rollout(steps)[0][:, self.prefix :]  # t n
            rows = [flow]
            if "mean" in self.askers:
                rows.append(flow[self.prefix :].mean(dim=0, keepdim=True))
            if "probe" in self.askers:
                rows.append(self._probe().mean(dim=0) @ flow[self.prefix :])
            return self._in_order(rows, dim=0).float().cpu()

    def similarity(self, layer: int) -> Float[Tensor, "q n"]:
        """The cosine of each asker's token with each patch's, after a layer.

        The probe is a question and no token of the picture: its row is zero.
        """
        self._check_layer(layer)
        with self._lock, torch.inference_mode():
            tokens = self._tokens[layer + 1][0].float()  # t d
            extra = [tokens[self.prefix :].mean(dim=0, keepdim=True)] * ("mean" in self.askers)
            extra += [tokens.new_zeros(1, tokens.shape[1])] * ("probe" in self.askers)
            asking = self._in_order([tokens, *extra], dim=0)  # q d
            both = similarity(torch.cat([asking, tokens[self.prefix :]]))
            return both[: len(asking), len(asking) :].cpu()

    def as_grid(self, values: Float[Tensor, "... n"]) -> Float[Tensor, "... y x"]:
        """One number a patch, laid out as the patches lie in the picture."""
        return rearrange(values, "... (y x) -> ... y x", y=self.grid[0])

    def nearest(self, asker: int, layer: int, count: int = 5) -> list[tuple[int, float]]:
        """The patches most alike to an asker, with their cosines; itself is left out."""
        cosines = self.similarity(layer)[asker].clone()
        own = asker - len(self.askers)
        if own >= 0:
            cosines[own] = -2
        count = min(count, self.patches - (own >= 0))
        values, order = cosines.topk(count)
        return list(zip(order.tolist(), values.tolist(), strict=True))

    # --- what is said -------------------------------------------------------------------------

    def answer(self, keep: Bool[Tensor, " n"] | Sequence[bool] | None = None) -> Answer:
        """What the model says when it sees only the patches that are kept."""
        if keep is None:
            return self.whole
        keep = torch.as_tensor(keep, dtype=torch.bool)
        if len(keep) != self.patches:
            raise BadInput(
                f"keep says yes or no to each of {self.patches} patches, not {len(keep)}"
            )
        if not keep.any():
            raise BadInput("all patches are masked; keep at least one")
        if keep.all():
            return self.whole
        with self._lock, torch.inference_mode():
            out = self.model(self.image, keep=keep.to(self.image.device))
        return _answer(out.logits, out.pooled)

    # --- inside -------------------------------------------------------------------------------

    def _check_layer(self, layer: int) -> None:
        if not 0 <= layer < self.depth:
            raise BadInput(f"no layer {layer}; the model's layers are 0 to {self.depth - 1}")

    def _weights(self, layer: int) -> Float[Tensor, "1 h t t"]:
        """One layer's attention, from the tokens that came into it; all at once are heavy."""
        block = self.model.blocks[layer]
        assert isinstance(block, Block)
        return block.attention_weights(self._tokens[layer])

    def _probe(self) -> Float[Tensor, "h 1 n"]:
        pool = self.model.attention_pool
        assert pool is not None
        probe = rearrange(pool.probe, "1 d -> 1 1 d")
        return pool.attention.weights(probe, self._final[:, self.prefix :])[0]

    def _in_order(self, rows: list[Tensor], dim: int) -> Tensor:
        """Tokens before the patches, then the two askers that are no token, then the patches."""
        ahead, patches = rows[0].split([self.prefix, self.patches], dim=dim)
        return torch.cat([ahead, *rows[1:], patches], dim=dim)


def _answer(logits: Float[Tensor, "1 k"] | None, pooled: Float[Tensor, "1 d"]) -> Answer:
    probabilities = None if logits is None else logits[0].float().softmax(dim=-1).cpu()
    return Answer(probabilities, pooled[0].float().cpu())


# --- what other patch sizes would cost ----------------------------------------------------------


@dataclass(frozen=True)
class PatchCost:
    """What one picture would cost if it were cut into patches of another size."""

    patch_size: int
    grid: tuple[int, int]
    tokens: int
    attention_flops: int  # the part that grows with the square of the tokens
    flops: int


def patch_costs(config: ViTConfig, height: int, width: int) -> list[PatchCost]:
    """Count the work for every patch size that divides the picture, the rest of the model as is."""
    costs: list[PatchCost] = []
    common = math.gcd(height, width)
    for size in (size for size in range(1, common + 1) if common % size == 0):
        other = replace(config, patch_size=size, image_size=(height, width))
        found = cost(other)
        # Scores and mixtures: two products of tokens x tokens x dim in every layer.
        squared = 4 * config.depth * found.tokens**2 * config.dim
        costs.append(PatchCost(size, other.grid, found.tokens, squared, found.flops))
    return costs
