"""`python -m crnet`, and so `torchrun --nproc-per-node 4 -m crnet train ...`."""

from __future__ import annotations

import sys

from crnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
