"""Ray: what `--engine ray` deals out to other processes and machines. Nothing of Ray is imported without it."""
