"""Two-stage training of one stream."""
