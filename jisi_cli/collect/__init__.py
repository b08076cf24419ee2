"""Asking every model of a pool every question, and grading what comes back."""
