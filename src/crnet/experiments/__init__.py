"""The paper's tables and figures, and ablations of one's own: what `crnet reproduce` runs."""
