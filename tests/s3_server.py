"""A real S3 server on loopback (moto's) that fails on demand, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pytest
from fsspec.config import conf
from s3fs import S3FileSystem

BUCKET = "bucket"
READ_TIMEOUT_S = 0.2  # of the client
ERROR = (
    '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>'
    "<RequestId>1</RequestId><HostId>1</HostId></Error>"
)
SLOW_DOWN = ("503 Slow Down", "SlowDown", "Please reduce your request rate.")
INTERNAL = ("500 Internal Server Error", "InternalError", "We encountered an internal error.")
FULL = ("507 Insufficient Storage", "XMinioStorageFull", "Storage backend has reached its minimum free disk threshold.")
DENIED = ("403 Forbidden", "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
ARCHIVED = ("403 Forbidden", "InvalidObjectState", "The operation is not valid for the object's storage class")
EXPIRED = ("400 Bad Request", "ExpiredToken", "The provided token has expired.")
UNSUPPORTED = (
    "501 Not Implemented",
    "NotImplemented",
    "A header you provided implies functionality that is not implemented",
)
TIMEOUT = "timeout"


@dataclass
class FaultyApp:
    """The server's application. `faults` says what goes wrong with a request, by its number from 0.

    Attributes:
        app: moto's application.
        faults: Given the number, the method and the path of a request, returns its fault or None.
        requests: The method and the path of each request.
    """

    app: Any
    faults: Callable[[int, str, str], Any] = lambda number, method, path: None
    requests: list[tuple[str, str]] = field(default_factory=list)
    failed: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            number = len(self.requests)
            self.requests.append((method, path))
            fault = self.faults(number, method, path)
            self.failed += fault is not None
        if fault is None:
            return self.app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault == TIMEOUT:
            time.sleep(2 * READ_TIMEOUT_S)
            fault = INTERNAL
        status, code, message = fault
        content = b"" if method == "HEAD" else ERROR.format(code=code, message=message).encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
        return [content]


@contextmanager
def s3_server() -> Iterator[FaultyApp]:
    """Serve an empty bucket, and let fsspec find it through its own configuration and the environment."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log_request(self, *_: Any) -> None: ...

    app = FaultyApp(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("FSSPEC_S3_ENDPOINT_URL", endpoint)  # for other processes
        client = {"read_timeout": READ_TIMEOUT_S, "connect_timeout": 1, "retries": {"max_attempts": 0}}
        patch.setitem(conf, "s3", {"endpoint_url": endpoint, "config_kwargs": client})
        S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3").call_s3("create_bucket", Bucket=BUCKET)
        try:
            yield app
        finally:
            S3FileSystem.clear_instance_cache()
            server.shutdown()
