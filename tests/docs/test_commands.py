"""The commands and code blocks of README, CONTRIBUTING and docs/: `make docs-commands` runs each one that can run here.

Every test of a page works in a folder of its own, which has what the page's commands name: a run, a store, videos,
tables. So commands run as printed. `docgen.code_blocks` says which commands are not run, and why.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from crnet.cli.parsing import parse, split_command
from crnet.types import TARGETS
from docgen.code_blocks import NOT_RUN, PAGES_NOT_RUN, CodeBlock, code_blocks, mark_blocks, reason_not_run

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
CLIPS = 45
slow = pytest.mark.skipif(not os.environ.get("CRNET_TEST_DOCS"), reason="make docs-commands runs it; it takes minutes")


def name_of(page: Path) -> str:
    folder = REPOSITORY / "docs"
    return page.relative_to(folder if page.is_relative_to(folder) else REPOSITORY).as_posix()


def blocks_of(page: Path) -> list[CodeBlock]:
    return list(code_blocks(page.read_text(encoding="utf-8")))


def has_something_to_run(page: Path) -> bool:
    return any(
        block.language == "python" or any(reason_not_run(c, name_of(page)) is None for c in block.commands())
        for block in blocks_of(page)
        if block.language != "text"
    )


def test_blocks_and_commands_of_a_page_are_found() -> None:
    page = (
        'Text\n\n    crnet train A B \\\n      --seed 1   # why\n    # a comment\n    python -c "a\n    b"\n\n'
        'Then\n\n```python\nimport crnet\n```\n\n    {"clip"}\n\n- a list\n\n      not code\n'
    )
    first, second, third, *others = code_blocks(page)
    assert (first.language, first.commands()) == ("bash", ["crnet train A B --seed 1", 'python -c "a\nb"'])
    assert (second.language, second.lines) == ("python", ("import crnet",))
    assert third.language == "text"
    assert [block.language for block in others] in ([], ["text"])


def test_a_note_names_what_is_not_run_and_why() -> None:
    marked = mark_blocks("    crnet predict RUN a.mp4\n    docker build --tag crnet .\n")
    assert marked == (
        "```bash\ncrnet predict RUN a.mp4\ndocker build --tag crnet .\n```\n\n"
        "Not run by `make docs-commands`: `docker build --tag ...` (needs Docker).\n{: .not-run }\n\n"
    )
    assert "Not run by `make docs-commands`: needs Docker.\n" in mark_blocks("    docker build .\n")
    assert "Not run" not in mark_blocks("    crnet predict RUN a.mp4\n")


def test_every_rule_is_needed() -> None:
    commands = [(c, name_of(page)) for page in PAGES for block in blocks_of(page) for c in shell_commands(block)]
    unused = [p for p, _ in NOT_RUN if not any(re.search(p, c) for c, page in commands if page not in PAGES_NOT_RUN)]
    assert unused == []


def shell_commands(block: CodeBlock) -> list[str]:
    return block.commands() if block.language == "bash" else []


def test_commands_that_are_not_run_are_parsed() -> None:
    lines = {
        match[1]
        for page in PAGES
        for block in blocks_of(page)
        for command in shell_commands(block)
        if (match := re.search(r"(?:^|-m |/)crnet ((?!--)[a-z].*)", command)) and reason_not_run(command, name_of(page))
        if "FILE.yaml" not in command
    }
    assert len(lines) > 10
    for line in lines:
        assert parse(*split_command(shlex.split(line))) is not None, line


@dataclass(frozen=True)
class World:
    """A folder with everything that the commands of the pages name."""

    folder: Path

    def run(self, command: str, cwd: Path) -> None:
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY / "src"),
            "HOME": str(cwd),
        }
        result = subprocess.run(
            ["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    for name, words in {"crnet": "-m crnet", "python": ""}.items():
        script = world.folder / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n')
        script.chmod(0o755)
    base = world.folder / "base"
    base.mkdir()
    small = "--seconds 1.5 --fps 8 --height 160 --voice built-in --difficulty easy --workers 0"
    world.run(f"crnet simulate people {small} --clips 10", base)
    world.run(f"crnet simulate STORE {small} --clips {CLIPS} --to-store --frames-per-segment 1", base)
    world.run("crnet train STORE RUN --preset tiny --epochs 1 --device cpu --fusion.trees 20", base)
    world.run("crnet evaluate RUN STORE --device cpu", base)
    write_inputs(base)
    for store in ("STORE_A", "STORE_B"):
        world.run(f"crnet prepare videos-of-{store} {store} --workers 0", base)
    return world


def write_inputs(base: Path) -> None:
    """Write the small files that the pages name, and further names of the large ones."""
    videos = sorted((base / "people").rglob("*.mp4"))
    for name in ("video.mp4", "talk.mp4", "some_video.mp4", "a.mp4", "b.mp4", "videos/1.mp4", "VIDEOS/1.mp4"):
        (base / name).parent.mkdir(exist_ok=True)
        shutil.copy(videos[0], base / name)
    shutil.copy(videos[1], base / "VIDEO")
    for alias, name in {
        "store": "STORE", "stores/fiv2": "STORE", "runs/paper": "RUN", "runs/demo": "RUN", "FIV2_FOLDER": "people",
        "DATA": "people", "OTHER_RUN": "RUN", "runs/other": "RUN",
    }.items():  # fmt: skip
        shutil.copytree(base / name, base / alias)
    for name in ("my-videos", ".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        (base / name).mkdir(parents=True)
    with (base / "my-videos" / "scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["clip", "split", *TARGETS])
        for number, video in enumerate(videos):
            shutil.copy(video, base / "my-videos" / f"{number}.mp4")
            split = ("train", "train", "train", "val", "test")[number % 5]
            table.writerow([f"{number}.mp4", split, *(0.3 + 0.05 * ((number + shift) % 8) for shift in range(6))])
    for number, store in enumerate(("STORE_A", "STORE_B")):
        (base / f"videos-of-{store}").mkdir()
        shutil.copy(videos[number], base / f"videos-of-{store}" / f"{number}.mp4")
    (base / ".venv").mkdir()
    (base / ".venv" / "bin").symlink_to(base.parent / "bin")
    (base / "FILE.yaml").write_text("training: {threads: 1, stages: [{epochs: 1}, {epochs: 1}]}\n")
    write_tables(base)


def write_tables(base: Path) -> None:
    """Write predictions, labels and groups of the store's test clips."""
    import pyarrow.parquet as pq

    rows = [row for row in pq.read_table(base / "STORE" / "manifest.parquet").to_pylist() if row["split"] == "test"]
    for name in ("p.csv", "l.csv", "other.csv", "train.csv"):
        with (base / name).open("w", newline="") as file:
            csv.writer(file).writerows(
                [["clip", *TARGETS], *([row["clip"], *(row[t] for t in TARGETS)] for row in rows)]
            )
    groups = [[row["clip"], "young" if number % 2 else "old"] for number, row in enumerate(rows)]
    for name in ("groups.csv", "g.csv"):
        with (base / name).open("w", newline="") as file:
            csv.writer(file).writerows([["clip", "group_age"], *groups])
    release = [[row["clip"], row["clip"][:11], 1 + number % 3, 1 + number % 2] for number, row in enumerate(rows)]
    with (base / "eth_gender_annotations_test.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([["VideoName", "YouTubeID", "Ethnicity", "Gender"], *release])


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    return shutil.copytree(world.folder / "base", tmp_path / "here", symlinks=True)


@slow
@pytest.mark.parametrize("page", [page for page in PAGES if has_something_to_run(page)], ids=name_of)
def test_commands_and_code_run_as_printed(page: Path, world: World, folder: Path) -> None:
    for block in blocks_of(page):
        if block.language == "python":
            script = folder / "block.py"
            script.write_text("\n".join(block.lines))
            world.run("python block.py", folder)
        for command in shell_commands(block):
            if reason_not_run(command, name_of(page)) is None:
                remove_result(command, folder)
                world.run(command, folder)


def remove_result(command: str, folder: Path) -> None:
    """Make room for a run or a store whose name the folder has already: both need a new or an empty folder."""
    if match := re.match(r"crnet (?:train \S+|prepare \S+|merge) (\S+)", command):
        shutil.rmtree(folder / match[1], ignore_errors=True)
