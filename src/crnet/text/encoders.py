"""Text encoders by name. `ENCODERS` lists ours, for help and errors; plugins add theirs (docs/guides/plugins.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from crnet.errors import ConfigError, FormatError
from crnet.text.encoder_interface import EncoderName, TextEncoder, encoder_label, is_same_encoder, parse_encoder_name
from crnet.utils.plugins import load_plugin, plugin_errors, plugin_names
from crnet.utils.text_format import join_words

# Each function imports its encoder itself: two of them need PyTorch, and the command line's help needs none.


def _load_hashed_ngrams(place: str, fingerprint: str) -> TextEncoder:
    from crnet.text.hashed_ngrams import HashedNgrams

    return HashedNgrams()


def _load_skip_thoughts(place: str, fingerprint: str) -> TextEncoder:
    from crnet.text.skip_thoughts.encoder import SkipThoughts

    return SkipThoughts(place, fingerprint)


def _load_sentence_encoder(place: str, fingerprint: str) -> TextEncoder:
    from crnet.text.sentence import SentenceEncoder

    return SentenceEncoder(place, fingerprint)


def _load_sentence_openvino(place: str, fingerprint: str) -> TextEncoder:
    from crnet.text.sentence_openvino import SentenceOpenVino

    return SentenceOpenVino(place, fingerprint)


class EncoderKind(NamedTuple):
    """A kind of text encoder.

    Attributes:
        load: Loads the encoder from its place, "" if it has none. The fingerprint of the weights, if it is not "",
            must be the given one.
        places: What the place can be, as words for the help; empty for an encoder without weights.
    """

    load: Callable[[str, str], TextEncoder]
    places: tuple[str, ...] = ()


DEFAULT_ENCODER = "hashed-ngrams-v1"
ENCODERS = {
    DEFAULT_ENCODER: EncoderKind(_load_hashed_ngrams),
    "skip-thoughts": EncoderKind(_load_skip_thoughts, ("FOLDER",)),
    "sentence": EncoderKind(_load_sentence_encoder, ("FOLDER", "NAME")),
    "sentence-openvino": EncoderKind(_load_sentence_openvino, ("FOLDER",)),
}
"""The text encoders by kind, which is the first part of an encoder's name."""


def supported_names() -> str:
    """Return the names of our encoders that a user can give: "hashed-ngrams-v1, skip-thoughts:FOLDER or ..."."""
    return join_words([name for kind, encoder in ENCODERS.items() for name in _names(kind, encoder)], "or")


def _names(kind: str, encoder: EncoderKind) -> list[str]:
    return [str(EncoderName(kind, place)) for place in encoder.places or ("",)]


def encoder_by_name(name: str) -> TextEncoder:
    """Load the encoder that a user, a store or a bundle names.

    Args:
        name: One of `supported_names`, or that of a plugin. After a place, a `#` with the fingerprint of the weights
            may follow; other weights are then refused.

    Raises:
        ConfigError: The encoder is unknown, its plugin cannot be imported or fails, or its weights lack the
            fingerprint.
        FormatError: The encoder's files are missing, damaged or of another kind.
        MissingDependencyError: A package that the encoder needs is not installed.
    """
    kind, place, fingerprint = parse_encoder_name(name)
    encoder = ENCODERS.get(kind) or load_plugin("crnet.encoders", kind, EncoderKind)
    if encoder is None:
        plugins = join_words([plugin for plugin in plugin_names("crnet.encoders") if plugin not in ENCODERS])
        others = f"; plugins add {plugins}" if plugins else ""
        remedy = f"use {supported_names()}{others}; if a plugin has it, install its package"
        raise ConfigError(f"unknown text encoder {name!r}", remedy=remedy)
    if name != kind if not encoder.places else not place:
        raise ConfigError(f"unknown text encoder {name!r}", remedy=f"use {join_words(_names(kind, encoder), 'or')}")
    if kind in ENCODERS:
        return encoder.load(place, fingerprint)
    with plugin_errors("crnet.encoders", kind):
        return encoder.load(place, fingerprint)


def find_encoder(recorded: str, override: str | None = None) -> TextEncoder:
    """Load the encoder of a store or a bundle, from its recorded place or from another one.

    Args:
        recorded: Name that the store or the bundle holds.
        override: Name of the encoder at its present place; None uses the recorded place.

    Raises:
        ConfigError: The weights differ from the recorded ones.
        FormatError, MissingDependencyError: See `encoder_by_name`.
    """
    if override is None:
        try:
            return encoder_by_name(recorded)
        except FormatError as error:
            raise FormatError(
                f"the text encoder {encoder_label(recorded)} is not at its recorded place: {error.reason}",
                path=error.path,
                remedy="name its present place with --encoder",
            ) from error
    encoder = encoder_by_name(override)
    if not is_same_encoder(encoder.name, recorded):
        raise ConfigError(
            f"the text encoder is {encoder_label(encoder.name)}, but the system was trained with"
            f" {encoder_label(recorded)}",
            path=override,
            remedy="give the encoder that the system was trained with, or train again",
        )
    return encoder
