"""The Python in a response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.grading.code import answer_python


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n```", "x = 1\n"),
        ("``` Python\nx = 1\n```", "x = 1\n"),
        ("~~~python\nx = 1\n~~~", "x = 1\n"),
        ("first\n```python\nx = 1\n```\nbetter\n```python\nx = 2\n```\ndone", "x = 2\n"),
        ("```python\nx = 1\n```\nIt prints\n```\n1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nrun it:\n```bash\npython x.py\n```", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("1. so\n   ```python\n   if x:\n       y()\n   ```", "if x:\n    y()\n"),
        ("```python\nx = 1\ny = 2", "x = 1\ny = 2\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("```python\n\n```", None),
        ("def f(x):\n    return x", "def f(x):\n    return x"),
        ("print(5)", "print(5)"),
        ("```cpp\nint x;\n```", None),
        ("Paris", None),
        ("42", None),
        ("The function returns x.", None),
        ("", None),
        ("\x00", None),
        ("(" * 5000, None),
    ],
)
def test_the_answer_python_block_is_the_answer(response: str, code: str | None) -> None:
    assert answer_python(response) == code


@given(st.text(alphabet="`~\n pythonx=1 \t", max_size=60))
def test_any_response_has_code_or_none(response: str) -> None:
    code = answer_python(response)
    assert code is None or code.strip()


def test_a_huge_response_is_read_from_its_end() -> None:
    assert answer_python("```python\nx = 1\n```\n" * 100_000) == "x = 1\n"
    assert answer_python("`" * 3_000_000) is None
