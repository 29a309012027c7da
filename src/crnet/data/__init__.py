"""Datasets: sources, the clip store, samples and batches."""
