"""Numbers come out of Arrow columns as Arrow's own conversion gives them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jisi_cli.bank.bank import Bank
from jisi_cli.bank.columns import coded, column_vectors, number_column, row_numbers, vector_column

ROOT = Path(__file__).parent.parent.parent


def chunked(array: pa.Array) -> pa.ChunkedArray:
    """In uneven pieces, none of which begins where its memory does."""
    return pa.chunked_array([array.slice(1, 4), array.slice(5, 0), array.slice(5)], type=array.type)


@pytest.mark.parametrize("kind", ["int64", "double"])
@pytest.mark.parametrize("gaps", [(), (3,), (1, 6, 19), tuple(range(20))])
def test_numbers_with_and_without_gaps(kind: str, gaps: tuple[int, ...]) -> None:
    values = [None if place in gaps else 3 * place - 7 for place in range(20)]
    expected = [np.nan if value is None else value for value in values[1:]]
    np.testing.assert_array_equal(number_column(chunked(pa.array(values, kind))), np.array(expected, dtype=float))
    assert number_column(pa.chunked_array([], type=kind)).shape == (0,)


def test_row_numbers() -> None:
    assert row_numbers(chunked(pa.array(range(20), "int64"))).tolist() == list(range(1, 20))


def test_few_texts_as_codes() -> None:
    values = ["ok", "failed", None, "ok", "missing", None, "ok", "failed"]
    chunks = [chunk.dictionary_encode() for chunk in chunked(pa.array(values)).chunks]
    names, codes = coded(pa.chunked_array(chunks))
    assert [None if code < 0 else names[code] for code in codes.tolist()] == values[1:]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_vectors_with_gaps_in_pieces(dtype: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 3)).astype(dtype)
    known = np.arange(20) % 4 != 2
    with_gaps = pa.FixedSizeListArray.from_arrays(vector_column(vectors, dtype).values, 3, mask=pa.array(~known))
    found = column_vectors(chunked(with_gaps), Path("part"))
    np.testing.assert_array_equal(found, np.where(known[:, None], vectors, 0)[1:])
    assert found.dtype == dtype


@pytest.mark.slow
def test_what_a_decision_reads_of_a_bank_is_read_without_pandas() -> None:
    script = (
        "import sys\nfrom pathlib import Path\nimport numpy as np\nfrom jisi_cli.bank.bank import Bank\n"
        "bank = Bank(Path('sample_data/bank'))\nbank.arrays()\nbank.some_questions(np.array([1, 2, 5]))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_rows_in_runs_and_alone_are_those_that_were_asked_for() -> None:
    bank = Bank(ROOT / "sample_data" / "bank")
    for rows in ([0], [3, 4, 5], [1, 3, 4, 9, bank.rows - 1], list(range(bank.rows))):
        assert bank.some_questions(np.array(rows)) == [bank.questions[row] for row in rows]
    assert bank.some_questions(np.array([], dtype=np.intp)) == []
