"""How many examples a property is tried on."""

from hypothesis import settings


def examples(number: int) -> int:
    """Return `number`, or a fifth of it under `pytest -m unit` (see the profiles in conftest.py)."""
    return max(1, number * settings.default.max_examples // 100)
