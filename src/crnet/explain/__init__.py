"""Explanations of scores: heat maps, contributions, sound, words, windows, key points. Numbers only, no pictures."""
