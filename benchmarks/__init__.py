"""Benchmarks of speed, memory and behaviour: `python -m benchmarks NAME`."""
