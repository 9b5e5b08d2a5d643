"""What is known of pictures before a run: what an interrupted one has seen, and with what."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmfm
from mmfm.files import Stamp
from mmfm.memory import Memory


def test_an_interrupted_run_goes_on_with_the_engine_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path / "cache"))
    clip = mmfm.load_clip("clip-shapes")
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file in files:
        Image.new("RGB", (8, 8)).save(file)
    said: list[str] = []

    def memory(*, resume: bool) -> Memory:
        return Memory(clip, files, run=["auto"], store="none", resume=resume, say=said.append)

    first = memory(resume=False)
    assert (first.engine, first.unknown, said) == (None, 3, [])
    stamp = Stamp.of(files[1])
    assert stamp is not None
    first.keeping("int8")([(str(files[1]), stamp, np.ones(clip.dim, np.float32))])
    first.close()

    again = memory(resume=True)
    assert (again.engine, again.unknown) == ("int8", 2) and "going on" in said[-1]
    again.close()
    anew = memory(resume=False)
    assert (anew.engine, anew.unknown) == (None, 3) and "--resume" in said[-1]
    anew.finish()
