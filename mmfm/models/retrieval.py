"""How well pictures and texts find each other among all that are there.

    recall          is a right answer among the first k?
    class_vectors   what a class looks like, said in several captions

A picture's class, asked without any training on classes (zero-shot), is a question like any other:
`recall(images, class_vectors(...), pairs, (1,))`.

Shapes: q questions, a answers, d numbers a vector, p pairs of a question and a right answer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.clip import TwoTowers


def recall(
    questions: Float[Tensor, "q d"],
    answers: Float[Tensor, "a d"],
    pairs: Int64[Tensor, "p 2"],
    at: Sequence[int] = (1, 5),
) -> list[float]:
    """The share of questions with a right answer among the first k, for each k in `at`.

    A question may have several right answers: the nearest counts. A wrong answer that is as near
    as the right one stands before it, so that a model for which all is alike finds nothing.
    """
    asked = pairs[:, 0].unique()
    if len(asked) == 0 or len(answers) == 0:
        raise BadInput("recall needs at least one question with a right answer")
    place = torch.full((len(questions),), -1, device=pairs.device)
    place[asked] = torch.arange(len(asked), device=pairs.device)
    found = torch.zeros(len(at), dtype=torch.int64)
    for start in range(0, len(asked), 500):  # the whole table of large sets does not fit
        some = asked[start : start + 500]
        near = questions[some] @ answers.T  # 500 a
        mine = (place[pairs[:, 0]] >= start) & (place[pairs[:, 0]] < start + len(some))
        right = torch.zeros(near.shape, dtype=torch.bool, device=near.device)
        right[place[pairs[mine, 0]] - start, pairs[mine, 1]] = True
        best = near.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
        ahead = ((near >= best) & ~right).sum(dim=1).cpu()
        found += torch.stack([(ahead < k).sum() for k in at])
    return [count / len(asked) for count in found.tolist()]


def class_vectors(model: TwoTowers, captions: Sequence[Sequence[str]]) -> Float[Tensor, "k d"]:
    """A unit row for each class: the mean of those of its captions (Radford et al. 2021, 3.1.4)."""
    if not captions or not all(captions):
        raise BadInput("every class needs at least one caption")
    rows = model.encode_text([caption for several in captions for caption in several])
    means = [part.mean(dim=0) for part in rows.split([len(several) for several in captions])]
    return F.normalize(torch.stack(means), dim=-1)
