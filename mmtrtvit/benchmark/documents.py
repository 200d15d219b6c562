"""Documents that hold generated parts, and whether they still say what rows and code give.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end table -->``; what is between them is replaced.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from ..atomic import atomic_file
from ..errors import DataError
from ..models import TRTViT
from .complexity import backbone_complexity
from .metafile import metafile
from .plots import digest_of, draw_complexity, draw_latency, drawn_from
from .rows import read_rows
from .tables import complexity_table, demo_table, detection_table, latency_table, sizes_table

RESULTS = Path('docs/results')
PICTURES = {'docs/images/latency.png': draw_latency, 'docs/images/complexity.png': draw_complexity}
"""Pictures of the recorded rows, and what draws them."""

DEMO_PICTURE = Path('docs/images/predictions.png')
METAFILE = Path('configs/metafile.yml')

_TABLE = re.compile(r'(<!-- table: (?P<name>\S+) -->\n)(?P<body>.*?)(<!-- end table -->)', re.DOTALL)


def document_paths(root: Path) -> list[Path]:
    """The documents that may hold tables."""
    return sorted([*root.glob('README*.md'), *root.glob('docs/**/*.md')])


def _renderers(root: Path) -> Mapping[str, Callable[[Path], str]]:
    """What writes each table, given the document that it stands in."""
    published = yaml.safe_load((root / RESULTS / 'published.yaml').read_text())
    backbones = read_rows(root / RESULTS / 'backbones.json')
    summary = read_rows(root / RESULTS / 'demo.json')
    # Counted anew, not read: a change of the code has to show.
    counted = [dict(arch=arch, **backbone_complexity(arch).to_dict()) for arch in TRTViT.arch_settings]

    def picture(document: Path) -> str:
        return Path(os.path.relpath(root / DEMO_PICTURE, document.parent)).as_posix()

    return {
        'sizes': lambda document: sizes_table(published),
        'detection': lambda document: detection_table(published),
        'latency': lambda document: latency_table(backbones),
        'complexity': lambda document: complexity_table({'complexity': counted}),
        'demo': lambda document: demo_table(summary, picture(document)),
    }


def rendered(root: Path) -> dict[Path, str]:
    """Every file with generated text, as rows and code give it.

    Args:
        root: A checkout.

    Returns:
        Path to content: the documents with tables, and the metafile.

    Raises:
        DataError: If ``root`` is no checkout, rows cannot be read, or a document asks for an unknown table.
    """
    if not (root / RESULTS / 'published.yaml').is_file():
        raise DataError(
            f'There is no {RESULTS / "published.yaml"} in {root.absolute()}.',
            expected='a checkout of mmtrtvit',
            fix='run tools/update_tables.py of a checkout',
        )
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
    files[root / METAFILE] = metafile(root)
    return files


def update_documents(root: str | os.PathLike, check: bool = False) -> list[Path]:
    """Bring tables, metafile and pictures up to what rows and code give.

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
    backbones = read_rows(root / RESULTS / 'backbones.json')
    for name, draw in PICTURES.items() if backbones else ():
        if drawn_from(root / name) != digest_of(backbones):
            stale.append(root / name)
            if not check:
                draw(backbones, root / name)
    return stale
