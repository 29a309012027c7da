"""CR-Net."""
