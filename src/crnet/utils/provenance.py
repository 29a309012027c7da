"""Provenance of runs and bundles: versions of packages and the git revision."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from crnet.utils.resumable import content_fingerprint

RECORDED_PACKAGES = (
    "crnet",
    "torch",
    "numpy",
    "scikit-learn",
    "safetensors",
    "simplejpeg",
    "cykooz-resizer",
    "av",
    "soxr",
    "mtcnn",
    "openvino",
    "opencv-python-headless",
    "espeakng-loader",
    "faster-whisper",
    "sentence-transformers",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that influence results."""
    installed = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def code_fingerprint() -> str:
    """Return a hash of the code of this package."""
    return content_fingerprint(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))


def git_revision() -> str | None:
    """Return the commit this package runs from, with `-dirty` if files have changed; None outside a git checkout."""
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
    result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    return result.stdout.strip()
