"""Tests of README and CONTRIBUTING: examples run as printed, the first screen is complete, named paths exist.

tests/unit/test_docs.py checks the other names in all pages.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from crnet.predict import Predictor
from grey_video import write_grey_video

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def files_of_the_examples(bundle: Bundle, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run, the store and the videos that the examples name."""
    save_bundle(bundle, tmp_path / "runs" / "paper" / "bundle")
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "fiv2").symlink_to(store)
    (tmp_path / "videos").mkdir()
    for name in ("video.mp4", "videos/a.mp4"):
        write_grey_video(tmp_path / name, seconds=2, fps=5)
    monkeypatch.chdir(tmp_path)
    read = Predictor.read
    monkeypatch.setattr(
        Predictor, "read", lambda self, path, words, **_: read(self, path, words, allow_no_face=True)
    )  # the videos show nobody
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split("\n\n")[0].replace("\n", "; "))
def test_python_examples_run_as_printed(example: str, files_of_the_examples: Path) -> None:
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})


def test_the_examples_cover_every_part() -> None:
    code = "\n".join(EXAMPLES)
    for part in ("CRBlock", "bell_loss", "DataLoader", "metrics.describe", "predict_many", "to_row"):
        assert part in code


def test_lines_fit_in_120_columns() -> None:
    assert [line for line in README.splitlines() if len(line) > 120] == []


def test_the_first_screen_has_no_badges_and_states_that_no_weights_exist() -> None:
    first_screen = "\n".join(README.splitlines()[:24])
    assert "badge" not in first_screen and "shields.io" not in first_screen
    assert "crnet ships without trained weights" in first_screen


def test_contributing_names_existing_paths() -> None:
    paths = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))`", CONTRIBUTING))
    assert len(paths) > 30
    package = REPOSITORY / "src" / "crnet"
    folders = [REPOSITORY, package, *(path for path in package.iterdir() if path.is_dir())]  # `loop.py` of `training/`
    assert {path for path in paths if not any((folder / path).exists() for folder in folders)} == set()
