"""Errors of the API, as problem documents (RFC 9457)."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from crnet.errors import CrnetError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
HTTP_ERRORS = {
    400: "the request is malformed",
    404: "there is nothing at this address (see /docs)",
    405: "this address does not take this method (the header Allow names those it takes)",
    413: "the request is larger than the server accepts",
    416: "the file ends before the range that the request asks for",
}
"""What is wrong with requests that a library refuses."""
RETRY_SOON_S, RETRY_LATER_S = 10, 30  # for requests, and for space on the disk


class ServiceError(CrnetError):
    """A request that the service refuses.

    Args:
        status: HTTP status.
        code: Short name of the problem; clients may rely on it.
        reason: What is wrong, for the person who sent the request.
        remedy: What that person can do.
        retry_after_s: Seconds after which the same request may succeed.
    """

    def __init__(
        self, status: int, code: str, reason: str, *, remedy: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(reason, remedy=remedy)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        """Return the answer to the request."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return problem_response(self.status, self.code, str(self), headers)


def not_found(what: str) -> ServiceError:
    """Return the error for an id that does not exist or has expired."""
    return ServiceError(404, "not-found", f"this {what} does not exist or has expired")


def cannot_store(error: OSError) -> ServiceError:
    """Return the error for a video that the disk does not take; the log tells the operator why."""
    logger.error("cannot store a video: %s", error.strerror)
    return no_space()


def no_space() -> ServiceError:
    """Return the error for a video that finds no space."""
    return ServiceError(
        503,
        "no-space",
        "the server has no space for another video",
        remedy="try again in a few minutes",
        retry_after_s=RETRY_LATER_S,
    )


def http_problem(status: int, headers: dict[str, str] | None = None) -> Response:
    """Return the answer to a request that a library refuses."""
    phrase = HTTPStatus(status).phrase
    return problem_response(status, phrase.lower().replace(" ", "-"), HTTP_ERRORS.get(status, phrase), headers)


def problem_response(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """Return an answer with a problem document; `more` are further members of the document."""
    document = {
        "type": f"urn:crnet:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return Response(json.dumps(document), status, headers, MEDIA_TYPE)
