"""Documents that hold generated parts, and whether they still say what rows and code give.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end table -->``; what is between them is replaced.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ..atomic import atomic_file
from ..errors import DataError
from ..models import TRTViT
from ..zoo.complexity import backbone_complexity
from ..zoo.families import FAMILIES
from ..zoo.methods import METHODS
from .metafile import metafiles
from .plots import digest_of, draw_comparison, draw_complexity, draw_latency, draw_training, drawn_from
from .published import Published
from .rows import read_rows
from .tables import (
    comparison_table,
    complexity_table,
    demo_table,
    deployment_table,
    engines_table,
    exports_table,
    imagenet_table,
    latency_table,
    misprints,
    networks_table,
    precisions_table,
    results_table,
    rules_table,
    runs_table,
    sizes_table,
    training_table,
    with_published,
    zoo_table,
)

RESULTS = Path('docs/results')
DEMO_PICTURE = Path('docs/images/predictions.png')
TRAINING_PICTURE = Path('docs/images/training.png')
COMPARISON, COMPARISON_PICTURE = 'comparison.json', Path('docs/images/comparison.png')
PICTURES = {
    'docs/images/latency.png': ('backbones.json', draw_latency),
    'docs/images/complexity.png': ('backbones.json', draw_complexity),
    str(TRAINING_PICTURE): ('training.json', draw_training),
    str(COMPARISON_PICTURE): (COMPARISON, draw_comparison),
}
"""Pictures of the recorded rows: which rows, and what draws them."""

RESULT_TABLES = {'detection': ('maskrcnn', 'retinanet'), 'segmentation': ('semfpn', 'upernet')}
"""Tables of what is published of a family, and the methods in them."""

_TABLE = re.compile(r'(<!-- table: (?P<name>\S+) -->\n)(?P<body>.*?)(<!-- end table -->)', re.DOTALL)


def document_paths(root: Path) -> list[Path]:
    """The documents that may hold tables."""
    return sorted([*root.glob('README*.md'), *root.glob('docs/**/*.md')])


def _renderers(root: Path) -> Mapping[str, Callable[[Path], str]]:
    """What writes each table, given the document that it stands in."""
    published = Published.read(root)
    backbones = read_rows(root / RESULTS / 'backbones.json')
    training = read_rows(root / RESULTS / 'training.json')
    summary = read_rows(root / RESULTS / 'demo.json')
    compared = read_rows(root / RESULTS / COMPARISON)
    deployed = read_rows(root / RESULTS / 'deployment.json')

    def stages(document: Path) -> str:
        # Counted anew, not read: a change of the code has to show.
        counted = [dict(arch=arch, **backbone_complexity(arch).to_dict()) for arch in TRTViT.arch_settings]
        return complexity_table({'complexity': counted})

    def beside(picture: Path, document: Path) -> str:
        return Path(os.path.relpath(root / picture, document.parent)).as_posix()

    renderers = {
        'latency': lambda document: latency_table(backbones),
        'complexity': stages,
        'demo': lambda document: demo_table(summary, beside(DEMO_PICTURE, document)),
        'training': lambda document: training_table(training, beside(TRAINING_PICTURE, document)),
        'deployment': lambda document: deployment_table(deployed),
        'precisions': lambda document: precisions_table(read_rows(root / RESULTS / 'precisions.json')),
        'runs': lambda document: runs_table(read_rows(root / RESULTS / 'runs.json')),
        'engines': lambda document: engines_table(deployed),
        'exports': lambda document: exports_table(read_rows(root / RESULTS / 'exports.json')),
        'comparison': lambda document: comparison_table(published, compared, beside(COMPARISON_PICTURE, document)),
        'totals-imagenet': lambda document: imagenet_table(published),
        'rules': lambda document: rules_table(root),
        'misprints': lambda document: misprints(root, published),
    }
    for method in METHODS:
        renderers[f'totals-{method}'] = lambda document, method=method: networks_table(root, published, method)
    for family in FAMILIES:
        renderers[f'zoo-{family}'] = lambda document, family=family: zoo_table(root, published, family)
        suffix = '' if family == 'trtvit' else f'-{family}'
        renderers[f'sizes{suffix}'] = lambda document, family=family: sizes_table(published, family)
        for name, methods in RESULT_TABLES.items():
            renderers[f'{name}{suffix}'] = lambda document, family=family, methods=methods: results_table(
                published, family, methods
            )
    return renderers


def rendered(root: Path) -> dict[Path, str]:
    """Every file with generated text, as rows and code give it.

    Args:
        root: A checkout.

    Returns:
        Path to content: the documents with tables, the metafiles, and their index.

    Raises:
        DataError: If ``root`` is no checkout, rows cannot be read, or a document asks for an unknown table.
    """
    renderers = _renderers(root)
    files = {}
    for path in document_paths(root):

        def fill(found: re.Match, path: Path = path) -> str:
            if found['name'] not in renderers:
                raise DataError(
                    f'{path} asks for a table {found["name"]!r}.',
                    expected=f'one of {", ".join(renderers)}',
                    fix='correct the name in the marker',
                )
            return f'{found[1]}{renderers[found["name"]](path)}\n{found[4]}'

        text = path.read_text(encoding='utf-8')
        if _TABLE.search(text):
            files[path] = _TABLE.sub(fill, text)
    return {**files, **metafiles(root)}


def update_documents(root: str | os.PathLike, check: bool = False) -> list[Path]:
    """Bring tables, metafiles and pictures up to what rows and code give.

    Args:
        root: A checkout.
        check: Change nothing.

    Returns:
        The files that were (or, with ``check``, are) out of date.
    """
    root = Path(root)
    stale = []
    for path, text in rendered(root).items():
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            stale.append(path)
            if not check:
                with atomic_file(path) as temporary:
                    temporary.write_text(text, encoding='utf-8')
    for name, (rows, draw) in PICTURES.items():
        result = read_rows(root / RESULTS / rows)
        if result and rows == COMPARISON:
            result = with_published(result, Published.read(root))
        if result and drawn_from(root / name) != digest_of(result):
            stale.append(root / name)
            if not check:
                draw(result, root / name)
    return stale
