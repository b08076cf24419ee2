"""Labels of a bank: what people say is right where there is no answer key. They are kept in its manifest.

A label is kept before the next question is shown, in one step. The scores that follow from all labels are written
later, together (`jisi_cli.collect.agreement`): they lie in files as large as the bank.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from jisi_cli.bank.lock import exclusive
from jisi_cli.bank.manifest import Label, Manifest, read_manifest, write_manifest
from jisi_cli.errors import InputError
from jisi_cli.formats.record import Key

_MOST_BYTES = 8 * 2**20
"""Of all labels: a manifest is small."""


def change_labels(
    bank: Path,
    changes: Mapping[Key, Label | None],
    on_wait: Callable[[], None] | None = None,
    known: Mapping[Key, Label] | None = None,
) -> tuple[Manifest, dict[Key, Label]]:
    """Keep labels of questions, or take them back; all of them, or none. Labels of other questions stay.

    Args:
        bank: The bank's folder.
        changes: The new label of each question; None for none.
        on_wait: Called before waiting for another process that writes the bank; None raises instead of waiting.
        known: The labels that these replace. Where the bank holds another one by now, which is none of a skipped
            question, nothing is changed; None replaces whatever is there.

    Returns:
        The manifest as it is now, and the labels that say something else than the new ones: others than the known ones,
        which stay, or without known ones those that were replaced.

    Raises:
        InputError: Together the labels are too long, or the folder cannot be written.
        BankError: The bank cannot be read, or another process writes it.
    """
    with exclusive(bank, on_wait):
        manifest = read_manifest(bank)
        labels = {label.key: label for label in manifest.labels}
        others = _others(changes, known or {}, labels)
        if others and known is not None:
            return manifest, others
        for key, label in changes.items():
            if label is None:
                labels.pop(key, None)
            else:
                labels[key] = label
        found = tuple(labels[key] for key in sorted(labels))
        if found == manifest.labels:
            return manifest, others
        if len(json.dumps([asdict(label) for label in found])) > _MOST_BYTES:
            raise InputError(f"the labels of {bank} would take more than {_MOST_BYTES >> 20} MiB; give shorter answers")
        changed = replace(manifest, labels=found)
        write_manifest(bank, changed)
        return changed, others


def _others(
    changes: Mapping[Key, Label | None], known: Mapping[Key, Label], labels: Mapping[Key, Label]
) -> dict[Key, Label]:
    """Return the labels that somebody else gave since the known ones were read, and that say something else."""
    there = {key: labels[key] for key in changes if key in labels and not labels[key].skipped}
    return {key: label for key, label in there.items() if label not in (known.get(key), changes[key])}
