"""Everything a person looks at: figures and the HTML reports of runs and videos."""
