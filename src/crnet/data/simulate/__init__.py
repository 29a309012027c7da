"""Simulated people: drawn presenters whose scores and cues are known."""
