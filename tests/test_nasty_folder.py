"""Over a folder of the nastiest files every one is answered or named, and the run ends well."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nasty
import pytest
from nasty import Nasty

from mmfm.data.folders import picture_files
from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, Nasty]]:
    folder = tmp_path_factory.mktemp("nasty")
    made = {folder / nasty.name: nasty for nasty in nasty.make(folder)}
    yield folder, made
    (folder / "special" / "closed").chmod(0o755)  # so that it can be cleared away


def readable(nasty: Nasty) -> bool:
    return nasty.error is None and (ROOT or not nasty.forbidden)


def test_the_corpus_is_large_and_of_many_kinds(corpus):
    _, made = corpus
    assert len(made) >= 60
    assert sum(n.error is None and n.listed for n in made.values()) >= 40
    assert sum(n.error is not None for n in made.values()) >= 40


@pytest.mark.timeout(120)
def test_each_file_is_found_and_opens_as_expected_or_says_why_not(corpus):
    folder, made = corpus
    taken = set(picture_files(folder).files)
    wrong = []
    for path, expected in made.items():
        if expected.forbidden and not ROOT:
            continue
        if (path in taken) != expected.listed:
            wrong.append((expected.name, "taken" if path in taken else "not taken"))
        if not expected.listed:
            continue
        try:
            picture = open_picture(path)
        except MmfmError as error:
            reason = getattr(error, "reason", str(error))
            if expected.error is None or not re.search(expected.error, reason) or "\n" in reason:
                wrong.append((expected.name, reason))
            continue
        corner = picture.getpixel((0, 0))
        far = max(abs(a - b) for a, b in zip(corner, expected.corner or corner, strict=True))
        if expected.error is not None or picture.size != expected.size or far > 12:
            wrong.append((expected.name, picture.size, corner))
    assert not wrong


@pytest.mark.timeout(180)
def test_classify_answers_or_names_every_file_in_order_and_ends_with_3(corpus, tmp_path):
    folder, made = corpus
    wish = ["classify", folder, "--labels", "red circle,star", "--model", "clip-shapes", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "mmfm", *map(str, wish)],
        capture_output=True, timeout=150, stdin=subprocess.DEVNULL,
        env=os.environ | {"MMFM_CACHE": str(tmp_path / "cache"), "MMFM_STORE": str(tmp_path / "s")},
    )  # fmt: skip
    out, said = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 3, said[-2000:]
    assert "Traceback" not in said and "site-packages" not in said
    rows = [json.loads(line) for line in out.split("\n")[:-1]]
    paths = [Path(row["path"]) for row in rows]
    expected = sorted(
        path for path, nasty in made.items() if nasty.listed and (ROOT or not nasty.forbidden)
    )
    assert [path for path in paths if path in expected] == expected and paths == sorted(paths)
    for row in rows:
        nasty = made[Path(row["path"])]
        if readable(nasty):
            assert row.get("label") in ("red circle", "star"), row
        else:
            assert re.search(nasty.error or "Permission denied", row["error"]), row
            assert str(folder) not in row["error"] and "\n" not in row["error"]
    for path, nasty in made.items():
        if nasty.error is not None and not nasty.listed:
            assert path.name in said, f"{nasty.name} is named by nobody"


# Root may read everything: who looks here is someone else, in a process of its own.
AS_NOBODY = """
import json, os, sys
from pathlib import Path
from PIL import Image
from mmfm.data.folders import picture_files
from mmfm.data.loading import prepared
from mmfm.data.pictures import Preprocessing
Image.init()
os.setgid(65534)
os.setuid(65534)
os.chdir("/")
found = picture_files(Path(sys.argv[1]))
prepare = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)
reasons = {file.name: prepared(file, prepare) for file in found.files}
reasons = {name: why if isinstance(why, str) else None for name, why in reasons.items()}
print(json.dumps([reasons, {path.name: why for path, why in found.unreadable}]))
"""


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_what_may_not_be_read_is_named_with_that_reason(tmp_path_factory):
    # Not below pytest's own folder, which nobody else may enter.
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        made = nasty.make(folder)
        asked = [sys.executable, "-c", AS_NOBODY, str(folder / "special")]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        reasons, unreadable = json.loads(done.stdout)
        assert reasons["forbidden.jpg"] == "Permission denied"
        assert unreadable["forbidden"] == "Permission denied"
        assert "cannot be listed: Permission denied" in unreadable["closed"]
        assert sum(n.forbidden for n in made) == 3
    finally:
        shutil.rmtree(folder)
