"""What the paper prints and claims, and its tables."""
