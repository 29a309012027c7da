"""Experiments of `crnet reproduce`: the paper's tables and figures, and the framework for your own ablations."""
