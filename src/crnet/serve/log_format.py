"""The log of the service: one JSON document per line, without names, addresses, transcripts or ids of jobs."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

LEVELS = {logging.DEBUG: "debug", logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "critical"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": LEVELS.get(record.levelno, "info"),  # the command line has renamed the levels
            "event": record.getMessage().strip(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            document["traceback"] = _stack(record.exc_info[1])
        return json.dumps(document)


def _stack(error: BaseException) -> str:
    """Return the traceback of an error and its cause without their messages, which may repeat a visitor's words."""
    cause = error.__cause__ or error.__context__
    before = "" if cause is None else f"{_stack(cause)}\n\n"
    lines = "".join(traceback.format_tb(error.__traceback__))
    return f"{before}Traceback (most recent call last):\n{lines}{type(error).__name__}"


def log_as_json(*names: str) -> None:
    """Let loggers write JSON to the standard error stream; "" is the one of all that have no own handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
