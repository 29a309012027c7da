"""Tests of starting the server: what is wrong is said before the page opens."""

from __future__ import annotations

import importlib
import signal
import socket
import sys
from pathlib import Path
from typing import cast

import pytest
import uvicorn
from starlette.applications import Starlette

from crnet.errors import ConfigError, MissingDependencyError, UsageError
from crnet.serve.access import AccessPolicy
from crnet.serve.job_queue import JobQueue
from crnet.serve.server import ServerConfig, _Server, _uvicorn_config, serve


def test_a_missing_speech_model_is_reported_before_the_page_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def __init__(self, model: str) -> None:
            self.model = model

        def load(self) -> None:
            raise ConfigError("no speech model", path=self.model)

    monkeypatch.setattr("crnet.serve.server.FasterWhisper", Missing)
    with pytest.raises(ConfigError, match="gone: no speech model"):
        serve(tmp_path, ServerConfig(port=0), asr="gone")


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(tmp_path, ServerConfig(port=port))
    with pytest.raises(UsageError, match="cannot listen"):
        serve(tmp_path, ServerConfig(port=70_000))


@pytest.mark.parametrize("seconds", [float("nan"), -1.0, float("inf")])
def test_a_server_that_would_never_stop_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(UsageError, match="choose 0 to 86400 s"):
        serve(tmp_path, ServerConfig(port=0, stop_timeout_s=seconds))


def test_a_proxy_may_keep_its_connections_for_a_minute() -> None:
    """As nginx, its ingress and load balancers do; the side that closes first loses requests of the other."""
    for proxies, longest_s in ((("10.0.0.0/8",), 75), ((), 5)):
        config = _uvicorn_config(Starlette(), AccessPolicy(trusted_proxies=proxies))
        assert config.timeout_keep_alive == longest_s


def test_a_missing_folder_of_videos_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        serve(tmp_path, ServerConfig(port=0, video_folder=tmp_path / "gone"))


def test_a_signal_to_stop_while_the_system_loads_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        assert list(tmp_path.glob("crnet-serve-*"))
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("crnet.serve.server.WorkerClient", load)
    with pytest.raises(KeyboardInterrupt):
        serve(tmp_path, ServerConfig(port=0))
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_the_end_of_the_terminal_stops_the_server_unless_nohup_ignores_it() -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: received.append(number))
    try:
        server = _Server(uvicorn.Config("none"), cast("JobQueue", None), 0.0)
        with server.capture_signals():
            signal.raise_signal(signal.SIGHUP)
            assert server.should_exit and received == []
        assert received == [signal.SIGHUP]  # afterwards the command ends as its own handler says
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        server = _Server(uvicorn.Config("none"), cast("JobQueue", None), 0.0)
        with server.capture_signals():
            signal.raise_signal(signal.SIGHUP)
            assert not server.should_exit
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_fastapi_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "crnet.serve.server")
    with pytest.raises(MissingDependencyError, match=r'pip install "crnet\[serve\]"'):
        importlib.import_module("crnet.serve.server")
