"""Was this answer right? One file per grader, and the shared search for the final answer in a text."""
