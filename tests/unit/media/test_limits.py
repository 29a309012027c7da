"""Limits on reading one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from crnet.errors import ConfigError, MediaError
from crnet.media import timeline
from crnet.media.limits import FileLimits, file_size
from crnet.media.video import probe
from grey_video import write_grey_video


def test_the_longest_time_grows_with_the_file(tmp_path: Path) -> None:
    limits = FileLimits(max_time_s=100)
    assert limits.time_s(0) == 100
    assert limits.time_s(200 << 20) == 700  # 3 s for each of 200 MB
    (tmp_path / "v.mp4").write_bytes(b"12345")
    job_limits = limits.of_jobs(file_size)
    assert job_limits.memory_mb == 1024
    assert job_limits.time_s is not None
    assert job_limits.time_s(tmp_path / "v.mp4") == pytest.approx(100 + 3 * 5 / 2**20)
    assert job_limits.time_s(tmp_path / "missing.mp4") == 100
    assert limits.of_jobs(file_size, limit_memory=False).memory_mb is None


@pytest.mark.parametrize("limits", [{"max_time_s": 0}, {"max_memory_mb": 0}, {"max_time_s": float("nan")}])
def test_limits_out_of_range_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        FileLimits(**limits)  # type: ignore[arg-type]


def test_a_file_with_too_many_packets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_grey_video(tmp_path / "v.mp4", seconds=3)  # 6 frames
    monkeypatch.setattr(timeline, "MAX_PACKETS", 6)
    assert len(probe(video).frame_times_s) == 6
    monkeypatch.setattr(timeline, "MAX_PACKETS", 5)
    with pytest.raises(MediaError, match="more than 5 packets"):
        probe(video)
