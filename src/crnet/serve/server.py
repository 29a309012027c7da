"""The web server: uploads, results and health around the page, on one machine and with no word to others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from crnet.errors import MissingDependencyError, UsageError
from crnet.serve.limits import Limits
from crnet.serve.storage import UPLOADS, Storage
from crnet.serve.worker_client import Scorer, ScoringError
from crnet.text.asr import FasterWhisper

# Gradio would report its use and look for updates otherwise; it reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

try:
    import gradio
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
except ImportError as error:
    raise MissingDependencyError("the web page needs Gradio", remedy='pip install "crnet[app]"') from error

from crnet.serve.job_queue import Desk
from crnet.serve.middleware import Guard
from crnet.serve.page import make_page
from crnet.serve.uploads import Uploads

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 30.0
SHUTDOWN_S = 3
FORM_OVERHEAD_BYTES = 1 << 16  # of a multipart request around its file

REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
}


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    at_once: int = 1,
    limits: Limits | None = None,
    encoder: str | None = None,
    asr: str | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page of a trained system until the process is told to stop.

    Args:
        run: A run folder, or the bundle in it.
        host: Address to listen at; 127.0.0.1 is reachable from this machine only.
        port: 0 takes a free one.
        at_once: Videos scored at the same time; each holds the system in memory.
        limits: What one visitor may ask.
        encoder, asr: Text encoder and speech recognition, as in `crnet.load`; a model for the latter must be here.
        announce: Called with the page's URL once it can be opened.

    Raises:
        CrnetError: No system or speech model there, the address is taken, or nothing can be written.
    """
    limits = limits or Limits()
    if not 1 <= at_once <= 64:
        raise UsageError(f"{at_once} videos at once", remedy="choose 1 to 64")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        if asr is not None:
            FasterWhisper(asr).load()  # only to be sure that it can be, before a visitor waits for it
        storage = Storage(limits)
        stack.callback(storage.close)
        scorers: list[Scorer] = []
        for _ in range(at_once):
            scorers.append(Scorer(run, encoder, asr))
            stack.callback(scorers[-1].close)
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        app = make_app(Desk(scorers, storage, limits), on_ready=lambda: announce(url))
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_S)
        # Uvicorn ends orderly on this signal and then raises it again; that must not kill us before we have tidied up.
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _stop))
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _stop(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen at {host}:{port}: {error}", remedy="choose another --port or --host"
        ) from error


def make_app(desk: Desk, on_ready: Callable[[], None] = lambda: None) -> FastAPI:
    """The page and everything around it as an ASGI application."""
    storage = desk.storage
    uploads, arriving = storage.folder / UPLOADS, Uploads(storage)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(storage))
        ready = asyncio.get_running_loop().call_later(0.1, on_ready)
        yield
        ready.cancel()
        sweeper.cancel()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/results/{token}/{name}")
    def result(token: str, name: str, download: bool = False) -> Response:
        path = storage.result(token, name)
        if path is None or path.suffix not in KINDS:
            return PlainTextResponse("this result is not on the server (any more)", 404)
        headers = {"Cache-Control": "private, no-store"}
        if path.suffix == ".html":
            headers["Content-Security-Policy"] = REPORT_POLICY
        how = "attachment" if download else "inline"
        return FileResponse(
            path,
            media_type=KINDS[path.suffix],
            filename=f"crnet-{name}",
            content_disposition_type=how,
            headers=headers,
        )

    @app.post("/gradio_api/upload")
    async def upload(request: Request, upload_id: str | None = None) -> Response:
        try:
            return JSONResponse([str(await arriving.receive(request, upload_id))])
        except ScoringError as error:
            return PlainTextResponse(str(error), 413)

    @app.get("/gradio_api/upload_progress")
    def upload_progress(upload_id: str) -> StreamingResponse:
        return StreamingResponse(arriving.progress(upload_id), media_type="text/event-stream")

    page, look = make_page(desk, desk.facts)
    # A mounted page counts as not launched, and then Gradio checks no path that a client names.
    page.has_launched = True
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        show_error=False,
        max_file_size=desk.limits.upload_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        **look,
    )
    app.add_middleware(Guard, uploads=uploads, largest_upload_bytes=desk.limits.upload_bytes + FORM_OVERHEAD_BYTES)
    return app


async def _sweep(storage: Storage) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        await asyncio.to_thread(storage.sweep)
