"""The losses are open_clip's; chunks and many processes change their cost, not their value."""

from pathlib import Path

import open_clip
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.parallel import DistributedDataParallel

from mmfm.errors import BadInput
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.contrastive import Kind, contrastive_loss, info_nce, sigmoid_loss
from mmfm.models.vit import ViTConfig

assert open_clip.__version__  # the tests are about this library's losses
PAIRS = 8
KINDS: tuple[Kind, ...] = ("info_nce", "sigmoid")


def rows(seed: int, count: int = PAIRS) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 16, generator=generator, dtype=torch.float64)
    return nn.functional.normalize(x, dim=-1)


def tiny(bias: float | None = -3.0) -> CLIP:
    image = ViTConfig((8, 8), 4, dim=16, depth=2, heads=2, mlp_dim=24)
    text = TextConfig(vocabulary=40, context=6, dim=16, depth=2, heads=2, mlp_dim=24)
    model = CLIP(CLIPConfig(image, text, dim=12, scale=1.5, bias=bias))
    generator = torch.Generator().manual_seed(3)
    model.reset(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.double()


def batch(count: int = PAIRS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {
        "images": torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64),
        "ids": torch.randint(0, 40, (count, 6), generator=generator),
        "groups": torch.arange(count) // 2 * 7,
    }


HOW = ("groups", "alone", "truth", "some patches")


def known(how: str) -> tuple[dict[str, Tensor], Tensor | None]:
    """A batch of which more or less is known: (the batch, what is true of what)."""
    pairs, table = batch(), None
    if how == "alone":
        del pairs["groups"]
    if how == "truth":
        pairs |= truth()
        table = pairs.pop("table")
    if how == "some patches":
        pairs["keep"] = torch.tensor([[True, False, False, True], [False, True, True, False]] * 4)
    return pairs, table


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=0, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
    assert max(g.abs().max() for g in expected.values()) > 1e3 * tolerance


# --- the values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_both_losses_are_open_clips_in_value_and_gradient(
    dtype: torch.dtype, tolerance: float
) -> None:
    for ours, theirs, bias in (
        (info_nce, ClipLoss(), None),
        (sigmoid_loss, SigLipLoss(), torch.tensor(-2.0)),
    ):
        inputs = [rows(1), rows(2), torch.tensor(9.0)] + ([] if bias is None else [bias])
        a, b = ([x.to(dtype).requires_grad_() for x in inputs] for _ in range(2))
        mine = ours(*a)
        yours = theirs(*b)
        torch.testing.assert_close(mine, yours, rtol=tolerance, atol=tolerance)
        mine.backward()
        yours.backward()
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x.grad, y.grad, rtol=tolerance, atol=tolerance)


def test_pairs_of_one_group_are_right_answers_of_each_other() -> None:
    image, text, scale = rows(1), rows(2), torch.tensor(5.0, dtype=torch.float64)
    groups = torch.tensor([0, 1, 0, 2, 3, 4, 5, 1])
    logits = scale * image @ text.T
    right = (groups[:, None] == groups).double()
    wanted = right / right.sum(1, keepdim=True)
    expected = sum(nn.functional.cross_entropy(x, wanted) for x in (logits, logits.T)) / 2
    found = info_nce(image, text, scale, groups=groups)
    torch.testing.assert_close(found, expected)
    sign = 2 * right - 1
    expected = -nn.functional.logsigmoid(sign * (logits - 1)).sum() / PAIRS
    found = sigmoid_loss(image, text, scale, torch.tensor(-1.0).double(), groups=groups)
    torch.testing.assert_close(found, expected)
    for loss in (info_nce, sigmoid_loss):  # groups of one are no groups
        alone = loss(image, text, scale, groups=torch.arange(PAIRS) + 40)
        torch.testing.assert_close(alone, loss(image, text, scale))


def truth() -> dict[str, Tensor]:
    """What 5 kinds show and 7 words say: `table[kind, word]`, and what a batch shows and says."""
    table = torch.eye(5, 7, dtype=torch.bool)
    table[0:3, 5] = table[2:5, 6] = table[4, 0] = True
    return {
        "table": table,
        "groups": torch.tensor([0, 1, 2, 3, 4, 2, 0, 4]),
        "said": torch.tensor([5, 1, 6, 3, 6, 2, 0, 0]),
    }


def test_what_is_true_of_several_pictures_is_a_right_answer_to_each() -> None:
    """Against plain loops, both ways round: who is a dog, and what is a Chihuahua?"""
    image, text, scale = rows(1), rows(2), torch.tensor(5.0, dtype=torch.float64)
    table, groups, said = truth().values()
    logits = scale * image @ text.T
    right = [[bool(table[groups[i], said[j]]) for j in range(PAIRS)] for i in range(PAIRS)]
    assert right != [list(column) for column in zip(*right, strict=True)]
    assert all(right[i][i] for i in range(PAIRS))
    total = 0.0
    for i in range(PAIRS):
        for line, true in (
            (logits[i], right[i]),
            (logits[:, i], [right[j][i] for j in range(PAIRS)]),
        ):
            chances = line.softmax(dim=0)
            logs = [chances[j].log() for j in range(PAIRS) if true[j]]
            total -= sum(logs) / len(logs)
    known = {"groups": groups, "said": said, "truth": table}
    found = info_nce(image, text, scale, **known)
    torch.testing.assert_close(found, torch.as_tensor(total / (2 * PAIRS)))

    total = 0.0
    for i in range(PAIRS):
        for j in range(PAIRS):
            sign = 1 if right[i][j] else -1
            total -= torch.sigmoid(sign * (logits[i, j] - 1)).log()
    found = sigmoid_loss(image, text, scale, torch.tensor(-1.0).double(), **known)
    torch.testing.assert_close(found, torch.as_tensor(total / PAIRS))


def test_without_anything_in_common_a_truth_is_no_truth() -> None:
    image, text, scale = rows(1), rows(2), torch.tensor(5.0, dtype=torch.float64)
    own = {"groups": torch.arange(PAIRS), "said": torch.arange(PAIRS), "truth": torch.eye(8).bool()}
    for loss in (info_nce, sigmoid_loss):
        torch.testing.assert_close(loss(image, text, scale, **own), loss(image, text, scale))


def test_what_cannot_be_asked_for_is_said() -> None:
    with pytest.raises(BadInput, match="no contrastive loss 'triplet'; there are info_nce, sig"):
        contrastive_loss("triplet")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="chunks of 0 pairs"):
        contrastive_loss("sigmoid", chunk=0)


def test_of_pictures_only_the_patches_that_are_kept_are_looked_at() -> None:
    model, (pairs, _) = tiny(), known("some patches")
    out = model(pairs["images"], pairs["ids"], keep=pairs["keep"])
    whole = model(pairs["images"], pairs["ids"])
    assert torch.equal(out.text, whole.text) and not torch.allclose(out.image, whole.image)
    other = pairs["images"].clone()
    other[0, :, :4, 4:] = 9.0  # the second patch, which the first picture does not show
    again = model(other, pairs["ids"], keep=pairs["keep"])
    assert torch.equal(again.image, out.image)


# --- less memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 3, PAIRS, 100])
def test_chunks_change_neither_the_loss_nor_its_gradient(kind: Kind, chunk: int, how: str) -> None:
    model, (pairs, table) = tiny(), known(how)
    plain = contrastive_loss(kind, truth=table)(model, pairs)
    expected = gradients(model, plain)
    bounded = contrastive_loss(kind, chunk=chunk, truth=table)(model, pairs)
    torch.testing.assert_close(bounded, plain, rtol=0, atol=1e-12)
    assert_equal(gradients(model, bounded), expected, 1e-10)


def test_chunks_compute_in_the_precision_of_the_first_time() -> None:
    model, pairs = tiny().float(), batch()
    pairs["images"] = pairs["images"].float()
    found = []
    for chunk in (None, 4):
        with torch.autocast("cpu", torch.bfloat16):
            loss = contrastive_loss("info_nce", chunk=chunk)(model, pairs)
        assert loss.dtype == torch.float32
        found.append(gradients(model, loss))  # outside of autocast, as `fit` does
    for name in found[0]:
        torch.testing.assert_close(found[1][name], found[0][name], rtol=0.05, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_remember_a_fraction_of_what_the_plain_loss_does(kind: Kind) -> None:
    model, pairs = tiny(), batch(256)

    def remembered(chunk: int | None) -> int:
        seen: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            seen[tensor.data_ptr()] = tensor.nbytes
            return tensor

        given = {x.data_ptr() for x in (*pairs.values(), *model.parameters())}
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            kept = contrastive_loss(kind, chunk=chunk)(model, pairs)
        assert kept.requires_grad
        return sum(size for at, size in seen.items() if at not in given)

    assert remembered(8) < remembered(None) / 4


# --- many processes -------------------------------------------------------------------------------


def one_of_many(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    try:
        share = PAIRS // size
        found = {}
        for kind in KINDS:
            for chunk in (None, 1):
                for how in HOW:
                    model = tiny()
                    network = DistributedDataParallel(model)
                    pairs, table = known(how)
                    mine = {n: x[rank * share : (rank + 1) * share] for n, x in pairs.items()}
                    loss = contrastive_loss(kind, chunk=chunk, truth=table)(network, mine)
                    found[kind, chunk, how] = (loss.detach(), gradients(model, loss))
        torch.save(found, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_many_processes_have_the_gradient_of_one_with_the_whole_batch(
    size: int, tmp_path: Path
) -> None:
    started = mp.spawn(one_of_many, (size, str(tmp_path)), nprocs=size, join=False)
    assert started is not None
    try:
        for _ in range(60):
            if started.join(timeout=2):
                break
        else:
            raise AssertionError("the processes wait for each other")
    finally:
        for process in started.processes:
            process.kill()
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(size)]
    for (kind, chunk, how), (_, first) in found[0].items():
        model, (pairs, table) = tiny(), known(how)
        loss = contrastive_loss(kind, truth=table)(model, pairs)
        mean = torch.stack([shares[kind, chunk, how][0] for shares in found]).mean()
        torch.testing.assert_close(mean, loss.detach(), rtol=0, atol=1e-12)
        expected = gradients(model, loss)
        assert_equal(first, expected, 1e-10)
        for shares in found[1:]:
            assert_equal(shares[kind, chunk, how][1], expected, 1e-10)
