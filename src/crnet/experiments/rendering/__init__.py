"""Tables as Markdown, LaTeX, CSV and pictures."""
