"""The equations of JiSi: support set, coarse scores, mixed filter, fine scores, aggregatees.

Source: "Beyond Gemini-3-Pro" (arXiv 2601.01330), Eqs. 1-5. Pure NumPy in float64: no I/O, no clock,
no state. Two properties make a decision reproducible to the bit:

- Similarities that decide anything are row-wise float64 dot products of the stored vectors. A fast
  matrix product only proposes rows, within its proven rounding error; so one query alone and the
  same query in a block of thousands see identical numbers.
- Sums over queries are correctly rounded (`math.fsum`), so the order of bank rows cannot matter.

Symbols: N bank queries, M models, d embedding width, n support queries, K candidates that answered.
"""

from jisi_cli.scoring.bank_arrays import BankArrays, rank
from jisi_cli.scoring.exact_sums import Floats, Rows, RowVectors
from jisi_cli.scoring.mixed_filter import Fine, Probes, choose_aggregatees, fine, fine_block, limit_tokens
from jisi_cli.scoring.support_set import Coarse, coarse, coarse_block

__all__ = [
    "BankArrays",
    "Coarse",
    "Fine",
    "Floats",
    "Probes",
    "RowVectors",
    "Rows",
    "choose_aggregatees",
    "coarse",
    "coarse_block",
    "fine",
    "fine_block",
    "limit_tokens",
    "rank",
]
