"""Write into the card of each bundled checkpoint the checksum of its weights.

    python .ci/seal.py [FOLDER]...

The gate (tests/test_gate.py) and `mmfm doctor` hold the weights against it. Seal a checkpoint when
it has become what it shall be: a checksum that is renewed without a look guards nothing.
"""

import re
import sys
from pathlib import Path

from mmfm.files import digest, write_whole

CHECKPOINTS = Path(__file__).resolve().parent.parent / "assets" / "checkpoints"


def seal(folder: Path) -> str:
    """Seal one checkpoint; what was done is said."""
    card, checksum = folder / "README.md", digest(folder / "model.safetensors")
    text = card.read_text(encoding="utf-8")
    head = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    if head is None:
        raise SystemExit(f"{card}: begins with no head between two lines of ---")
    line = f"sha256: {checksum}\n"
    sealed, count = re.subn(r"^sha256:.*\n", line, head[1], flags=re.MULTILINE)
    if not count:
        sealed = head[1] + line
    if sealed == head[1]:
        return f"{folder.name}: as it was, {checksum[:12]}"
    write_whole(card, f"---\n{sealed}---\n{text[head.end() :]}")
    return f"{folder.name}: {checksum[:12]}"


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    for folder in folders or sorted(path for path in CHECKPOINTS.iterdir() if path.is_dir()):
        print(seal(folder))
