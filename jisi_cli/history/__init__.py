"""What jisi remembers for its user: conversations, to go on with them, and answers, to learn from what is said of them.

Each kind is a table in a file of its own, in the user's data folder; with `--no-store` nothing is remembered, and
`jisi cost --erase` erases it. What is remembered is bounded: the oldest goes first.
"""
