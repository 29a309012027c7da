"""The code blocks of README and docs/: what is a command, which commands the tests do not run, and why.

`make docs-commands` (`tests/docs/test_commands.py`) runs every command and every Python block except those that a rule
below names; the site prints the reason under the block. So a block without a note has been run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Language = Literal["bash", "python", "text"]

PROGRAMS = (
    "crnet",
    "make",
    "python",
    "python3",
    "pip",
    "pytest",
    "torchrun",
    "ray",
    "sbatch",
    "docker",
    "mkdir",
    "cp",
    "cd",
    "git",
)
COMMAND = re.compile(rf"^(?:[A-Z][A-Z0-9_]*=\S+ )*(?:\.venv/bin/)?(?:{'|'.join(PROGRAMS)}|pre-commit)(?: |$)")

NOT_RUN = (
    (r"^make (setup|lint|types|contracts|clean|help)\b", "part of setting up and checking the project itself"),
    (r"^make (test|test-avx2|check)\b", "this is the test suite"),
    (
        r"^crnet demo$|^make (demo|bench|fuzz|docs|docs-commands|dist|examples)\b",
        "takes minutes; CI has a job or a test for it",
    ),
    (r"pre-commit install|^git ", "changes the git repository"),
    (
        r"^(\.venv/bin/)?pip install|^python3 -m venv|^source ",
        "installs packages; `make dist` installs the wheel and uses it",
    ),
    (r"^torchrun", "needs several GPUs or machines; `tests/e2e/test_training_distributed.py` runs it on the CPU"),
    (r"^docker", "needs Docker"),
    (r"^ray |RAY_ADDRESS|--engine ray", "needs a cluster; the tests run small Ray clusters on one machine"),
    (r"s3://|gs://", "needs object storage; the tests run an S3 server"),
    (r"^sbatch|submit_training", "needs a Slurm cluster"),
    (r"^crnet push", "needs the Hugging Face Hub and an account; `tests/unit/bundle` pushes to a stand-in"),
    (r"text fetch|skip-thoughts:", "needs the published skip-thoughts files (10 GB)"),
    (r"text train", "trains for hours at this size; the tests train a small one"),
    (r"--preset paper|crnet train (?!.*--preset (tiny|small))", "needs a GPU: networks of full size"),
    (r"^mkdir RESULTS2|--init resnet34", "needs finished results and pretrained weights"),
    (r"^crnet serve", "runs until it is stopped; `tests/e2e/test_serve_http.py` serves and sends requests"),
    (r"^python examples/", "`make examples` runs it"),
    (r"reproduce (?!.*--plan)", "trains dozens of networks; the tests run `crnet reproduce` with small ones"),
    (r"--protocol", "trains again with other splits; `tests/e2e/test_other_splits.py` does it with small networks"),
    (r"benchmarks|tests\.fuzz|^(\w+=\S+ )*pytest", "a measurement or a test campaign, run by hand"),
    (r"crnet simulate people( |$)|--clips (600|1200)", "takes minutes to hours at this size"),
)
"""Patterns of commands that `make docs-commands` does not run, and why."""

PAGES_NOT_RUN = {
    "results.md": "the commands behind the numbers of this page; they take minutes to hours and are run by hand",
    "registration.md": "the registered experiments; they take an hour and are run by hand",
    "performance.md": "measurements, run by hand on a quiet machine",
    "reliability.md": "campaigns of minutes to hours, run by hand",
}
"""Pages whose commands are measurements, and why they are not run."""


@dataclass(frozen=True)
class CodeBlock:
    """A block of code of a page.

    Attributes:
        start, end: Its first line and the line after its last, counted from 0, with the fences.
        language: What it holds; "text" is output, a file's content or a layout.
        lines: The code.
    """

    start: int
    end: int
    language: Language
    lines: tuple[str, ...]

    def commands(self) -> list[str]:
        """Return the commands of a shell block, without comments."""
        text = re.sub(r"\s*\\\n\s*", " ", "\n".join(self.lines))
        lines = (re.sub(r"(^|\s+)# .*", "", line).rstrip() for line in text.splitlines())
        commands: list[str] = []
        for line in filter(None, lines):
            if commands and commands[-1].count('"') % 2:
                commands[-1] += f"\n{line}"  # a quoted argument goes on
            else:
                commands.append(line)
        return commands


def code_blocks(markdown: str) -> Iterator[CodeBlock]:
    """Yield the fenced and the indented blocks of a page."""
    lines = markdown.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        if fence := re.match(r"(```+)(\w*)", line):
            end = next(i for i in range(number + 1, len(lines)) if lines[i].startswith(fence[1]))
            yield _block(number, end + 1, fence[2], lines[number + 1 : end])
            number = end + 1
        elif line.startswith("    ") and line.strip() and not (number and lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            yield _block(number, end, "", [text[4:] for text in lines[number:end]])
            number = end
        else:
            number += 1


def _block(start: int, end: int, name: str, lines: list[str]) -> CodeBlock:
    first = next(filter(str.strip, lines), "")
    if name == "python" or (not name and re.match(r"(import|from) \w+", first)):
        return CodeBlock(start, end, "python", tuple(lines))
    if name in ("", "bash", "sh") and COMMAND.match(first):
        return CodeBlock(start, end, "bash", tuple(lines))
    return CodeBlock(start, end, "text", tuple(lines))


def reason_not_run(command: str, page: str = "") -> str | None:
    """Return why `make docs-commands` does not run a command of a page; None if it does."""
    if page in PAGES_NOT_RUN:
        return PAGES_NOT_RUN[page]
    return next((reason for pattern, reason in NOT_RUN if re.search(pattern, command)), None)


def mark_blocks(markdown: str, page: str = "") -> str:
    """Name the language of each block, for colours, and write under it which commands are not run, and why."""
    lines = markdown.splitlines()
    for block in reversed(list(code_blocks(markdown))):
        if block.language == "bash":
            fenced = ["```bash", *block.lines, "```", *_note(block, page)]
        elif block.language == "python":
            fenced = ["```python", *block.lines, "```"]
        elif lines[block.start].startswith("    "):
            fenced = ["```text", *block.lines, "```"]
        else:
            continue
        lines[block.start : block.end] = fenced
    return "\n".join(lines) + "\n"


def _note(block: CodeBlock, page: str) -> list[str]:
    commands = block.commands()
    reasons: dict[str, list[str]] = {}
    for command in commands:
        if reason := reason_not_run(command, page):
            reasons.setdefault(reason, []).append(command)
    if not reasons:
        return []
    if len(reasons) == 1 and len(next(iter(reasons.values()))) == len(commands):
        return ["", f"Not run by `make docs-commands`: {next(iter(reasons))}.", "{: .not-run }", ""]
    parts = (f"{', '.join(f'`{_short(c)}`' for c in commands)} ({reason})" for reason, commands in reasons.items())
    return ["", f"Not run by `make docs-commands`: {'; '.join(parts)}.", "{: .not-run }", ""]


def _short(command: str) -> str:
    """Return the first words of a command."""
    words = command.split()
    return " ".join(words[:3]) + (" ..." if len(words) > 3 else "")
