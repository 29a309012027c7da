"""Data sets that `crnet prepare` reads."""
