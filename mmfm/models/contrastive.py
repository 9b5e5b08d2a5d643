"""What brings pictures and their captions together, on one process and on many.

    info_nce           which of all the captions is this picture's, and the other way round (CLIP)
    sigmoid_loss       does this caption say this picture: yes or no, pair by pair (SigLIP)
    contrastive_loss   either of them, as `train.fit` calls a loss; `chunk` bounds its memory

Two things grow with the batch: what the towers remember for the gradient, and the table of every
picture against every caption. With `chunk` neither is ever held whole: the towers run without
memory and are run again for the gradient, some pairs at a time (GradCache, Gao et al. 2021), and
so is the table, some rows at a time. The loss and its gradient stay those of the whole batch.

With a `team` of processes each holds its share of the batch, as large as any other's, and gets
its share of the loss: the mean of the shares is the loss of the whole batch, and the mean of the
gradients, which DistributedDataParallel takes, is its gradient.

Shapes: b pairs of this process, n of the whole team, d numbers a vector.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from mmfm.errors import BadInput

Kind = Literal["info_nce", "sigmoid"]


# --- the two losses -----------------------------------------------------------------------------


def info_nce(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""] | None = None,
    *,
    groups: Int64[Tensor, " b"] | None = None,
    said: Int64[Tensor, " b"] | None = None,
    truth: Bool[Tensor, "k w"] | None = None,
    rows: int | None = None,
    team: dist.ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Ask each picture for its caption among all, and each caption for its picture.

    Figure 3 of Radford et al. 2021. There each picture belongs with its own text alone. Pairs that
    share a number in `groups` belong together, because they have the same caption, say: the right
    answer is then spread evenly over them. With a table of `truth`, a picture of group g and a text
    that says s belong together if `truth[g, s]` says so. `rows` bounds the memory.
    """
    images, texts = _gathered(image, team), _gathered(text, team)  # n d
    shows = _numbered(groups, image, team)  # b, n
    says = shows if said is None else _numbered(said, image, team)  # b, n
    of_pictures = partial(_choice, scale, bias, truth)
    of_texts = partial(_choice, scale, bias, None if truth is None else truth.T)
    asked = _by_rows(of_pictures, image, shows[0], texts, says[1], rows)
    asked = asked + _by_rows(of_texts, text, says[0], images, shows[1], rows)
    return asked / (2 * len(image))


def sigmoid_loss(
    image: Float[Tensor, "b d"],
    text: Float[Tensor, "b d"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""] | None = None,
    *,
    groups: Int64[Tensor, " b"] | None = None,
    said: Int64[Tensor, " b"] | None = None,
    truth: Bool[Tensor, "k w"] | None = None,
    rows: int | None = None,
    team: dist.ProcessGroup | None = None,
) -> Float[Tensor, ""]:
    """Ask of each picture and each caption, pair by pair, whether they belong together.

    Algorithm 1 of Zhai et al. 2023. Pairs of one group belong together, or what `truth` says does
    (see `info_nce`). `rows` bounds the memory.
    """
    mine, everyone = _numbered(groups, image, team)  # b, n
    if said is not None:
        _, everyone = _numbered(said, image, team)
    judge = partial(_verdicts, scale, bias, truth)
    total = image.new_zeros((), dtype=scale.dtype)
    for owner, texts in _passed_around(text, team):
        theirs = everyone[owner * len(text) : (owner + 1) * len(text)]
        total = total + _by_rows(judge, image, mine, texts, theirs, rows)
    return total / len(image)


def contrastive_loss(
    kind: Kind, *, chunk: int | None = None, truth: Bool[Tensor, "k w"] | None = None
) -> Callable[[nn.Module, dict[str, Tensor]], Float[Tensor, ""]]:
    """A loss for `train.fit`: of a CLIP and a batch of `images`, `ids` and, perhaps, `groups`.

    With `truth`, `groups` tells what each picture shows, and `said` what each caption says. With
    `keep` only those patches are looked at. Under `torchrun` it is the loss of all processes.
    `chunk`, in pairs, bounds what it remembers.
    """
    losses = {"info_nce": info_nce, "sigmoid": sigmoid_loss}
    if kind not in losses:
        raise BadInput(f"no contrastive loss {kind!r}; there are {', '.join(get_args(Kind))}")
    if chunk is not None and chunk < 1:
        raise BadInput(f"chunks of {chunk} pairs are not possible; name at least one")

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Float[Tensor, ""]:
        images, ids, keep = batch["images"], batch["ids"], batch.get("keep")
        if chunk is None:
            out = model(images, ids) if keep is None else model(images, ids, keep=keep)
            image, text = out.image, out.text
        else:
            # Through DistributedDataParallel, which must see one forward for every backward.
            out = model(images=None, ids=None)
            image, text = in_chunks(_unwrapped(model), images, ids, chunk, keep)
        return losses[kind](
            image,
            text,
            out.scale,
            out.bias,
            groups=batch.get("groups"),
            said=batch.get("said"),
            truth=truth,
            rows=chunk,
            team=_team(),
        )

    return loss


def in_chunks(
    model: nn.Module,
    images: Float[Tensor, "b c y x"],
    ids: Int64[Tensor, "b n"],
    chunk: int,
    keep: Bool[Tensor, "b n"] | None = None,
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
    """The rows of pictures and texts, for whose gradient the towers will run again, by chunks."""

    def image(part: Tensor, kept: Tensor | None) -> Tensor:
        return model(images=part).image if kept is None else model(images=part, keep=kept).image

    def text(part: Tensor) -> Tensor:
        return model(ids=part).text

    parts = images.split(chunk)
    kept = [None] * len(parts) if keep is None else keep.split(chunk)
    # Under the autocast and the random numbers of the first time, too.
    images_of = [
        checkpoint(image, *both, use_reentrant=False) for both in zip(parts, kept, strict=True)
    ]
    texts_of = [checkpoint(text, part, use_reentrant=False) for part in ids.split(chunk)]
    return torch.cat(images_of), torch.cat(texts_of)


# --- the table of every row against every other, some rows at a time ------------------------------

_Measure = Callable[[Tensor, Tensor, Tensor, Tensor], Float[Tensor, ""]]


def _by_rows(
    measure: _Measure,
    own: Float[Tensor, "b d"],
    mine: Int64[Tensor, " b"],
    others: Float[Tensor, "m d"],
    theirs: Int64[Tensor, " m"],
    rows: int | None,
) -> Float[Tensor, ""]:
    """The sum of a measure over all rows of the table; with `rows`, so many are held at a time."""
    if rows is None:
        return measure(own, mine, others, theirs)
    total = own.new_zeros(())
    for some, numbers in zip(own.split(rows), mine.split(rows), strict=True):
        total = total + checkpoint(measure, some, numbers, others, theirs, use_reentrant=False)
    return total


def _choice(
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""] | None,
    truth: Bool[Tensor, "k w"] | None,
    own: Float[Tensor, "b d"],
    mine: Int64[Tensor, " b"],
    others: Float[Tensor, "m d"],
    theirs: Int64[Tensor, " m"],
) -> Float[Tensor, ""]:
    """How surprised each row is by its right answers, if it chooses by a softmax."""
    # A bias changes no choice, but DistributedDataParallel waits for every weight's gradient.
    logits, right = _table(scale, bias, truth, own, mine, others, theirs)  # b m
    wanted = right / right.sum(dim=1, keepdim=True)
    return (logits.logsumexp(dim=1) - (wanted * logits).sum(dim=1)).sum()


def _verdicts(
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""] | None,
    truth: Bool[Tensor, "k w"] | None,
    own: Float[Tensor, "b d"],
    mine: Int64[Tensor, " b"],
    others: Float[Tensor, "m d"],
    theirs: Int64[Tensor, " m"],
) -> Float[Tensor, ""]:
    """How surprised each cell is by the truth, if it says yes or no by a sigmoid."""
    logits, right = _table(scale, bias, truth, own, mine, others, theirs)  # b m
    return -F.logsigmoid(torch.where(right, logits, -logits)).sum()


def _table(
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""] | None,
    truth: Bool[Tensor, "k w"] | None,
    own: Float[Tensor, "b d"],
    mine: Int64[Tensor, " b"],
    others: Float[Tensor, "m d"],
    theirs: Int64[Tensor, " m"],
) -> tuple[Float[Tensor, "b m"], Bool[Tensor, "b m"]]:
    """Every row against every other one, and where they belong together."""
    # Cosines that are multiplied by a hundred need more digits than bf16 has.
    with torch.autocast(own.device.type, enabled=False):
        logits = scale * own @ others.T
        logits = logits if bias is None else logits + bias
    if truth is None:
        return logits, rearrange(mine, "b -> b 1") == theirs
    return logits, truth[rearrange(mine, "b -> b 1"), theirs]


# --- many processes -------------------------------------------------------------------------------


def _team() -> dist.ProcessGroup | None:
    """All processes of this training, if there are several."""
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return dist.group.WORLD if several else None


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, DistributedDataParallel) else model


def _numbered(
    groups: Int64[Tensor, " b"] | None, image: Float[Tensor, "b d"], team: dist.ProcessGroup | None
) -> tuple[Int64[Tensor, " b"], Int64[Tensor, " n"]]:
    """The group of each pair of this process, and of each pair of the team."""
    if groups is None:
        first = 0 if team is None else dist.get_rank(team) * len(image)
        groups = torch.arange(first, first + len(image), device=image.device)
    if team is None:
        return groups, groups
    everyone = [torch.empty_like(groups) for _ in range(dist.get_world_size(team))]
    dist.all_gather(everyone, groups, team)
    return groups, torch.cat(everyone)


def _gathered(x: Float[Tensor, "b d"], team: dist.ProcessGroup | None) -> Float[Tensor, "n d"]:
    return x if team is None else cast(Tensor, _Gather.apply(x, team))


class _Gather(Function):
    """Everyone's rows, one process below the other; their gradient comes back from everyone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, team: dist.ProcessGroup) -> Tensor:
        ctx.team, ctx.rows = team, len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size(team))]
        dist.all_gather(parts, x.contiguous(), team)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].contiguous()
        dist.all_reduce(whole, group=ctx.team)
        first = dist.get_rank(ctx.team) * ctx.rows
        return whole[first : first + ctx.rows], None


def _passed_around(
    text: Float[Tensor, "b d"], team: dist.ProcessGroup | None
) -> Iterator[tuple[int, Float[Tensor, "b d"]]]:
    """Each process's texts with its number, handed on from neighbour to neighbour, own ones first.

    So no process ever holds the texts of more than one other.
    """
    if team is None:
        yield 0, text
        return
    rank, size = dist.get_rank(team), dist.get_world_size(team)
    for hop in range(size):
        if hop:
            text = cast(Tensor, _HandOn.apply(text, team))
        yield (rank - hop) % size, text


class _HandOn(Function):
    """Give one's rows to the next process and take those of the one before."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, team: dist.ProcessGroup) -> Tensor:
        ctx.team = team
        return _handed(x, team, by=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _handed(gradients[0], ctx.team, by=-1), None


def _handed(x: Tensor, team: dist.ProcessGroup, by: int) -> Tensor:
    rank, size = dist.get_rank(team), dist.get_world_size(team)
    there, back = (
        dist.get_global_rank(team, number) for number in ((rank + by) % size, (rank - by) % size)
    )
    taken = torch.empty_like(x)
    give = dist.P2POp(dist.isend, x.contiguous(), there, team)
    take = dist.P2POp(dist.irecv, taken, back, team)
    for work in dist.batch_isend_irecv([give, take]):
        work.wait()
    return taken
