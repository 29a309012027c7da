"""Whose turn it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_fakes import FakeScorer

from crnet.serve.job_queue import WAITING, Desk, Request, Result, follow
from crnet.serve.limits import Limits
from crnet.serve.storage import JOBS, UPLOADS, Storage
from crnet.serve.worker_client import ScoringError


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Storage(Limits())
    yield made
    made.close()


def request(storage: Storage, name: str, content: bytes = b"video", *, keep: bool = False) -> Request:
    path = storage.new_upload(name)
    path.write_bytes(content)
    return Request(str(path), name, "words", explain=False, keep_upload=keep)


def desk_of(storage: Storage, scorers: int = 1, *, waiting: int = 20, seconds: float = 0.05) -> Desk:
    return Desk([FakeScorer(seconds) for _ in range(scorers)], storage, Limits(waiting=waiting))  # type: ignore[misc]


async def all_of(desk: Desk, wanted: Request) -> list[dict[str, Any] | Result]:
    return [told async for told in follow(desk, wanted)]


def test_progress_then_the_result_and_nothing_of_the_video_is_left(storage: Storage) -> None:
    desk = desk_of(storage)
    told = asyncio.run(all_of(desk, request(storage, "/home/me/talk.mp4")))
    assert isinstance(told[-1], Result)
    assert told[-1].name == "talk.mp4"
    assert told[-1].files == ("prediction.json", "report.html")
    assert storage.result(told[-1].token, "report.html") is not None
    assert [m["task"] for m in told[:-1] if isinstance(m, dict)] == ["scoring"]
    assert not list((storage.folder / UPLOADS).iterdir())
    assert not list((storage.folder / JOBS).iterdir())


def test_first_come_first_served_and_everybody_sees_how_many_are_before(storage: Storage) -> None:
    desk = desk_of(storage)

    async def three() -> list[list[dict[str, Any] | Result]]:
        return list(await asyncio.gather(*(all_of(desk, request(storage, f"{n}.mp4")) for n in range(3))))

    first, second, third = asyncio.run(three())
    assert [m["done"] for m in first if isinstance(m, dict) and m["task"] == WAITING] == []
    assert [m["done"] for m in second if isinstance(m, dict) and m["task"] == WAITING] == [1]
    assert [m["done"] for m in third if isinstance(m, dict) and m["task"] == WAITING][:1] == [2]
    scorer = desk._scorers[0]
    assert [order.name for order in scorer.seen] == ["0.mp4", "1.mp4", "2.mp4"]  # type: ignore[attr-defined]


def test_as_many_at_once_as_there_are_scorers(storage: Storage) -> None:
    desk = desk_of(storage, scorers=2)

    async def two() -> list[list[dict[str, Any] | Result]]:
        return list(await asyncio.gather(*(all_of(desk, request(storage, f"{n}.mp4")) for n in range(2))))

    for told in asyncio.run(two()):
        assert WAITING not in [m["task"] for m in told if isinstance(m, dict)]


def test_a_full_line_sends_people_away(storage: Storage) -> None:
    desk = desk_of(storage, waiting=1)

    async def three() -> list[Any]:
        wanted = (all_of(desk, request(storage, f"{n}.mp4")) for n in range(3))
        return list(await asyncio.gather(*wanted, return_exceptions=True))

    first, second, third = asyncio.run(three())
    assert isinstance(first[-1], Result)
    assert isinstance(second[-1], Result)
    assert isinstance(third, ScoringError)
    assert "waiting already" in str(third)
    assert not list((storage.folder / UPLOADS).iterdir())


def test_a_bad_video_is_said_deleted_and_forgotten(storage: Storage) -> None:
    desk = desk_of(storage)
    with pytest.raises(ScoringError, match="not a video"):
        asyncio.run(all_of(desk, request(storage, "talk.mp4", b"bad")))
    assert not list((storage.folder / UPLOADS).iterdir())
    assert isinstance(asyncio.run(all_of(desk, request(storage, "talk.mp4")))[-1], Result)


def test_who_goes_away_gives_the_place_up(storage: Storage) -> None:
    desk = desk_of(storage, seconds=30)

    async def leave() -> list[Any]:
        running = follow(desk, request(storage, "running.mp4"))
        assert (await anext(running))["task"] == "scoring"  # type: ignore[index]
        waiting = follow(desk, request(storage, "waiting.mp4"))
        assert (await anext(waiting))["task"] == WAITING  # type: ignore[index]
        await waiting.aclose()  # type: ignore[attr-defined]
        await running.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        desk._scorers[0].seconds = 0  # type: ignore[attr-defined]
        return await all_of(desk, request(storage, "next.mp4"))

    told = asyncio.run(leave())
    assert isinstance(told[-1], Result)
    scorer: Any = desk._scorers[0]
    assert [order.name for order in scorer.seen] == ["running.mp4", "next.mp4"]
    assert scorer.cancelled == 1
    assert not list((storage.folder / JOBS).iterdir())
    assert not list((storage.folder / UPLOADS).iterdir())


def test_a_kept_video_can_be_scored_again(storage: Storage) -> None:
    desk, wanted = desk_of(storage), request(storage, "talk.mp4", keep=True)
    for _ in range(2):
        assert isinstance(asyncio.run(all_of(desk, wanted))[-1], Result)
