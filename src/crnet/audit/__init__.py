"""Audit a system by group: metrics, impact ratios, and differences. Numbers only; `report` draws them."""
