"""Data sets: sources, the clip store, samples."""
