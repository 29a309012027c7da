from __future__ import annotations

import getpass
import os
import sys

import pytest

from crnet.data.sources.archive_keys import Key, ask_for_key, key_variables, locked_remedy, wrong_key_remedy


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CRNET_FIV2_KEY")]:
        monkeypatch.delenv(name)


def terminal(monkeypatch: pytest.MonkeyPatch, answer: str | None) -> list[str]:
    """Pretend that there is a terminal whose user types this answer, or ends the input; return the questions."""
    questions: list[str] = []

    def type_key(question: str) -> str:
        questions.append(question)
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", type_key)
    return questions


def test_the_key_of_an_archive_goes_before_that_of_the_outer_one_and_the_general_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("test80_01", "test-1e")
    assert key_variables(names) == ("CRNET_FIV2_KEY_TEST80_01", "CRNET_FIV2_KEY_TEST_1E", "CRNET_FIV2_KEY")
    for variable in reversed(key_variables(names)):
        monkeypatch.setenv(variable, f"the key in {variable}")
        assert ask_for_key(names) == Key(f"the key in {variable}", f"in {variable}")


def test_an_empty_variable_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    monkeypatch.setenv("CRNET_FIV2_KEY_TEST_1E", "")
    assert ask_for_key(["test-1e"]) is None


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = terminal(monkeypatch, "typed")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert ask_for_key(["test-1e"]) is None
    monkeypatch.setattr(sys, "stdin", None)
    assert ask_for_key(["test-1e"]) is None and questions == []


@pytest.mark.parametrize(("answer", "key"), [("typed", Key("typed", "that was typed")), ("", None), (None, None)])
def test_a_terminal_is_asked_and_may_skip_the_archive(
    monkeypatch: pytest.MonkeyPatch, answer: str | None, key: Key | None
) -> None:
    questions = terminal(monkeypatch, answer)
    assert ask_for_key(["test-1e"]) == key
    assert len(questions) == 1 and "test-1e.zip" in questions[0] and "skips" in questions[0]


def test_nobody_is_asked_for_the_key_of_an_archive_inside_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = terminal(monkeypatch, "typed")
    assert ask_for_key(["test80_01", "test-1e"]) is None and questions == []


def test_the_remedies_name_the_variables() -> None:
    assert locked_remedy(["test80_01", "test-1e"]) == (
        "set CRNET_FIV2_KEY_TEST80_01, CRNET_FIV2_KEY_TEST_1E or CRNET_FIV2_KEY to its key "
        "and run the same command again"
    )
    assert wrong_key_remedy(["test80_01", "test-1e"]) == "set CRNET_FIV2_KEY_TEST80_01 to the key of test80_01.zip"


def test_a_key_does_not_show_in_messages() -> None:
    assert "geheim" not in repr(Key("geheim", "that was typed"))
