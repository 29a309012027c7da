"""Tables as Markdown, LaTeX and CSV, figures as PNG and CSV, and the index page."""
