"""Runs for the tests of the studio: trained at once and in this process, as its own would leave
them."""

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path

from mmfm.tasks import studio as module
from mmfm.tasks import studio_process
from mmfm.tasks.studio import About, Choice, Studio, recipe_of
from mmfm.tasks.train_diffusion import Watch, train_diffusion

TINY = Choice("digits", minutes=1.0, size="tiny")


def trained(
    studio: Studio,
    name: str,
    choice: Choice = TINY,
    *,
    steps: int = 24,
    made: int = 0,
    state: str = "stopped",
    like: str = "",
    changed: str = "",
    guess: str = "",
) -> Path:
    """Leave a run in a studio; `made` tells which of several is the newer one."""
    folder = studio.folder / name
    folder.mkdir(parents=True)
    about = About(name, f"2026-11-21T12:00:{made:02}+00:00", choice, "cpu", like, changed, guess)
    (folder / "studio.json").write_text(json.dumps(asdict(about)))
    recipe = recipe_of(choice, 1).changed(
        {"minutes": None, "steps": steps, "batch": 32, "precision": "fp32"}
    )
    live = studio_process.Live(folder)
    moment, studio_process._MOMENT = studio_process._MOMENT, 0.0
    try:
        reports = train_diffusion(
            choice.data, folder / "run", recipe, watch=Watch(share=1.0), device="cpu"
        )
        for report in reports:
            live.add(report.step)
    finally:
        studio_process._MOMENT = moment
    (folder / "state.json").write_text(json.dumps({"state": state, "turn": 0}))
    return folder


def end_all(studio: Studio) -> None:
    """Kill what is still at work in a studio."""
    for name in studio.names():
        folder = studio.folder / name
        if module._is_held(folder / ".lock"):
            os.kill(json.loads((folder / "state.json").read_text())["pid"], signal.SIGKILL)
    for child in studio._children.values():
        child.kill()
        child.wait()
