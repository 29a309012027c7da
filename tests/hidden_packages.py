"""Code for a new process in which installed packages are neither found nor imported."""

from __future__ import annotations

HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_others(name, path=None, target=None):
    return None if name.split(".")[0] in {packages} else find(name, path, target)
PathFinder.find_spec = find_others
"""


def hiding(*packages: str) -> str:
    """Return code that hides packages from everything that is imported after it."""
    return HIDE.format(packages=packages)
