"""Errors that a user can act on."""

from __future__ import annotations

import pickle
from pathlib import Path

from crnet.errors import CrnetError, MediaError


def test_an_error_is_one_line_with_path_reason_and_remedy() -> None:
    error = MediaError("holds no\nvideo", path="a b.mp4", remedy="give a video")
    assert str(error) == "a b.mp4: holds no video (give a video)"
    assert str(CrnetError("nothing to do")) == "nothing to do"


def test_a_file_name_cannot_command_the_terminal_that_shows_an_error() -> None:
    error = MediaError("is damaged", path="a\x1b[31mé\x07\x9b\u202e語.mp4", remedy="give another")
    assert str(error) == r"a\x1b[31mé\x07\x9b\u202e語.mp4: is damaged (give another)"


def test_an_error_can_be_pickled_by_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(MediaError("why", path="x", remedy="what")))
    assert (type(error), error.reason, error.path, error.remedy) == (MediaError, "why", Path("x"), "what")
