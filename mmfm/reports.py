"""What a training tells as it goes, and what it leaves in its folder for a person to use.

`reports` draws the steps of `train.fit`; at each checkpoint it asks how the averaged model does on
held-out pictures, and puts the model so far and the picture of its loss into the run's folder.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mmfm import plot
from mmfm.files import whole
from mmfm.runs import Run
from mmfm.train import Step

_GLANCE = 1000  # held-out pictures that are enough for a look in between
_SHARE = 0.05  # of the time that was asked for: as much may be spent on looking

Scores = dict[str, float]  # shares of right answers by name, what matters most first


@dataclass
class Report:
    """A step, and what the held-out pictures said after it, if they were asked."""

    step: Step
    scores: Scores = field(default_factory=dict[str, float])
    pictures: int = 0  # how many held-out pictures were asked
    skipped: tuple[tuple[str, str], ...] = ()  # with the first step: (which, why) of the unreadable


def reports(
    steps: Iterator[Step],
    run: Run,
    *,
    measure: Callable[[int], Scores],
    held_out: int,
    save: Callable[[], None],
    skipped: tuple[tuple[str, str], ...] = (),
) -> Iterator[Report]:
    """Follow a training.

    `measure` asks so many of the `held_out` pictures; `save` writes the model into the folder.
    """
    spent_looking, began = 0.0, time.monotonic()
    asked = False
    for step in steps:
        report, skipped, asked = Report(step, skipped=skipped), (), True
        if step.saved and run.writable:
            start = time.monotonic()
            whole_look = step.progress >= 1
            if whole_look or (not step.last and spent_looking <= _SHARE * (start - began)):
                report.pictures = held_out if whole_look else min(_GLANCE, held_out)
                report.scores = measure(report.pictures)
                run.log(step=step.number, **report.scores, pictures=report.pictures)
            _publish(run, save)
            spent_looking += time.monotonic() - start
        yield report
    if not asked and run.writable:
        # Finished already; but a kill may have struck between the last checkpoint and this.
        if not any(row.get("pictures") == held_out for row in run.rows()[-2:]):
            run.log(step=run.rows()[-1]["step"], **measure(held_out), pictures=held_out)
        _publish(run, save)


def _publish(run: Run, save: Callable[[], None]) -> None:
    """Leave in the run folder what a person wants from it: the model so far, and the picture."""
    save()
    losses = [(row["step"], row["loss"]) for row in run.rows() if "loss" in row]
    picture = plot.curve(_thin(losses), x="step", y="loss")
    with whole(run.folder / "loss.png") as file:
        picture.save(file, "PNG")


def _thin(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """Averages over equal stretches, so that a long run draws as one readable line."""
    size = max(1, len(points) // most)
    stretches = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (stretch[-1][0], sum(loss for _, loss in stretch) / len(stretch)) for stretch in stretches
    ]
