"""Words in sentences."""

from __future__ import annotations

import pytest

from crnet.utils.text_format import join_words


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_enumerations(words: list[str], text: str) -> None:
    assert join_words(words) == text
