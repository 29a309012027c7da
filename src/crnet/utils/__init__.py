"""Domain-independent helpers: files, resumable folders, processes, devices, provenance."""
