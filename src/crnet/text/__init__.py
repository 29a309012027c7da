"""Transcripts, their language, and the encoders that turn them into vectors."""
