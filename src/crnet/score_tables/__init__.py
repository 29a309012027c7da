"""Tables of scores that nightly batches add to: CSV, JSON lines, Parquet and SQLite."""
