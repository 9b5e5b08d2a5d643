"""From cosines to scores that say what they are.

    among labels    how a sure answer parts among the labels: they add up to 1
    each label      whether a label applies, whatever the others do
    none of these   whether any label applies, or generic texts say as much about the picture

A CLIP's cosine means nothing by itself: .25 is much for one checkpoint and little for another, for
photographs more than for sketches. So a label is held against texts that fit most pictures (the
bank), and a folder's pictures against one another. No fixed cut is made anywhere.

Shapes: n pictures, k labels, m texts of the bank.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmfm.errors import BadData, NotHere
from mmfm.files import write_named

ScoreKind = Literal[
    "among_labels",
    "among_labels_calibrated",
    "each_label",
    "each_label_calibrated",
    "each_label_uncalibrated",
]
SCORE_KINDS: dict[ScoreKind, str] = {
    "among_labels": "probability among these labels; of none of them (--none) against generic "
    "texts, not yet a probability (mmfm evaluate --other fits it)",
    "among_labels_calibrated": "probability among these labels, fitted on labelled pictures",
    "each_label": "probability of each label by itself, as the model was trained to give it",
    "each_label_calibrated": "probability of each label by itself, fitted on labelled pictures",
    "each_label_uncalibrated": "each label by itself against generic texts: an order, and not yet "
    "a probability (mmfm evaluate fits it)",
}

SURE = math.log(10)  # odds of ten to one: there the bank decides alone


@dataclass(frozen=True)
class Calibration:
    """What labelled pictures taught about a model's scores for one set of labels."""

    model: str  # whose scores: a model's fingerprint, and that of the label vectors
    labels: str
    temperature: float = 1.0  # scores among labels are divided by it
    slope: float = 1.0  # each label by itself: sigmoid(slope * margin + offset)
    offset: float = 0.0
    thresholds: tuple[float, ...] = ()  # the probability from which on each label applies
    known_slope: float | None = None  # whether any label applies, fitted on pictures of others
    known_offset: float = 0.0
    pictures: int = 0  # how many it was fitted on
    said: tuple[tuple[str, ...], ...] = ()  # each label as it is shown, then as it is called

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(self.thresholds))
        object.__setattr__(self, "said", tuple(map(tuple, self.said)))
        numbers = (self.temperature, self.slope, self.offset, *self.thresholds)
        numbers += (self.known_slope or 0.0, self.known_offset)
        if not all(math.isfinite(x) for x in numbers):
            raise BadData("a calibration holds numbers only, and one of these is none (NaN, say)")
        if self.temperature <= 0 or not all(0 <= t <= 1 for t in self.thresholds):
            raise BadData("a calibration's temperature is above 0, its thresholds from 0 to 1")

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        settings = {"mmfm": 1, "kind": "calibration", **asdict(self)}
        write_named(path, json.dumps(settings, indent=2, allow_nan=False) + "\n")

    @staticmethod
    def read(path: Path) -> "Calibration":
        """Read what `mmfm evaluate --save` wrote."""
        if not path.is_file():
            raise NotHere(f"{path}: no such calibration; mmfm evaluate DIR --save FILE makes one")
        try:
            settings: Any = json.loads(path.read_text(encoding="utf-8"))
            if settings.pop("kind") != "calibration" or settings.pop("mmfm") != 1:
                raise KeyError("kind")
            return Calibration(**settings)
        except BadData as error:
            raise BadData(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadData(
                f"{path}: not a calibration; mmfm evaluate DIR --save FILE makes one"
            ) from error


# --- numbers from cosines -----------------------------------------------------------------------


def margins(logits: Float[Tensor, "n k"], bank: Float[Tensor, "n m"]) -> Float[Tensor, "n k"]:
    """By how much each label says more about a picture than all of the bank together.

    The logarithm of the odds that a softmax over this label and the bank would give it.
    """
    return logits - bank.logsumexp(dim=1, keepdim=True)


def known(logits: Float[Tensor, "n k"], bank: Float[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """The same for all labels together: below 0, generic texts say more than they do."""
    return logits.logsumexp(dim=1) - bank.logsumexp(dim=1)


def valley(evidence: Float[Tensor, " n"] | Sequence[float]) -> float:
    """Where a folder's own pictures part into those of the labels and others; 0 if they don't.

    Two bells are laid over the evidence of all pictures. If they fit much better than one, stand
    apart, and the bank doubts the lower one, the cut goes where a picture is as likely from
    either; but never so far that it would overrule the bank where that is sure. Without the doubt,
    a folder of dogs and cats would lose its cats for being a little less like cats.
    """
    values = torch.as_tensor(evidence, dtype=torch.float64)
    values = values[values.isfinite()]
    if len(values) < 20 or values.std() < 1e-6:
        return 0.0  # too few to see two heaps in
    from sklearn.mixture import GaussianMixture

    column = values[:, None].numpy()
    one, two = (GaussianMixture(k, random_state=0, n_init=3).fit(column) for k in (1, 2))
    fitted: Any = two
    means, variances = np.ravel(fitted.means_), np.ravel(fitted.covariances_)
    low, high = float(means.min()), float(means.max())
    spread = float(variances.mean()) ** 0.5
    if one.bic(column) - two.bic(column) < 10 or high - low < 2 * spread or low > 0:
        return 0.0
    line = torch.linspace(low, high, 1001, dtype=torch.float64)
    sides = two.predict_proba(line[:, None].numpy())[:, int(means.argmax())]
    cut = float(line[int((torch.from_numpy(sides) >= 0.5).int().argmax())])
    return min(max(cut, -SURE), SURE)
