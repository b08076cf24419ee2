"""Banks on disk: built, extended, graded again, inspected, and opened for decisions."""
