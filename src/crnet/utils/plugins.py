"""Plugins: parts that other installed packages add to crnet through entry points (docs/guides/plugins.md).

Only installed packages are searched; a store, a bundle or a folder of data cannot bring code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from crnet.errors import ConfigError, CrnetError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

PluginGroup = Literal["crnet.sources", "crnet.encoders", "crnet.tables"]


def plugin_names(group: PluginGroup) -> list[str]:
    """Return the names of a group's plugins in alphabetical order; imports none of them."""
    return sorted(_entry_points(group).names)


def load_plugin(group: PluginGroup, name: str, kind: type) -> Any:
    """Import a plugin.

    Args:
        group: What it adds.
        name: Name of its entry point.
        kind: What it must be an instance of.

    Returns:
        What the entry point names; None if there is no such plugin.

    Raises:
        ConfigError: It cannot be imported, it is something else, or two packages have a plugin of that name.
    """
    found = {(plugin.value, _package(plugin)): plugin for plugin in _entry_points(group).select(name=name)}
    if not found:
        return None
    if len(found) > 1:
        packages = " and ".join(sorted(package for _, package in found))
        raise ConfigError(f"two plugins are called {name!r} ({group}): {packages}", remedy="uninstall one of them")
    (plugin,) = found.values()
    label = f"the plugin {name!r} ({group}) of {_package(plugin)}"
    try:
        loaded = plugin.load()
    except Exception as error:  # it is somebody else's code
        reason = f"{label} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(reason, remedy="update or uninstall its package") from error
    if not isinstance(loaded, kind):
        raise ConfigError(f"{label} is no {kind.__name__}", remedy="update or uninstall its package")
    return loaded


@contextmanager
def plugin_errors(group: PluginGroup, name: str) -> Iterator[None]:
    """Run code of a plugin.

    Raises:
        ConfigError: It raised anything but a `CrnetError`, which is passed on.
    """
    try:
        yield
    except CrnetError:
        raise
    except Exception as error:  # it is somebody else's code
        reason = f"the plugin {name!r} ({group}) failed with {type(error).__name__}: {error}"
        raise ConfigError(reason, remedy="tell the authors of its package; --debug shows where") from error


def _entry_points(group: PluginGroup) -> EntryPoints:
    from importlib.metadata import entry_points  # the command line's help needs none of it

    return entry_points(group=group)


def _package(plugin: EntryPoint) -> str:
    return plugin.dist.name if plugin.dist is not None else plugin.module
