"""Evaluate trained systems: metrics on one split, and cross-validation on other splits."""
