"""How near the code comes to the limits of the machine: `crnet bench` and its rows, see docs/performance.md."""
