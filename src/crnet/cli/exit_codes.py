"""Exit codes: done; a batch with failures, which are listed; bad input or usage; stopped with Ctrl-C."""

from __future__ import annotations

EXIT_DONE, EXIT_FAILURES, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 2, 130
