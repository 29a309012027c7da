"""Simulated people: drawn presenters whose scores and cues are known.

`writing.simulate` writes a data set in the layout of the official release, `storing.simulate_to_store` a clip store at
once; `sheet.draw_sheet` shows the people and the cues.
"""
