"""Progress: bars on a terminal of 80 columns, lines without a terminal, nothing with --quiet."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from crnet.cli.progress import LINES_PER_TASK, ProgressLines, progress_bars, progress_display, shorten
from crnet.utils.progress import no_progress


class FakeClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def lines_of(steps: int, seconds_per_step: float, start: int = 0, note: str = "") -> list[str]:
    lines: list[str] = []
    clock = FakeClock()
    progress = ProgressLines(lines.append, clock)
    for done in range(start, steps + 1):
        progress("preparing", done, steps, note)
        clock.now_s += seconds_per_step
    return lines


@pytest.mark.parametrize("steps", [10, 50, 1000, 12_345])
def test_a_long_task_prints_a_line_every_few_per_cent(steps: int) -> None:
    lines = lines_of(steps, seconds_per_step=3600 / steps)
    assert min(steps, 20) <= len(lines) <= LINES_PER_TASK + 1
    assert lines[-1].startswith(f"preparing: {steps}/{steps} (100%), 1:00:0")


def test_fifty_epochs_print_a_line_each() -> None:
    assert len(lines_of(50, seconds_per_step=60)) == 50


def test_a_line_shows_numbers_elapsed_and_remaining_time_and_the_note() -> None:
    lines = lines_of(10, seconds_per_step=60, note="loss 0.5")
    assert lines[3] == "preparing: 4/10 (40%), 0:04:00 elapsed, 0:06:00 left; loss 0.5"
    assert lines[-1] == "preparing: 10/10 (100%), 0:10:00 elapsed; loss 0.5"


def test_the_remaining_time_of_a_resumed_task_counts_only_new_steps() -> None:
    lines = lines_of(10, seconds_per_step=60, start=8)
    assert lines[0] == "preparing: 9/10 (90%), 0:01:00 elapsed, 0:01:00 left"


def test_a_task_that_starts_again_is_timed_anew() -> None:
    lines: list[str] = []
    clock = FakeClock()
    progress = ProgressLines(lines.append, clock)
    for done in (0, 1, 2, 2, 1, 2):
        progress("face: features", done, 2)
        clock.now_s += 60
    assert [line.split("%), ")[1] for line in lines] == [
        "0:01:00 elapsed, 0:01:00 left",
        "0:02:00 elapsed",
        "0:01:00 elapsed",
    ]


def test_a_short_task_prints_nothing() -> None:
    assert lines_of(1000, seconds_per_step=0.0001) == []


def test_without_a_terminal_lines_go_to_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crnet.cli.progress.MIN_INTERVAL_S", 0.0)
    with progress_display() as progress:
        progress("scoring", 1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("scoring: 1/2 (50%), 0:00:00 elapsed")


def test_quiet_shows_no_progress() -> None:
    with progress_display(quiet=True) as progress:
        assert progress is no_progress


def test_a_process_without_stderr_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress_display() as progress:
        assert progress is no_progress


def drawn(width: int, *updates: tuple[str, int, int, str]) -> list[str]:
    """The last lines that bars leave on a terminal of a width."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, legacy_windows=False)
    with progress_bars(screen) as progress:
        for update in updates:
            progress(*update)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    rows = [line.split("\x1b[2K")[-1].rstrip() for line in text.split("\n")]
    return rows[-1 - len(updates) : -1]


LONG_NAME = "scene: stage 2 of 2 of a network with a very long name, seed 0"
LONG_NOTE = "epoch 12/50, validation 1 - MAE 0.9123, best 0.9131 in epoch 10"


@pytest.mark.parametrize("width", [80, 60])
def test_a_bar_shows_its_numbers_however_long_the_names_are(width: int) -> None:
    rows = drawn(width, ("short", 3, 4, ""), (LONG_NAME, 1234, 10_000, LONG_NOTE))
    assert all(len(row) <= width for row in rows)
    assert rows[0].startswith("short ") and "3/4" in rows[0] and "75%" in rows[0]
    assert "1234/10000" in rows[1] and "12%" in rows[1] and "left -:--:--" in rows[1]
    assert rows[1].startswith("scene: stage 2… " if width == 60 else "scene: stage 2 of 2 of a ne… ")


def test_a_note_fills_what_the_numbers_leave() -> None:
    (row,) = drawn(120, ("scoring", 3, 4, LONG_NOTE))
    note = row.split("-:--:-- ")[1]
    assert len(note) > 40 and LONG_NOTE.startswith(note.removesuffix("…"))


@pytest.mark.parametrize(("width", "text"), [(9, "preparing"), (8, "prepari…"), (1, "…"), (0, ""), (-3, "")])
def test_shorten(width: int, text: str) -> None:
    assert shorten("preparing", width) == text


def test_a_note_cannot_command_the_terminal() -> None:
    lines: list[str] = []
    progress = ProgressLines(lines.append, iter([0.0, 10.0]).__next__)
    progress("scoring", 1, 9)
    progress("scoring", 2, 9, "a\x1b[2K\n.mp4")
    assert lines[-1].endswith(r"; a\x1b[2K\n.mp4")
