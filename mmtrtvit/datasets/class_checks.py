"""Check that the heads of a network have as many classes as its data set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .findings import Finding, first_few

_ONE_CLASS = ('RPNHead', 'GARPNHead', 'CascadeRPNHead', 'EmbeddingRPNHead')
"""Heads that tell object from background, whatever the classes."""


def class_counts(model: Any, place: str = 'model') -> Iterator[tuple[str, int]]:
    """Every ``num_classes`` of a model config, with its dotted place."""
    if isinstance(model, Mapping):
        if str(model.get('type', '')).rpartition('.')[2] in _ONE_CLASS:
            return
        if isinstance(model.get('num_classes'), int):
            yield f'{place}.num_classes', model['num_classes']
        for key, value in model.items():
            if key != 'backbone':
                yield from class_counts(value, f'{place}.{key}')
    elif isinstance(model, (list, tuple)):
        for number, value in enumerate(model):
            yield from class_counts(value, f'{place}.{number}')


def check_trained_classes(checkpoint: Mapping, classes: Sequence[str]) -> Iterator[Finding]:
    """A checkpoint that was trained on other classes than those of the data set, or in another order.

    Args:
        checkpoint: As read; without a note of its classes (``meta.dataset_meta``) nothing is found.
        classes: Classes of the data set.
    """
    meta = checkpoint.get('meta')
    noted = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    noted = {str(key).lower(): value for key, value in noted.items()} if isinstance(noted, Mapping) else {}
    trained = list(noted.get('classes') or ())
    if trained and trained != list(classes):
        yield Finding(
            'error',
            f'The checkpoint was trained on {len(trained)} classes ({first_few(trained)}), but the test data set has '
            f'{len(classes)} ({first_few(classes)}).',
            'the same names in the same order, as every result is named by its place in this list',
            "correct metainfo=dict(classes=...) of the test data set; --allow-mismatch accepts the data set's names",
        )


def check_class_counts(model: Mapping, classes: Sequence[str], source: str) -> Iterator[Finding]:
    """Heads with another number of classes than the data set.

    Args:
        model: ``config.model``.
        classes: Classes of the data set.
        source: The data set, for messages.
    """
    wrong = [(place, count) for place, count in class_counts(model) if count != len(classes)]
    if wrong:
        told = ', '.join(f'{place}={count}' for place, count in wrong)
        options = ' '.join(f'{place}={len(classes)}' for place, _ in wrong)
        yield Finding(
            'error',
            f'{told}, but {source} has {len(classes)} classes ({first_few(classes)}).',
            'the same number in every head and in the data set',
            f'set it in the config, or by --cfg-options {options}',
        )
