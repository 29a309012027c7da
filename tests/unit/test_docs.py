"""Tests of README, CONTRIBUTING and docs/: every name, path, command, option and key that they print exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest

from benchmarks.__main__ import _parser
from benchmarks.registry import ALL, SCRIPTS, TABLE
from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.reproduce import Reproduce
from crnet.cli.usage_errors import option_names
from crnet.evaluation.evaluation import Evaluation
from crnet.experiments.registry import EXPERIMENTS
from crnet.types import Prediction
from docgen.api_pages import API_PAGES, api_pages
from docgen.command_pages import FOLDER as COMMANDS_FOLDER
from docgen.rest_page import PATH as REST_PATH
from docgen.root_pages import ROOT_PAGES

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
NAMES_OF_OTHERS = {
    *("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_S3_ENDPOINT_URL"),  # environment
    *("group_ethnicity", "group_gender", "group_age"),  # columns: group_ and the name of a grouping
    *(
        "eth_gender_annotations_dev",
        "eth_gender_annotations_test",
        "training80_01",
        "presenter_outdoors",
    ),  # files of data sets
    *(
        "app_port",
        "LayerGradientXActivation",
        "IntegratedGradients",
        "TreebankWordTokenizer",
    ),  # settings and classes of others
    *("FIV2_FOLDER", "share_of_way"),  # a folder of the reader; a key of version 0.1
    "CRNET_SITE_URL",  # a variable in mkdocs.yml
    *(
        "submit_training",
        "libtorch_cpu",
        "RssAnon",
        "CRNET_FIV2_KEY_TEST_1E",
    ),  # a library, a field of Linux, a variable for one archive
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code_lines(text: str) -> list[str]:
    """Return the lines of indented and fenced code, without comments."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    \S.*", text, flags=re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in [*indented, *"".join(fenced).splitlines()]]


def code_spans(text: str) -> list[str]:
    """Return the texts between backticks outside code blocks; a span may continue on the next line."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


@cache
def source_words() -> set[str]:
    """Return all words of the source, and the names of all files of the repository that hold code."""
    files = [
        *REPOSITORY.glob("benchmarks/**/*.py"),
        *REPOSITORY.glob("docgen/*.py"),
        REPOSITORY / "hatch_build.py",
        *REPOSITORY.glob("examples/*.py"),
        *(REPOSITORY / name for name in ("Makefile", "Dockerfile")),
    ]
    files += [path for path in REPOSITORY.glob("src/**/*.*") if path.suffix in (".py", ".html", ".css", ".js")]
    words = set(re.findall(r"\w+", "\n".join(map(read, files))))
    return words | {path.stem for path in (*files, *REPOSITORY.glob("tests/**/*.py"))}


@cache
def options_of(name: str) -> frozenset[str]:
    """Return the options of a command, those of the configuration included."""
    command = command_class(name)
    return frozenset(option_names(command, command.defaults([])))


@cache
def benchmark_options() -> set[str]:
    names = [ALL, *TABLE, *SCRIPTS]
    return {option for name in names for option in re.findall(r"--[a-z][\w-]*", benchmark_help(name))}


def benchmark_help(name: str) -> str:
    (subparsers,) = (action for action in _parser(name)._actions if action.dest == "name")
    return str(subparsers.choices[name].format_help())  # type: ignore[index, call-overload]


@each_page
def test_dotted_names_import(page: Path) -> None:
    text = read(page)
    source = "\n".join(read(path) for path in REPOSITORY.glob("src/**/*.py"))
    names = {
        name
        for code in [*code_lines(text), *code_spans(text)]
        for name in re.findall(r"(?<![\w./-])crnet(?:\.[A-Za-z_]\w*)+", code)
        if not name.endswith(".py") and f'"{name}"' not in source  # a file, a key
    }
    for name in names:
        _, *parts = name.split(".")
        owner: object = importlib.import_module("crnet")
        for end, part in enumerate(parts, start=1):
            if not hasattr(owner, part):
                importlib.import_module(".".join(["crnet", *parts[:end]]))
            owner = getattr(owner, part)


@each_page
def test_identifiers_exist_in_the_source(page: Path) -> None:
    identifier = r"\b[A-Za-z_]\w*(?=\()|\b[A-Za-z]\w*_\w+|\b[A-Z]+[a-z]\w*[A-Z]\w*"
    names = {name for span in code_spans(read(page)) for name in re.findall(identifier, span)}
    assert names - source_words() - NAMES_OF_OTHERS == set()


@each_page
def test_paths_of_code_exist(page: Path) -> None:
    lower_case = r"\b(?:[a-z_-]+/)+[a-z0-9_-]+\.py\b"  # a name in capitals is to be replaced
    paths = {path for span in code_spans(read(page)) for path in re.findall(lower_case, span)}
    folders = (REPOSITORY, REPOSITORY / "src" / "crnet")
    assert {path for path in paths if not any((folder / path).exists() for folder in folders)} == set()


@each_page
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)", re.sub(r"`[^`]*`", "", read(page)))
    missing = {link for link in links if not (page.parent / link).exists()}
    assert {link for link in missing if (page.parent / link).resolve() not in generated_pages()} == set()


@cache
def generated_pages() -> set[Path]:
    """Return where the generated pages of the site would be if they were files."""
    folder = REPOSITORY / "docs"
    pages = {
        *ROOT_PAGES,
        REST_PATH,
        *(f"{COMMANDS_FOLDER}/{name.replace(' ', '-')}.md" for name in ("index", *COMMANDS)),
    }
    return {folder / page for page in (*pages, *api_pages())}


def test_the_navigation_lists_every_page() -> None:
    text = read(REPOSITORY / "mkdocs.yml").partition("\nnav:")[2]
    listed = set(re.findall(r"([\w/-]+\.md)", text))
    pages = {
        page.relative_to(REPOSITORY / "docs").as_posix() for page in PAGES if (REPOSITORY / "docs") in page.parents
    }
    assert listed == pages | {*ROOT_PAGES, REST_PATH}


def test_modules_of_the_reference_import() -> None:
    for page in API_PAGES.values():
        for module in page.modules:
            assert importlib.import_module(module).__doc__, module


@cache
def documented_names() -> set[str]:
    """Return the names that the pages of the Python reference show: those with a docstring, with their modules."""
    names: set[str] = set()
    for module in {module for page in API_PAGES.values() for module in page.modules}:
        body = ast.parse(inspect.getsource(importlib.import_module(module))).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
                names.add(f"{module}.{node.name}")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(after, ast.Expr):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {f"{module}.{target.id}" for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((REPOSITORY / "examples").glob("*.py"))], ids=lambda page: page.name.removesuffix(".md")
)
def test_what_an_example_imports_is_in_the_reference(page: Path) -> None:
    text = read(page)
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if page.suffix == ".md" else [text]
    missing = set()
    for node in (node for example in examples for node in ast.walk(ast.parse(example))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("crnet."):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                home = getattr(getattr(module, alias.name), "__module__", node.module)  # where a package takes it from
                missing |= {f"{home}.{alias.name}"} - documented_names()
    assert missing == set()


@each_page
def test_imports_of_the_examples_work(page: Path) -> None:
    for example in re.findall(r"^```python\n(.*?)^```", read(page), flags=re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("crnet"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@each_page
def test_commands_exist_and_have_the_options(page: Path) -> None:
    text = read(page)
    for code in [*code_lines(text), *code_spans(text)]:
        for words in re.findall(r"(?:^|[\s/])crnet +([a-z][^\n|]*)", code):
            if words.startswith(("help ", "import ")):
                continue
            name = next((name for name in COMMANDS if f"{words} ".startswith(f"{name} ")), None)
            assert name is not None, code
            assert set(re.findall(r"--[a-z][\w.-]*", words)) <= options_of(name), code


@each_page
def test_options_exist_somewhere(page: Path) -> None:
    known = {option for name in COMMANDS for option in options_of(name)} | benchmark_options()
    known |= {"--version", "--tyro-write-completion", "--tyro-print-completion", "--build-arg", "--nproc-per-node"}
    known |= {"--node-rank", "--cluster"}  # of torchrun and of examples/slurm
    known |= set(re.findall(r'"(--[a-z]+)"', read(REPOSITORY / "tests" / "fuzz" / "__main__.py")))
    spans = code_spans(read(page))
    assert {option for span in spans for option in re.findall(r"(?<!\w)--[a-z][\w.-]*", span)} - known == set()


@each_page
def test_benchmarks_and_make_targets_exist(page: Path) -> None:
    text = read(page)
    targets = set(re.findall(r"^([a-z0-9-]+):", read(REPOSITORY / "Makefile"), flags=re.MULTILINE))
    for code in [*code_lines(text), *code_spans(text)]:
        for name, rest in re.findall(r"python -m benchmarks ([a-z-]+)([^|]*)", code):
            assert set(re.findall(r"--[a-z][\w-]*", rest)) <= set(re.findall(r"--[a-z][\w-]*", benchmark_help(name)))
        assert set(re.findall(r"^ *make ([a-z0-9-]+)", code)) <= targets


@pytest.mark.parametrize(
    ("title", "writer"),
    [("`crnet predict RUN VIDEO --json`", Prediction), ("`crnet evaluate` writes `metrics.json`", Evaluation)],
    ids=["predict", "evaluate"],
)
def test_the_keys_of_json_documents_are_complete(title: str, writer: type) -> None:
    _, _, after = read(REPOSITORY / "docs" / "data.md").partition(title)
    block = re.findall(r"((?:^    .*\n|^\n)+)", after, flags=re.MULTILINE)[0]
    depth, listed = 0, set()
    for token in re.findall(r'[{}]|"\w+"', block):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if token.startswith('"') and depth == 1:
            listed.add(token.strip('"'))
    assert listed == first_level_keys(writer)


def first_level_keys(writer: type) -> set[str]:
    """Return the keys of the dictionary that `to_dict` returns, also those that it leaves out on a condition."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(writer.to_dict)))  # type: ignore[attr-defined]
    document = next(node.value for node in ast.walk(tree) if isinstance(node, ast.Return))
    keys: set[str] = set()

    def add(node: ast.AST | None) -> None:
        if isinstance(node, ast.IfExp):
            add(node.body)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    add(value)
                else:
                    keys.add(str(ast.literal_eval(key)))

    add(document)
    return keys


@each_page
def test_fields_of_the_configuration_exist(page: Path) -> None:
    fields = {option.removeprefix("--") for option in options_of("train")}
    paths = {
        path.replace("_", "-")
        for span in code_spans(read(page))
        for path in re.findall(r"^((?:transforms|model|training|fusion)\.[\w.]+)$", span)
        if not path.endswith(".py")
    }
    assert {path for path in paths if not any(f"{field}.".startswith(f"{path}.") for field in fields)} == set()


def test_the_table_of_shared_options_lists_every_command() -> None:
    rows = re.findall(r"^\| (`-.*?) \|.*\| ([^|]+) \|$", read(REPOSITORY / "docs" / "cli.md"), flags=re.MULTILINE)
    assert len(rows) > 8
    for options, commands in rows:
        listed = [name for part in commands.split(", ") for name in COMMANDS if part in (name, name.split()[0], "all")]
        for option in re.findall(r"--[a-z-]+", options):
            assert set(listed) == {name for name in COMMANDS if option in options_of(name)}, option


def test_the_experiments_are_listed() -> None:
    listed = set(re.findall(r"^\| `([\w-]+)`", read(REPOSITORY / "docs" / "reproduce.md"), flags=re.MULTILINE))
    named = {name for name in EXPERIMENTS if not re.fullmatch(r"(table|fig)\d+", name)}  # the others stand in ranges
    assert named <= listed <= set(EXPERIMENTS)
    help_text = re.split(r"[,; ]+", str(get_type_hints(Reproduce, include_extras=True)["what"]))
    assert named <= set(help_text)
