"""Sharing through the Hub: a stand-in for its HTTP API, clean caches, no connection, and files that were changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

import crnet
from crnet.bundle.bundle import Bundle
from crnet.bundle.hub import fetch_bundle, is_repository, push_bundle
from crnet.bundle.save import save_bundle
from crnet.bundle.verify import document_sha256
from crnet.cli.main import main
from crnet.errors import FormatError, UsageError
from crnet.score_batch import model_fingerprint
from hub_server import HubServer, hub_server

NAME = "lab/impressions"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub on the loopback interface, and a clean cache. The library reads its variables when it is imported."""
    with hub_server() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        template = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the command sets it, and this puts it back
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def run(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, tmp_path / "run" / "bundle")
    (tmp_path / "run" / "README.md").write_text("---\nlicense: unknown\n---\n# A card\n")
    (tmp_path / "run" / "evaluation").mkdir()
    (tmp_path / "run" / "evaluation" / "private.csv").write_text("not for others")
    return tmp_path / "run"


def test_a_pushed_run_loads_in_a_clean_cache_and_again_without_a_connection(
    hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["push", str(run), NAME, "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["repository"] == NAME and pushed["revision"] == hub.commits[NAME][-1][0]
    assert hub.private == {NAME: True}
    files = hub.commits[NAME][-1][1]
    names = {path.name for path in (run / "bundle").iterdir()}
    assert set(files) == names | {"README.md"}
    assert {name: files[name] for name in names} == {name: (run / "bundle" / name).read_bytes() for name in names}

    system = crnet.load(NAME, device="cpu")
    assert system.bundle.model == (NAME, model_fingerprint(run), crnet.__version__)
    assert model_fingerprint(NAME) == model_fingerprint(run)

    hub.server_close()
    hub.shutdown()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for revision in (None, pushed["revision"]):
        assert crnet.load(NAME, device="cpu", revision=revision).bundle.model == system.bundle.model


def test_all_files_are_of_the_commit_that_a_revision_names(hub: HubServer, run: Path) -> None:
    first = push_bundle(run, NAME, run / "README.md").revision
    calls = len(hub.requests)
    hub.commit(NAME, {"bundle.json": b"{}"})
    assert fetch_bundle(NAME, first).name == first
    fetched = {path for method, path in hub.requests[calls:] if method == "GET"}
    assert fetched and all(f"/resolve/{first}/" in path for path in fetched)
    with pytest.raises(FormatError, match="not a bundle"):
        fetch_bundle(NAME)


def test_a_file_that_was_changed_on_the_hub_or_in_the_cache_is_refused(hub: HubServer, run: Path) -> None:
    good = push_bundle(run, NAME, run / "README.md").revision
    weights = hub.commits[NAME][-1][1]["face.safetensors"]
    hub.commit(NAME, {"face.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])})
    with pytest.raises(FormatError, match=r"face\.safetensors: damaged: not the file that bundle\.json names"):
        crnet.load(NAME, device="cpu")
    cached = fetch_bundle(NAME, good) / "scene.safetensors"
    content = cached.read_bytes()
    cached.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    remedy = r"\(run `hf cache rm model/lab/impressions` and load the model again\)"
    with pytest.raises(FormatError, match=rf"scene\.safetensors: damaged.*{remedy}"):
        crnet.load(NAME, device="cpu", revision=good)


def test_only_files_of_a_bundle_are_fetched_and_only_up_to_a_size(
    hub: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_bundle(run, NAME, run / "README.md")
    document = json.loads((run / "bundle" / "bundle.json").read_text())
    document["files"] |= {"code.py": hashlib.sha256(b"").hexdigest(), "../x.safetensors": "0" * 64}
    document["sha256"] = document_sha256(document)
    hub.commit(NAME, {"bundle.json": json.dumps(document).encode(), "code.py": b""})
    folder = fetch_bundle(NAME)
    assert not (folder / "code.py").exists()
    assert not any("code.py" in path or "x.safetensors" in path for _, path in hub.requests)
    monkeypatch.setattr("crnet.bundle.hub.LARGEST_JSON_BYTES", 10)
    hub.commit(NAME, {"unrelated": b""})
    with pytest.raises(FormatError, match=r"bundle\.json is larger than 0 MB"):
        fetch_bundle(NAME)


def test_an_unknown_model_revision_or_name_is_one_line(hub: HubServer, run: Path) -> None:
    with pytest.raises(FormatError, match="lab/other: the Hub or its cache does not give this model"):
        crnet.load("lab/other")
    push_bundle(run, NAME, run / "README.md")
    with pytest.raises(FormatError, match="does not give this model"):
        crnet.load(NAME, revision="v9")
    with pytest.raises(UsageError, match="no name of a model"):
        push_bundle(run, "../etc", run / "README.md")


def test_a_folder_is_never_looked_for_on_the_hub(hub: HubServer, run: Path, tmp_path: Path) -> None:
    assert not is_repository(run)
    (tmp_path / "runs").mkdir()
    with pytest.raises(FormatError, match="no such folder"):
        crnet.load("runs/misspelled")
    with pytest.raises(UsageError, match="is a folder, which has no revisions"):
        crnet.load(run, revision="main")
    assert hub.requests == []
    assert is_repository("org/name")
    assert not any(map(is_repository, ("name", "a/b/c", "/org/name", "../name", "org/.name")))


def test_a_card_that_does_not_fit_is_not_pushed(hub: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(run), NAME, "--license", "mit"]) == 2
    assert "README.md exists, so --license and --provider would change nothing" in capsys.readouterr().err
    (run / "README.md").write_text("Version: model fingerprint `0123456789abcdef`\n")
    assert main(["push", str(run), NAME]) == 2
    assert "describes another model than this bundle (fingerprint 0123456789abcdef" in capsys.readouterr().err
    assert hub.requests == []


def test_a_damaged_run_is_not_pushed(hub: HubServer, run: Path) -> None:
    (run / "bundle" / "trees.safetensors").write_bytes(b"")
    with pytest.raises(FormatError, match="damaged"):
        push_bundle(run, NAME, run / "README.md")
    assert hub.requests == []


def test_a_bundle_that_names_other_files_is_not_pushed(hub: HubServer, run: Path) -> None:
    (run / "bundle" / "notes.txt").write_text("private")
    document = json.loads((run / "bundle" / "bundle.json").read_text())
    document["files"]["notes.txt"] = hashlib.sha256(b"private").hexdigest()
    (run / "bundle" / "bundle.json").write_text(json.dumps(document | {"sha256": document_sha256(document)}))
    with pytest.raises(FormatError, match=r"bundle\.json names notes\.txt, which is no file of a bundle"):
        push_bundle(run, NAME, run / "README.md")
    assert hub.requests == []


def test_an_error_says_whether_the_hub_was_asked(hub: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.server_close()
    hub.shutdown()
    with pytest.raises(FormatError, match=r"the Hub does not take this model: .*refused"):
        push_bundle(run, NAME, run / "README.md")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FormatError, match=r"HF_HUB_OFFLINE is set \(load it once with a connection"):
        crnet.load(NAME, device="cpu")
    with pytest.raises(FormatError, match="HF_HUB_OFFLINE is set"):
        push_bundle(run, NAME, run / "README.md")
