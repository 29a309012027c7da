"""Datasets that `crnet prepare` reads."""
