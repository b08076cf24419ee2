"""The pool as one model that other programs use: a server that speaks OpenAI's API."""
