"""jisi: a pool of large language models that acts as one (JiSi, arXiv 2601.01330)."""

__version__ = "0.1.0"
