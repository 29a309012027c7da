"""Skip-thought vectors: the published files, training of your own, and the encoder."""
