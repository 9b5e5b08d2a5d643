"""Write into the card of each bundled checkpoint the checksums of its weights and its tokenizer.

    python .ci/seal.py [FOLDER]...

The gate (tests/test_gate.py) and `mmfm doctor` hold the files against them. Seal a checkpoint when
it has become what it shall be: a checksum that is renewed without a look guards nothing.
"""

import re
import sys
from pathlib import Path

from mmfm.files import digest, write_whole
from mmfm.tasks.doctor import CARD, sealed_files

CHECKPOINTS = Path(__file__).resolve().parent.parent / "assets" / "checkpoints"


def seal(folder: Path) -> str:
    """Seal one checkpoint; what was done is said."""
    card, checksums = folder / CARD, {k: digest(path) for k, path in sealed_files(folder).items()}
    text = card.read_text(encoding="utf-8")
    head = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    if head is None:
        raise SystemExit(f"{card}: begins with no head between two lines of ---")
    # All anew, at the end of the head: what is no longer there is no longer sealed.
    rest = re.sub(r"^sha256[\w-]*:.*\n", "", head[1], flags=re.MULTILINE)
    sealed = rest + "".join(f"{key}: {checksum}\n" for key, checksum in checksums.items())
    if sealed == head[1]:
        return f"{folder.name}: as it was, {checksums['sha256'][:12]}"
    write_whole(card, f"---\n{sealed}---\n{text[head.end() :]}")
    return f"{folder.name}: {checksums['sha256'][:12]}"


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    for folder in folders or sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir()):
        print(seal(folder))
