"""Everything a person looks at: plots, curves, and the HTML reports of runs and videos."""
