"""Run the command line as `python -m crnet`, or as `torchrun --nproc-per-node 4 -m crnet train ...`."""

from __future__ import annotations

from crnet.cli.main import run

if __name__ == "__main__":
    run()
