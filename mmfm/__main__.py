"""`python -m mmfm` is `mmfm`; `torchrun -m mmfm train ...` starts several that train together."""

import sys


def run() -> int:
    """Run one command; Ctrl-C is no fault, not even while things are still being loaded."""
    try:
        from mmfm.cli import main

        return main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
