"""Look up text encoders by name: `hashed-ngrams-v1`, `skip-thoughts:FOLDER`, `sentence:FOLDER` or `sentence:NAME`."""

from __future__ import annotations

from crnet.errors import ConfigError, FormatError
from crnet.text.base import TextEncoder, encoder_label, is_same_encoder, parse_encoder_name
from crnet.text.hashed_ngrams import HashedNgrams

SUPPORTED_NAMES = "hashed-ngrams-v1, skip-thoughts:FOLDER, sentence:FOLDER or sentence:NAME"


def encoder_by_name(name: str) -> TextEncoder:
    """Load the encoder that a user, a store or a bundle names.

    Args:
        name: `hashed-ngrams-v1`, `skip-thoughts:FOLDER`, or `sentence:FOLDER` or `sentence:NAME`. A `#` with the
            fingerprint of the weights may follow; other weights are then refused.

    Raises:
        ConfigError: The encoder is unknown, or its weights do not have the fingerprint.
        FormatError: The encoder's files are missing, damaged or of another kind.
        MissingDependencyError: A package that the encoder needs is not installed.
    """
    kind, place, fingerprint = parse_encoder_name(name)
    if name == HashedNgrams.name:
        return HashedNgrams()
    # Imported here: both need PyTorch, and most callers use the hashed n-grams.
    if kind == "skip-thoughts" and place:
        from crnet.text.skip_thoughts.encoder import SkipThoughts

        return SkipThoughts(place, fingerprint)
    if kind == "sentence" and place:
        from crnet.text.sentence import SentenceEncoder

        return SentenceEncoder(place, fingerprint)
    raise ConfigError(f"unknown text encoder {name!r}", remedy=f"use {SUPPORTED_NAMES}")


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
