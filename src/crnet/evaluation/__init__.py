"""Measure trained systems: metrics, protocols, comparisons."""
