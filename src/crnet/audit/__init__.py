"""Audit a system by group: metrics, impact ratios, and differences. Numbers only; `report` draws them."""

AUDIT_FOLDER = "audit"
AUDIT_FILE = "audit.json"
"""Where a run keeps its audits, by split; importing these names imports no library."""
