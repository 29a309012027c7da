"""What all commands share: exit codes."""

from __future__ import annotations

EXIT_DONE, EXIT_FAILURES, EXIT_ERROR = 0, 1, 2
