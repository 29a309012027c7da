"""Transcripts and their vectors."""
