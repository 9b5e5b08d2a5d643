"""Say by exit status 0 that this Python has all that pyproject.toml asks for, from this checkout.

    python .ci/installed.py [EXTRA]...

So that a second `make` installs nothing, and a `.venv` filled by hand is left alone.
"""

import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement  # pip is here before anything else is

ROOT = Path(__file__).resolve().parent.parent


def complete(extras: list[str]) -> bool:
    """Compare what is installed with what is asked for; nothing is imported or fetched."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = [Requirement(line) for line in project["dependencies"]]
    more = [Requirement(line) for name in extras for line in project["optional-dependencies"][name]]
    try:
        itself = metadata.distribution(project["name"])
        versions = {asked: metadata.version(asked.name) for asked in own + more}
    except metadata.PackageNotFoundError:
        return False
    origin = json.loads(itself.read_text("direct_url.json") or "{}").get("url")
    recorded = {str(Requirement(line)) for line in itself.requires or []}
    return (
        origin == ROOT.as_uri()
        and {str(asked) for asked in own} <= recorded
        and all(
            asked.specifier.contains(version, prereleases=True)
            for asked, version in versions.items()
        )
    )


if __name__ == "__main__":
    sys.exit(not complete(sys.argv[1:]))
