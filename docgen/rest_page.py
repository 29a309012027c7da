"""The reference page of the REST API, from the OpenAPI document of the application."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from types import SimpleNamespace
from typing import Any

from crnet.serve.access import AccessPolicy
from crnet.serve.api import Service
from crnet.serve.api_reference import documents, operations
from crnet.serve.app import make_app
from crnet.serve.job_queue import JobQueue
from crnet.serve.limits import Limits
from crnet.serve.storage import Storage
from crnet.serve.uploads import Uploads
from docgen.markdown_text import escaped

PATH = "reference/rest.md"
OPENAPI_PATH = "reference/openapi.json"


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document of a service with the default limits. No worker starts: nothing is scored."""
    with closing(Storage()) as storage:
        worker = SimpleNamespace(system_info={})
        queue = JobQueue([worker], storage, Limits())  # type: ignore[list-item]
        return make_app(Service(queue, Uploads(storage, Limits())), AccessPolicy()).openapi()


def rest_page(api: Mapping[str, Any]) -> str:
    """Return the page: every request and every document."""
    parts = [
        "# REST API",
        "The requests and documents of `crnet serve`, generated from its OpenAPI document"
        " ([openapi.json](openapi.json)). [The REST API and the page](../serve.md) explains how to use them.",
        "## Requests",
    ]
    for operation in operations(api):
        lines = "\n".join(f"- {_line(line)}" for line in operation.lines)
        parts += [f"### `{operation.method} {operation.path}`", _line(operation.text), lines]
    parts.append("## Documents")
    for document in documents(api):
        rows = "\n".join(f"| `{name}` | {_line(text)} |" for name, text in document.fields)
        parts += [f"### {document.name}", _line(document.text), f"| field | content |\n|---|---|\n{rows}"]
    return "\n\n".join(filter(None, parts)) + "\n"


def _line(text: str) -> str:
    return escaped(" ".join(text.split()))
