"""Tests of the generated pages of the site: they say what the program says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.usage_errors import option_names
from docgen.command_pages import command_page, read_help
from docgen.markdown_text import escaped
from docgen.rest_page import openapi_document, rest_page
from docgen.root_pages import linked_pages, published_files, site_links

REPOSITORY = Path(__file__).resolve().parents[2]
HELP = """\
usage: crnet cook [-h] [OPTIONS] DISH

Cook a dish.

╭─ positional arguments ──────────╮
│ DISH       The dish. (required) │
╰─────────────────────────────────╯
╭─ oven options ──────────────────╮
│ How hot it is.                  │
│ ─────────────────────────────── │
│ --oven.heat INT                 │
│       Heat in degrees.          │
│       (default: 200)            │
╰─────────────────────────────────╯
"""


def test_signs_of_help_are_shown_as_they_are() -> None:
    assert escaped("KEY_<NAME> *or* a|b") == r"KEY\_&lt;NAME&gt; \*or\* a\|b"


def test_help_is_split_into_groups_and_arguments() -> None:
    usage, (positional, oven) = read_help(HELP)
    assert usage == "crnet cook [-h] [OPTIONS] DISH"
    assert (positional.title, positional.text) == ("positional arguments", "")
    assert positional.entries == [("DISH", "The dish. (required)")]
    assert (oven.title, oven.text) == ("oven options", "How hot it is.")
    assert oven.entries == [("--oven.heat INT", "Heat in degrees. (default: 200)")]


@pytest.mark.parametrize("name", ["predict", "train", "text fetch"])
def test_a_page_has_every_option_of_its_command(name: str) -> None:
    page = command_page(name)
    command = command_class(name)
    options = {option for option in option_names(command, command.defaults([])) if option.startswith("--")}
    shown = set(re.findall(r"--[a-z][\w.-]*", "\n".join(re.findall(r"^### `(.*)` ", page, flags=re.MULTILINE))))
    assert options <= shown
    anchors = re.findall(r"\{ #(\S+) \}", page)
    assert len(anchors) == len(set(anchors)) > 4
    assert COMMANDS[name].rstrip(".") in page.replace("\\", "")


def test_the_rest_page_has_every_request_and_field() -> None:
    api = openapi_document()
    page = rest_page(api)
    requests = re.findall(r"^### `(\w+) (\S+)`$", page, flags=re.MULTILINE)
    assert {(method.lower(), path) for method, path in requests} == {
        (method, path) for path, methods in api["paths"].items() for method in methods
    }
    assert ("POST", "/v1/jobs") in requests
    assert "| `transcript` | string." in page


@pytest.mark.parametrize(
    ("folder", "link", "expected"),
    [
        ("", "[a](docs/cli.md#x)", "[a](cli.md#x)"),
        ("docs", "[a](../CONTRIBUTING.md)", "[a](contributing.md)"),
        ("docs/start", "[a](../cli.md)", "[a](../cli.md)"),
        ("docs/start", "[a](../../README.md)", "[a](../index.md)"),
        ("docs", "[`p`](../pyproject.toml)", "`p`"),
        ("docs", "[b](../pyproject.toml)", "b (`pyproject.toml` in the repository)"),
        ("", "[CITATION.cff](CITATION.cff)", "[CITATION.cff](CITATION.cff)"),
        ("docs/start", "[`c`](../../examples/score_video.py)", "[`c`](../examples/score_video.py)"),
        ("docs", "[scripts](../examples)", "scripts (`examples` in the repository)"),
        ("docs", "[beware.md](beware.md#x)", "[Beware](beware.md#x)"),
        ("", "[docs/beware.md](docs/beware.md)", "[Beware](beware.md)"),
        ("", "[the rules](CODE_OF_CONDUCT.md)", "[the rules](conduct.md)"),
        ("docs", "[c](https://x.org/a.md)", "[c](https://x.org/a.md)"),
        ("docs", "[d](#here)", "[d](#here)"),
        ("docs", "[e](nowhere.md)", "[e](nowhere.md)"),
    ],
)
def test_links_lead_to_pages_of_the_site(folder: str, link: str, expected: str) -> None:
    assert site_links(link, folder) == expected


def test_names_of_pages_in_docstrings_and_help_become_links() -> None:
    page = "reference/commands/predict.md"
    assert linked_pages("<p>See docs/beware.md.</p>", page) == '<p>See <a href="../../beware.html">Beware</a>.</p>'
    for other in (
        "<p>docs/nowhere.md</p>",
        "<code>docs/beware.md</code>",
        '<a href="docs/beware.md">x</a>',
        "<a>docs/beware.md</a>",
        "mydocs/beware.md",
    ):
        assert linked_pages(other, page) == other


def test_the_site_has_copies_of_the_examples() -> None:
    files = published_files()
    assert {"examples/score_video.py", "examples/slurm/train.sbatch", "CITATION.cff"} <= set(files)
    assert not any(path.endswith(".pyc") for path in files)


def test_the_page_about_installing_lists_every_extra() -> None:
    page = (REPOSITORY / "docs" / "start" / "install.md").read_text(encoding="utf-8")
    listed = re.findall(r"crnet\[([a-z0-9,-]+)\]", page)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for_contributors = {"dev", "docs", "package"}
    assert {name for names in listed for name in names.split(",")} == {
        *project["optional-dependencies"]
    } - for_contributors
