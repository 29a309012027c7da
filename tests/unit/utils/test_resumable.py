from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.errors import ConfigError, FormatError, UsageError
from crnet.utils.resumable import (
    ResumableFolder,
    as_json,
    content_fingerprint,
    differences,
    fingerprint,
    short_fingerprint,
)

RUN = ResumableFolder("a run", "run.json", result_settings=lambda document: document["config"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3)
DOCUMENTS = st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.recursive(
        SCALARS,
        lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), values),
        max_leaves=8,
    ),
    min_size=1,
)


def reordered(document: Any) -> Any:
    """The same document with the keys of every object in reverse order."""
    if isinstance(document, dict):
        return {key: reordered(value) for key, value in reversed(document.items())}
    return [reordered(value) for value in document] if isinstance(document, list) else document


def paths_of_leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(document, dict) and document:
        return [leaf for key, value in document.items() for leaf in paths_of_leaves(value, (*path, key))]
    if isinstance(document, list) and document:
        return [leaf for i, value in enumerate(document) for leaf in paths_of_leaves(value, (*path, i))]
    return [path]


def with_leaf(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = with_leaf(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize(
    ("recorded", "current", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b.1 was 2 and is now 3"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a was [1] and is now [1, 2]"]),
        ({"a": 1, "old": 5}, {"a": 1}, ["old was 5 and is now None"]),
        ({}, {"new": 5}, ["new was None and is now 5"]),
        ({}, {"new": None}, []),
        (None, {"a": 1}, ["the document was None and is now {'a': 1}"]),
        ({"z": 1, "a": 1}, {"a": 2, "z": 2}, ["a was 1 and is now 2", "z was 1 and is now 2"]),
    ],
)
def test_changes(recorded: Any, current: Any, expected: list[str]) -> None:
    assert list(differences(recorded, current)) == expected


@given(DOCUMENTS)
def test_the_order_of_keys_does_not_matter(document: dict[str, Any]) -> None:
    assert fingerprint(reordered(document)) == fingerprint(document)
    assert list(differences(reordered(document), document)) == []


@given(DOCUMENTS, st.data())
def test_every_changed_value_is_named_and_fingerprinted(document: dict[str, Any], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(paths_of_leaves(document)))
    changed = with_leaf(document, path, "another value")
    name = ".".join(map(str, path))
    assert [text.split(" was ")[0] for text in differences(document, changed)] == [name]
    assert fingerprint(changed) != fingerprint(document)


@given(DOCUMENTS)
def test_a_document_read_back_from_json_has_not_changed(document: dict[str, Any]) -> None:
    assert list(differences(json.loads(json.dumps(document)), as_json(document))) == []


def test_as_json_turns_tuples_into_lists_and_paths_into_text() -> None:
    assert as_json({"blocks": (1, 2), "init": Path("a/b")}) == {"blocks": [1, 2], "init": "a/b"}


def test_fingerprints_are_those_that_earlier_versions_stored() -> None:
    document = {"b": [1, 2.5, None], "a": {"é": True}}
    stored = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    assert fingerprint(document) == stored
    assert short_fingerprint(document) == stored[:16]
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_content_fingerprint_is_the_sha256_of_all_parts() -> None:
    parts = [b"some ", memoryview(b"content")]
    assert content_fingerprint(parts) == hashlib.sha256(b"some content").hexdigest()


def test_nothing_is_begun_in_a_new_or_empty_folder(tmp_path: Path) -> None:
    assert not RUN.check(tmp_path / "new", {"config": 1})
    assert not RUN.check(tmp_path, {"config": 1})
    (tmp_path / ".tmp-x").write_text("left by a killed run")
    assert not RUN.check(tmp_path, {"config": 1})


def test_equal_settings_resume_whatever_else_differs(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"versions": "old", "config": {"b": [1], "a": null}}')
    assert RUN.check(tmp_path, {"config": {"b": (1,)}, "versions": "new"})


@given(DOCUMENTS, st.data())
def test_a_folder_with_any_changed_setting_is_refused(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.json").write_text(json.dumps({"config": document}))
    assert RUN.check(folder, {"config": reordered(document)})
    path = data.draw(st.sampled_from(paths_of_leaves(document)))
    with pytest.raises(ConfigError) as caught:
        RUN.check(folder, {"config": with_leaf(document, path, "another value")})
    assert f"{'.'.join(map(str, path))} was " in caught.value.reason
    assert caught.value.path == folder / "run.json" and caught.value.remedy


def test_the_error_names_three_changes_and_counts_the_others(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"config": dict.fromkeys("abcde", 1)}))
    with pytest.raises(ConfigError) as caught:
        RUN.check(tmp_path, {"config": dict.fromkeys("abcde", 2)})
    assert caught.value.reason == (
        "this folder holds a run made with another configuration: "
        "a was 1 and is now 2; b was 1 and is now 2; c was 1 and is now 2; and 2 more"
    )


def test_other_files_are_refused_unless_the_folder_is_shared(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match=r"is not empty, and has no run\.json as a run would"):
        RUN.check(tmp_path, {"config": 1})
    assert not ResumableFolder("a run", "run.json", exclusive=False).check(tmp_path, {"config": 1})
    with pytest.raises(UsageError, match="is a file, not a folder for a run"):
        RUN.check(tmp_path / "thesis.tex", {"config": 1})


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "7", '{"versions": 1}'])
def test_a_damaged_settings_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FormatError, match="the settings of a run") as caught:
        RUN.check(tmp_path, {"config": 1})
    assert caught.value.path == tmp_path / "run.json"
