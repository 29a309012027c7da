"""Content of the paper: its published numbers, its tables with their claims, and its open choices."""
