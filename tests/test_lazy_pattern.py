"""Patterns that are compiled on first use behave as compiled ones do."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from jisi_cli.lazy_pattern import lazy_pattern

TEXT = "One 1, two 22, ONE 333"


def test_every_method_answers_as_that_of_a_compiled_pattern() -> None:
    number, one = re.compile(r"(?P<digits>\d+)"), re.compile("one", re.IGNORECASE)
    for compiled in (number, one):
        lazy = lazy_pattern(compiled.pattern, compiled.flags)
        assert lazy.pattern == compiled.pattern
        for _ in range(2):  # on first use, and afterwards
            for method in ("findall", "split", "search", "match", "fullmatch"):
                assert str(getattr(lazy, method)(TEXT)) == str(getattr(compiled, method)(TEXT))
            assert [str(found) for found in lazy.finditer(TEXT)] == [str(found) for found in compiled.finditer(TEXT)]
            assert lazy.sub("_", TEXT) == compiled.sub("_", TEXT)
            assert lazy.subn("_", TEXT, 1) == compiled.subn("_", TEXT, 1)
            assert (lazy.flags, lazy.groups, lazy.groupindex) == (compiled.flags, compiled.groups, compiled.groupindex)


def test_nothing_is_compiled_before_it_is_used() -> None:
    broken = lazy_pattern("(")
    assert broken.pattern == "("
    with pytest.raises(re.error):
        broken.search("")


@pytest.mark.slow
def test_a_short_answer_is_read_with_few_of_the_patterns_of_graders() -> None:
    script = (
        "import re; kept = re.compile; compiled = []; re.compile = lambda *a: compiled.append(a) or kept(*a)\n"
        "from jisi_cli import lazy_pattern\n"
        "made = []; lazy = lazy_pattern.lazy_pattern\n"
        "lazy_pattern.lazy_pattern = lambda *a: made.append(a) or lazy(*a)\n"
        "from jisi_cli.grading.final_answer import extract_any\n"
        "used = {a[0] for a in compiled}; early = sum(m[0] in used for m in made)\n"
        "answer = extract_any('Paris', None); used = {a[0] for a in compiled}\n"
        "print(answer, early, len(made), sum(m[0] in used for m in made))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    early, made, used = map(int, said[-3:])
    assert early == 0
    assert 0 < used < made * 0.6
