"""`python -m mmfm` is `mmfm`; `torchrun -m mmfm train ...` starts several that train together."""

import sys

from mmfm.cli import main

sys.exit(main())
