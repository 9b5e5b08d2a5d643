"""How good pictures are that take one step, two, four or eight: by each way to teach that.

    python benchmarks/few_steps.py [--methods direct shortcut ...] [--from mnist-nano]
        [--minutes 5] [--seeds 1] [--steps 1 2 4 8] [--data mnist] [--results FOLDER]
        [--count 5000] [--device cpu]

Each run is `mmfm train few-steps --method METHOD --minutes N --seed S`, all from the same weights;
then `mmfm score` with so many steps, as many pictures as make the floor. Beside them the model that
they were made from, undistilled, which with its guidance is asked twice a step. At the end, how
long 100 digits take.

It may be stopped at any time: the same command goes on where it was. A recipe that was changed is
trained anew.

    --minutes 0.1 --count 100 --methods direct      only to see that it works
"""

import argparse
import json
import statistics
import sys
from dataclasses import asdict

from diffusion_minutes import digest, median, verdict
from diffusion_results import Results, Row, add_options, figures, results_of, second_opinions
from diffusion_sampling import in_python

from mmfm import hub
from mmfm.errors import MmfmError
from mmfm.files import digest as digest_of_file
from mmfm.machine import pick_device
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import Sampling, chosen
from mmfm.tasks.score import score
from mmfm.tasks.train_few_steps import (
    METHODS,
    FewStepsRecipe,
    recipe_for,
    resume_few_steps,
    train_few_steps,
)

STEPS, ACCURACY, RATIO = 2, 0.97, 6.0  # what is promised of so many steps
SECONDS = 0.5  # and for 100 digits of so many steps on two cores


class Teacher:
    """The model that students are made from; its own pictures are the first line of the table."""

    def __init__(self, results: Results, name: str, device: str) -> None:
        self.results, self.name, self.device = results, name, device
        self.weights = digest_of_file(hub.find(name).weights[0])[:12]

    def measured(self, steps: int, seed: int) -> Row:
        """How it draws with so few steps itself."""
        den = load_denoiser(self.name, device=self.device)
        how = chosen(den, steps=steps)
        known = {"tool": "few-steps", "method": "none", "from": self.weights, "seed": seed}
        return scored(self.results, den, how, known | {"sampling": asdict(how)})


class Run:
    """A student, trained as soon as a figure is missing."""

    def __init__(self, teacher: Teacher, method: str, minutes: float, seed: int) -> None:
        self.teacher, self.minutes, self.seed = teacher, minutes, seed
        self.method, recipe = method, FewStepsRecipe.read(recipe_for(method))
        plan = {"minutes": minutes, "steps": None, "seed": seed}
        self.recipe = recipe.changed(plan, start=teacher.name)
        self.known: Row = {
            "tool": "few-steps",
            "method": method,
            "from": teacher.weights,
            "minutes": minutes,
            "seed": seed,
            "device": teacher.device,
            "recipe": digest(self.recipe),
        }
        name = f"few-steps-{method}-{minutes:g}min-seed{seed}-{self.known['recipe']}"
        self.folder = teacher.results.folder / name

    def measured(self, steps: int) -> Row:
        """What was found of it, or is found now."""
        how = Sampling(**{**asdict(self.recipe.sampling), "steps": steps})
        known = self.known | {"sampling": asdict(how)}
        if found := self.teacher.results.rows(**known):
            return found[-1]
        facts = self._trained()
        den = load_denoiser(str(self.folder), device=self.teacher.device)
        return scored(self.teacher.results, den, how, known, **facts)

    def _trained(self) -> Row:
        """Train, or go on with a training that was stopped; tells how fast it was."""
        data, device = self.teacher.results.data, self.teacher.device
        if (self.folder / "run.json").is_file():
            reports = resume_few_steps(self.folder, data=data, device=device)
        else:
            reports = train_few_steps(data, self.folder, self.recipe, device=device)
        for report in reports:
            for note in report.step.notes:
                _note(note)
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        last = [row for line in lines if "loss" in (row := json.loads(line))][-1]
        return {"updates": last["step"], "seconds": last["seconds"]}


def scored(results: Results, den: Denoiser, how: Sampling, known: Row, **facts: object) -> Row:
    """The score of what a model draws so: what was found before, or is found now."""
    if found := results.rows(**known):
        return found[-1]
    device = next(den.parameters()).device.type
    measured = score(
        den,
        results.yardstick,
        count=results.count,
        seed=known["seed"],
        device=device,
        warn=_note,
        **asdict(how),
    )
    row = results.keep(known, measured, **facts)
    print(f"{known['method']}, {how.counted}, seed {known['seed']}: {figures(row)}", flush=True)
    return row


def _note(line: str) -> None:
    print(f"    {line}", flush=True)


def seconds(name: str, steps: int, rounds: int = 5) -> float:
    """How long 100 digits take, once the model is loaded."""
    den = load_denoiser(name)
    den.sampling = {**den.sampling, "steps": steps}
    in_python(den, 100, seed=0)  # the first time memory is taken
    return statistics.median(in_python(den, 100, seed) for seed in range(rounds))


def _line(name: str, by_steps: dict[int, list[Row]]) -> str:
    cells = [
        f"{median(rows, 'accuracy'):7.2%} {median(rows, 'ratio'):6.2f}x "
        f"{median(second_opinions(rows), 'ratio'):6.2f}x"
        for rows in by_steps.values()
    ]
    return f"{name:14} {'   '.join(cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--from", dest="teacher", default="mnist-nano")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    results = results_of(arguments)
    teacher = Teacher(results, arguments.teacher, pick_device(arguments.device).type)
    seeds = range(arguments.seeds)
    runs = {
        method: [Run(teacher, method, arguments.minutes, seed) for seed in seeds]
        for method in arguments.methods
    }
    table: dict[str, dict[int, list[Row]]] = {
        "undistilled": {n: [teacher.measured(n, seed) for seed in seeds] for n in arguments.steps}
    }
    for method, students in runs.items():
        table[method] = {n: [run.measured(n) for run in students] for n in arguments.steps}

    print(f"\n{arguments.minutes:g} minutes each, medians of {arguments.seeds}: ", end="")
    print("named right, FID in times the floor, the same by the second ruler")
    print(f"{'':14} {'   '.join(f'{Sampling(steps=n).counted:>23}' for n in arguments.steps)}")
    for name, by_steps in table.items():
        said = ""
        if STEPS in by_steps and name in runs:
            said = f"   {verdict(by_steps[STEPS], ACCURACY, RATIO)}"
        print(_line(name, by_steps) + said)

    print("\n100 digits, in seconds")
    own = load_denoiser(teacher.name).sampling["steps"]
    print(f"{'undistilled':14} {seconds(teacher.name, own):6.2f} with {own} steps")
    for method, students in runs.items():
        took = seconds(str(students[0].folder), STEPS)
        said = f"{'kept' if took < SECONDS else 'MISSED'}: under {SECONDS:g} s"
        print(f"{method:14} {took:6.2f} with {STEPS} steps   {said}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
    except MmfmError as error:
        sys.exit(str(error))
