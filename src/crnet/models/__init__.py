"""The three streams of CR-Net."""
