"""The parts of the documentation site that the program writes itself, and the rules for its code blocks.

`mkdocs.yml` loads `docgen/hooks.py`. Nothing here is part of the package `crnet`.
"""
