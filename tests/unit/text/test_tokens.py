"""Sentences and tokens; the expected tokens are those of NLTK 3.10.4's TreebankWordTokenizer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.text.skip_thoughts.tokens import split_sentences, tokenize, tokenize_sentence


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("I don't know.", "I do n't know ."),
        ('She said: "Hi!" (and left).', "She said : `` Hi ! '' ( and left ) ."),
        ("'Tis what I cannot, gonna, gimme, wanna", "'T is what I can not , gon na , gim me , wan na"),
        ("It costs $5.50 at 10:30, or 1,000...", "It costs $ 5.50 at 10:30 , or 1,000 ..."),
        ("the dogs' bone's I'm I'd we'll they've", "the dogs ' bone 's I 'm I 'd we 'll they 've"),
        ("Mr. Smith of the U.S. left", "Mr. Smith of the U.S. left"),
        ("rock-and-roll -- or not?!", "rock-and-roll -- or not ? !"),
        ("“curly” don’t", "“curly” don’t"),
        ("", ""),
    ],
)
def test_tokens_of_a_sentence(sentence: str, tokens: str) -> None:
    assert tokenize_sentence(sentence) == tokens.split()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It is. Is it? It is! So", ["It is.", "Is it?", "It is!", "So"]),
        ("Mr. Smith met J. R. Ewing at 5 p.m. and left.", ["Mr. Smith met J. R. Ewing at 5 p.m. and left."]),
        ("That is what I am and I. Then we left.", ["That is what I am and I.", "Then we left."]),
        ('"Yes." "No!" (Maybe.) Ok... Fine.', ['"Yes."', '"No!"', "(Maybe.)", "Ok...", "Fine."]),
        ("wait... what? i see.", ["wait... what? i see."]),
        ("3.5 is not 3. 5 is more.", ["3.5 is not 3.", "5 is more."]),
        (" \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert list(split_sentences(text)) == sentences


def test_the_last_full_stop_of_each_sentence_is_a_token() -> None:
    assert tokenize("I like Mr. Bean. Do you?") == ["I", "like", "Mr.", "Bean", ".", "Do", "you", "?"]


@given(st.text())
def test_only_spaces_are_lost(text: str) -> None:
    joined = "".join(tokenize(text)).replace("``", '"').replace("''", '"')
    assert joined == "".join(text.split()).replace("``", '"').replace("''", '"')


@pytest.mark.parametrize("piece", [".", "!", '"', "'", " ", ". ", ".)", "a.", "' ", "can", '." A', "(", "I. "])
def test_time_grows_linearly_with_the_text(piece: str) -> None:
    start = time.process_time()
    tokenize(piece * (40_000 // len(piece)))
    assert time.process_time() - start < 3  # quadratic time would take minutes
