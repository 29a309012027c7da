"""A trained system as one folder: save, load, verify."""
