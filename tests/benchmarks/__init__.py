"""Benchmarks: ratios against named opponents in the same run, never timed assertions."""
