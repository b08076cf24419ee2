"""The forward pass of BERT in NumPy: what a small encoder needs, without the seconds that torch takes to import.

Devlin et al. 2019 (arXiv:1810.04805) on the Transformer of Vaswani et al. 2017 (arXiv:1706.03762). For the
tokens t_1..t_n of one text, with rows as tokens, width d, H heads of width d/H and learned weights W, b, g:

    X    = LN(word[t] + position[1..n] + segment[0])                       embeddings             (n, d)
    Q, K, V = X W_Q^T + b_Q,  X W_K^T + b_K,  X W_V^T + b_V                 cut into H heads
    A_h  = softmax(Q_h K_h^T / sqrt(d/H)) V_h                               attention of head h    (n, d/H)
    X    = LN(X + [A_1 .. A_H] W_O^T + b_O)                                                        (n, d)
    X    = LN(X + GELU(X W_1^T + b_1) W_2^T + b_2)                          feed-forward           (n, d)
    v    = mean over the rows of the last layer's X, or its first row       pooling: mean or cls   (d,)

where LN(x) = g (x - mean x) / sqrt(var x + eps) + b over each row and GELU(x) = x Phi(x), Phi the normal
distribution's cumulative function (Hendrycks & Gimpel 2016, arXiv:1606.08415), not its tanh approximation.

Each text goes through alone, so there is no padding and no mask, and its vector cannot depend on its batch. Texts go
side by side, each on a core of its own, whether they come in one list or from several threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from jisi_cli.workers import usable_cores

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Floats = NDArray[np.float32]
Pooling = Literal["mean", "cls"]

_REACH = 6
"""Beyond this many standard deviations Phi is 0 or 1 to float32."""
_CELLS = 256
"""Table cells per standard deviation: linear interpolation is then right to 5e-7."""
_BLOCK = 32_768
"""Elements at a time: temporary arrays of this size stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Affine:
    """x -> x weight^T + bias, with weight (out, in) and bias (out,)."""

    weight: Floats
    bias: Floats

    def __call__(self, x: Floats) -> Floats:
        """Map rows (n, in) to rows (n, out)."""
        y: Floats = x @ self.weight.T
        y += self.bias
        return y


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Rows of mean 0 and variance 1, then scaled by `gain` (d,) and moved by `bias` (d,)."""

    gain: Floats
    bias: Floats
    eps: float

    def __call__(self, x: Floats) -> Floats:
        """Normalise rows (n, d) in place and return them."""
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("nd,nd->n", x, x) / x.shape[1]
        x /= np.sqrt(variance + self.eps)[:, None]
        x *= self.gain
        x += self.bias
        return x


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: attention, then a feed-forward network, each added to its input and normalised."""

    query: Affine
    key: Affine
    value: Affine
    attention_output: Affine
    attention_norm: LayerNorm
    expand: Affine
    contract: Affine
    output_norm: LayerNorm


@dataclass(frozen=True, slots=True)
class Bert:
    """The weights of an encoder.

    Attributes:
        word: Token embeddings (vocabulary, d).
        position: Position embeddings (longest input, d).
        segment: The embedding of the first segment (d,), which every token of a single text belongs to.
        norm: Normalises the sum of the three.
        layers: From the input to the output.
        heads: Attention heads H.
        pooling: How the last layer's rows become one vector.
    """

    word: Floats
    position: Floats
    segment: Floats
    norm: LayerNorm
    layers: tuple[Layer, ...]
    heads: int
    pooling: Pooling

    @property
    def work(self) -> int:
        """Multiplications that one token costs in the matrices of all layers."""
        return len(self.layers) * (4 * self.segment.size**2 + 2 * self.layers[0].expand.weight.size)

    def encode(self, token_ids: Sequence[int]) -> Floats:
        """Return the pooled vector (d,) of one text, not normalised.

        Args:
            token_ids: The text's tokens with their special tokens, at most `len(position)`.
        """
        x = self.norm(self.word[list(token_ids)] + self.position[: len(token_ids)] + self.segment)
        for layer in self.layers:
            y = layer.attention_output(attention(layer.query(x), layer.key(x), layer.value(x), self.heads))
            x = layer.attention_norm(np.add(x, y, out=y))
            y = layer.contract(gelu(layer.expand(x)))
            x = layer.output_norm(np.add(x, y, out=y))
        pooled: Floats = x.mean(axis=0) if self.pooling == "mean" else x[0]
        return pooled


def attention(query: Floats, key: Floats, value: Floats, heads: int) -> Floats:
    """Return every head's softmax(Q K^T / sqrt(width)) V side by side.

    Args:
        query: Q of all heads (n, d).
        key: K of all heads (n, d).
        value: V of all heads (n, d).
        heads: How many heads d is cut into.
    """
    n, d = query.shape
    width = d // heads
    q, k, v = (rows.reshape(n, heads, width).swapaxes(0, 1) for rows in (query, key, value))
    scaled: Floats = q * np.float32(1 / math.sqrt(width))
    weights: Floats = scaled @ k.swapaxes(1, 2)
    # The largest is taken off so that no exponential overflows.
    weights -= weights.max(axis=2, keepdims=True)
    np.exp(weights, out=weights)
    mixed: Floats = weights @ v
    # Dividing the n x width result is less work than dividing the n x n weights.
    np.divide(mixed, weights.sum(axis=2, keepdims=True), out=mixed)
    return mixed.swapaxes(0, 1).reshape(n, d)


def gelu(x: Floats) -> Floats:
    """Replace x by x Phi(x), in place, and return it.

    NumPy has no error function, so Phi is interpolated in a table made with the standard library's.

    Args:
        x: Any shape, contiguous.
    """
    phi, rise = _phi_table()
    flat = x.reshape(-1)
    size = min(_BLOCK, len(flat))
    places, values, cells = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.intp)
    for start in range(0, len(flat), _BLOCK):
        part = flat[start : start + _BLOCK]
        place, value, cell = places[: len(part)], values[: len(part)], cells[: len(part)]
        np.clip(part, -_REACH, _REACH, out=place)
        place += _REACH
        place *= _CELLS
        np.floor(place, out=value)
        np.copyto(cell, value, casting="unsafe")
        place -= value
        place *= rise.take(cell, mode="clip", out=value)
        place += phi.take(cell, mode="clip", out=value)
        part *= place
    return x


@cache
def _phi_table() -> tuple[Floats, Floats]:
    """Return Phi at the left edge of each cell of [-_REACH, _REACH], and its rise to the right edge."""
    edges = [cell / _CELLS - _REACH for cell in range(2 * _REACH * _CELLS + 2)]
    phi = np.array([math.erfc(-edge / math.sqrt(2)) / 2 for edge in edges])
    return phi[:-1].astype(np.float32), np.diff(phi).astype(np.float32)


def encode_all(bert: Bert, texts: Sequence[Sequence[int]]) -> Floats:
    """Return the vectors (k, d) of texts, at least one, given as token ids; may be called from several threads."""
    cores = _cores()

    def encode(token_ids: Sequence[int]) -> Floats:
        with cores.turn, np.errstate(all="ignore"):
            return bert.encode(token_ids)

    with cores.one_thread_each():
        if len(texts) == 1 or cores.count == 1:
            return np.stack([encode(text) for text in texts])
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(cores.count, len(texts))) as threads:
            return np.stack(list(threads.map(encode, texts)))


class Cores:
    """The cores of this machine, each for one text at a time.

    The matrix library's own threads wait for each other in busy loops, which on a machine with other work to do (local
    models, imports) makes matrices as small as a question's twenty times slower. So it is kept to one thread for each
    that calls it. The limit is the whole process's, and threadpoolctl lifts it in no thread but the one that set it:
    a thread of its own holds it from the first to the last of the calls that overlap.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        from threadpoolctl import ThreadpoolController

        self.count = count
        self.turn = threading.BoundedSemaphore(count)
        self._library: ThreadpoolController = ThreadpoolController()
        self._counting, self._users = threading.Lock(), 0
        self._all_done = threading.Event()
        self._holder = threading.Thread()

    @contextmanager
    def one_thread_each(self) -> Iterator[None]:
        """Limit the matrix library; the last of those that overlap lifts the limit."""
        with self._counting:
            if self._users == 0:
                limited, self._all_done = threading.Event(), threading.Event()
                self._holder = threading.Thread(target=self._hold, args=(limited, self._all_done), daemon=True)
                self._holder.start()
                limited.wait()
            self._users += 1
        try:
            yield
        finally:
            with self._counting:
                self._users -= 1
                if self._users == 0:
                    self._all_done.set()
                    self._holder.join()

    def _hold(self, limited: threading.Event, all_done: threading.Event) -> None:
        with self._library.limit(limits=1, user_api="blas"):
            limited.set()
            all_done.wait()


@cache
def _cores() -> Cores:
    """Return those that this process may use."""
    return Cores(usable_cores())
