"""benchmarks/diffusion_*.py: a run is known by all that decides it, and two rulers decide."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mmfm.data.labelled import LabelledPictures
from mmfm.tasks.train_diffusion import DiffusionRecipe
from mmfm.tasks.train_few_steps import METHODS, FewStepsRecipe, recipe_for

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import ruler_spoiled
from diffusion_minutes import digest, verdict
from diffusion_peers import report
from diffusion_results import figures


def known_by(**tables: dict[str, Any]) -> str:
    """The digest of a recipe that says this, and nothing else."""
    return digest(DiffusionRecipe.of({**tables, "plan": {"steps": 5, **tables.get("plan", {})}}))


def test_a_run_is_known_by_all_that_its_recipe_says_otherwise_than_usual() -> None:
    usual = known_by()
    others = [
        known_by(model={"mlp": 0}),
        known_by(model={"middle": 0}),
        known_by(plan={"weight_decay": 0.0}),
        known_by(plan={"average": 0}),
        known_by(loss={"drop_label": 0}),
        known_by(augment={"shift": 1}),
    ]
    assert len({usual, *others}) == 7
    said = known_by(
        model={"mlp": 4, "widths": [16, 48, 96]},
        plan={"weight_decay": 0.05, "seed": 7, "betas": [0.9, 0.99]},
        loss={"times": "logit-normal", "drop_label": 0.1},
        augment={"shift": 0},
    )
    assert said == usual
    students = {digest(FewStepsRecipe.read(recipe_for(method))) for method in METHODS}
    assert len(students) == len(METHODS)


def row(ratio: float, *seconds: float, accuracy: float = 0.99, tool: str = "mmfm") -> Any:
    """A run, as one ruler sees it and as the others do."""
    told = {"fid": 3 * ratio, "floor": {"fid": 3.0}, "accuracy": accuracy}
    others = [told | {"fid": 4 * second, "floor": {"fid": 4.0}} for second in seconds]
    return {
        "tool": tool,
        "fid": 3 * ratio,
        "ratio": ratio,
        "accuracy": accuracy,
        "agrees": all(second < 1.5 * ratio for second in seconds),
        "rate": 1.0,
        "seen": 1.0,
        "score": {"rulers": [told, *others]},
    }


def test_a_target_is_kept_in_the_eyes_of_both_rulers_or_not_at_all() -> None:
    assert verdict([row(1.7, 1.6)], 0.98, 1.8) == "kept: 98% at 1.8x or less"
    assert verdict([row(1.7, 1.9)], 0.98, 1.8) == "MISSED: 98% at 1.8x or less"
    assert verdict([row(1.9, 1.7)], 0.98, 1.8).startswith("MISSED")
    assert verdict([row(1.7, 1.9), row(1.6, 1.6), row(1.9, 1.7)], 0.98, 1.8).startswith("kept:")
    strict = row(1.7, 1.6)
    strict["score"]["rulers"][1]["accuracy"] = 0.97
    assert verdict([strict], 0.98, 1.8).startswith("MISSED")
    assert verdict([row(1.7)], 0.98, 1.8).startswith("kept, by one ruler alone")
    assert verdict([row(1.7), row(1.7, 1.7)], 0.98, 1.8).startswith("kept, by one ruler alone")


def test_what_the_second_ruler_says_is_told() -> None:
    assert figures(row(1.5, 1.6)) == (
        "99.00% named right, FID 4.50, 1.50 times the floor (1.60 by the second ruler)"
    )
    assert figures(row(1.0, 2.0)).endswith("(2.00 by the second ruler, which does NOT agree)")
    assert figures(row(1.5)).endswith("1.50 times the floor")


@pytest.mark.parametrize(
    ("ours", "peer", "says"),
    [
        (row(1.0, 1.0), row(4.0, 4.0), "is 0.25 of the best peer's (x), 0.25 by the second"),
        (row(1.0, 2.0), row(4.0, 4.0), "(x), 0.50 by the second ruler; MISSED"),
        (row(1.0), row(4.0, 4.0), "(x), by one ruler alone; kept"),
    ],
)
def test_the_peers_are_beaten_in_the_eyes_of_both_rulers_or_not_at_all(
    ours: Any, peer: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report(5, [ours], [peer | {"tool": "x"}, row(9.0, 9.0, tool="y")])
    assert says in capsys.readouterr().out


def test_digits_are_spoiled_as_it_is_said() -> None:
    labels = torch.arange(200) % 10
    images = torch.randint(0, 256, (200, 28, 28, 1), dtype=torch.uint8)
    real = LabelledPictures(images, labels, tuple("0123456789"), "test")
    for how, spoil in ruler_spoiled.WAYS.items():
        heap, again = spoil(real), spoil(real)
        assert heap.images.dtype == torch.uint8 and torch.equal(heap.images, again.images), how
        assert len(heap) == len(heap.images) == (190 if "1s" in how else 200), how
        assert not torch.equal(heap.images[: len(real)], real.images[: len(heap)]), how
    assert len(ruler_spoiled.WAYS) == 10
    fewer = ruler_spoiled.without_half_the_ones(real)
    assert torch.bincount(fewer.labels).tolist() == [20, 10, *[20] * 8]
    mixed = ruler_spoiled.partly_mixed(real)
    assert int((mixed.images != real.images).flatten(1).any(dim=1).sum()) == 10
