"""Names of text encoders, and lookup by name."""

from __future__ import annotations

import pytest

from crnet.errors import ConfigError
from crnet.text.encoder_interface import (
    EncoderName,
    check_fingerprint,
    encoder_label,
    is_same_encoder,
    parse_encoder_name,
)
from crnet.text.encoders import encoder_by_name, find_encoder

FINGERPRINT = "0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hashed-ngrams-v1", ("hashed-ngrams-v1", "", "")),
        ("skip-thoughts:/a/b", ("skip-thoughts", "/a/b", "")),
        (f"skip-thoughts:/a/b#{FINGERPRINT}", ("skip-thoughts", "/a/b", FINGERPRINT)),
        (f"sentence:C:/a#1#{FINGERPRINT}", ("sentence", "C:/a#1", FINGERPRINT)),
        ("sentence:/a#not-a-fingerprint", ("sentence", "/a#not-a-fingerprint", "")),
    ],
)
def test_names_are_parsed_and_written(name: str, parts: tuple[str, str, str]) -> None:
    assert parse_encoder_name(name) == parts
    assert str(EncoderName(*parts)) == name


def test_labels_leave_out_the_place() -> None:
    assert encoder_label(f"skip-thoughts:/a/b#{FINGERPRINT}") == f"skip-thoughts#{FINGERPRINT}"
    assert encoder_label("hashed-ngrams-v1") == "hashed-ngrams-v1"
    assert is_same_encoder(f"sentence:name#{FINGERPRINT}", f"sentence:/a#{FINGERPRINT}")
    assert not is_same_encoder(f"sentence:name#{FINGERPRINT}", f"skip-thoughts:name#{FINGERPRINT}")


def test_other_weights_are_refused_by_label_and_place() -> None:
    check_fingerprint(f"sentence:name#{FINGERPRINT}", FINGERPRINT)
    check_fingerprint(f"sentence:name#{FINGERPRINT}", None)
    with pytest.raises(ConfigError, match=rf"name: these weights .*sentence#{FINGERPRINT}, not sentence#ffff"):
        check_fingerprint(f"sentence:name#{FINGERPRINT}", "f" * 16)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (
            "word2vec",
            "hashed-ngrams-v1, skip-thoughts:FOLDER, sentence:FOLDER, sentence:NAME or sentence-openvino:FOLDER",
        ),
        ("skip-thoughts", r"skip-thoughts:FOLDER\)"),
        ("sentence:", r"sentence:FOLDER or sentence:NAME\)"),
        ("hashed-ngrams-v1:folder", r"hashed-ngrams-v1\)"),
        ("hashed-ngrams-v1:", r"hashed-ngrams-v1\)"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_alike(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown text encoder '{name}' .use {remedy}"):
        encoder_by_name(name)


def test_lookup_by_name() -> None:
    assert encoder_by_name("hashed-ngrams-v1").name == "hashed-ngrams-v1"


def test_an_override_must_be_the_recorded_encoder() -> None:
    assert find_encoder("hashed-ngrams-v1", "hashed-ngrams-v1").name == "hashed-ngrams-v1"
    with pytest.raises(ConfigError, match="was trained with sentence#"):
        find_encoder(f"sentence:name#{FINGERPRINT}", "hashed-ngrams-v1")
