"""Hook of the build: the README and the links of the package, with the address of the repository if it is known.

Links in README.md are relative, so that they work in every copy of the repository. An index of packages shows the text
alone, so they become absolute here, with the address in the environment variable CRNET_REPOSITORY_URL; the release
workflow sets it to its own repository. Without the variable, links stay as they are and the package names no address.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ModuleNotFoundError:  # the tests use the hook without the build backend, which pip installs for itself
    MetadataHookInterface = object

VARIABLE = "CRNET_REPOSITORY_URL"
PICTURES = (".svg", ".png", ".jpg")


class ReadmeHook(MetadataHookInterface):
    """Sets `readme` and `urls`, which pyproject.toml lists as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """See hatchling."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = os.environ.get(VARIABLE, "").rstrip("/")
        if address and not address.startswith("https://"):
            raise ValueError(f"{VARIABLE} is {address!r}: give an address that begins with https://")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, address)}
        metadata["urls"] = project_urls(address)


def absolute_links(text: str, address: str) -> str:
    """Make the relative links of a README absolute; without an address, return it as it is.

    Args:
        text: Markdown.
        address: Address of the repository on a site such as GitHub, without a slash at its end.
    """

    def replace(match: re.Match[str]) -> str:
        kind = "raw" if match["target"].partition("#")[0].endswith(PICTURES) else "blob"
        return f"]({address}/{kind}/main/{match['target']})"

    return re.sub(r"\]\((?P<target>(?!https?:|mailto:|#)[^)\s]+)\)", replace, text) if address else text


def project_urls(address: str) -> dict[str, str]:
    """Return the links of the package."""
    if not address:
        return {}
    return {
        "Repository": address,
        "Documentation": f"{address}/tree/main/docs",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
        "Issues": f"{address}/issues",
        "Security": f"{address}/blob/main/SECURITY.md",
    }
