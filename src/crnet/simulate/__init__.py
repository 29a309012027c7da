"""Synthetic people: drawn talking heads whose scores and cues are known.

`write_dataset.write_dataset` writes a dataset in the layout of the official release, `write_store.write_store` writes
a clip store directly, and `sheet.draw_sheet` draws samples of people and cues.
"""
