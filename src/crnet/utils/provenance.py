"""What a run was made with: versions, git revision, machine. Recorded in every run and bundle."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

RECORDED_PACKAGES = (
    "crnet",
    "torch",
    "numpy",
    "scikit-learn",
    "safetensors",
    "simplejpeg",
    "av",
    "soxr",
    "mtcnn",
    "opencv-python-headless",
    "espeakng-loader",
    "faster-whisper",
    "sentence-transformers",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that influence results."""
    found = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The commit of the source tree this package runs from, `-dirty` if changed; None outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if not (Path(top) / "src" / "crnet").is_dir():
            return None
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    return done.stdout.strip()
