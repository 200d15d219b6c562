"""Write the documents with generated parts, or check that they are up to date.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end table -->``; the text between the marks is replaced.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from mmtrtvit.atomic import atomic_file
from mmtrtvit.benchmark.rows import read_rows
from mmtrtvit.errors import DataError
from mmtrtvit.measurement import read_measurements
from mmtrtvit.report.published import Published
from mmtrtvit.study.networks import STUDIES
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS

from . import artefacts, backbones, counted, latencies, networks, predicted, serving, studied, trainings
from .gpu import gpu_table
from .metafile import metafiles
from .plots import (
    digest_of,
    draw_pretraining,
    draw_roofline,
    draw_study,
    draw_training,
    drawn_from,
)

RESULTS = Path('docs/results')
IMAGES = Path('docs/images')


@dataclasses.dataclass(frozen=True)
class Measured:
    """A table of recorded rows.

    Attributes:
        rows: Name of the file of rows below ``docs/results``, without its suffix.
        render: Rows to the table.
        command: The command that makes the rows.
        picture: Name of the picture below ``docs/images`` that stands under the table, one of :data:`CAPTIONS`.
        cites: Whether ``render`` takes the published figures too.
        beside: Name of other rows that ``render`` takes too; None where there are none.
        absent: What is said where there is nothing to show.
    """

    rows: str
    render: Callable[..., str]
    command: str
    picture: str = ''
    cites: bool = False
    beside: str = ''
    absent: str = 'No run is recorded yet'

    def table(self, result: Mapping | None, published: Published, beside: Mapping | None = None) -> str:
        """The table; where there is nothing to show, the command that makes rows."""
        given = [result, *([published] if self.cites else []), *([beside] if self.beside else [])]
        text = '' if result is None else self.render(*given)
        return text or f'*{self.absent}: `{self.command}` makes rows.*'


SPEED = 'speed'
"""Rows of measurements, ``speed.jsonl``."""

_BACKBONES = 'python tools/benchmark.py backbone'
_PRECISIONS = 'python tools/benchmark.py precisions CONFIG CHECKPOINT'
_ROOFLINE = 'python tools/dev/validate_roofline.py predict'
_ENGINES = 'python tools/benchmark.py deployment --backends tensorrt-rtx'
_STUDY = 'python tools/study.py networks'

MEASURED = {
    'latency': Measured(SPEED, latencies.latency_table, 'make bench'),
    'latency-precisions': Measured(SPEED, latencies.precision_latency_table, 'make bench'),
    'latency-batch': Measured(SPEED, functools.partial(latencies.speed_table, shape=latencies.BATCH), 'make bench'),
    'latency-detector': Measured(
        SPEED, functools.partial(latencies.speed_table, shape=latencies.DETECTOR), 'make bench'
    ),
    'latency-artefacts': Measured(SPEED, latencies.artefacts_table, 'make bench ARGS="--folders DIR"'),
    'network-parts': Measured('networks', networks.parts_table, 'python tools/benchmark.py engine DIR --parts'),
    'network-exporters': Measured(
        'networks', networks.exporters_table, 'python tools/benchmark.py engine DIR --beside FILE'
    ),
    'network-changes': Measured('networks', networks.network_changes_table, 'python tools/benchmark.py end-to-end DIR'),
    'comparison': Measured(SPEED, latencies.comparison_table, 'make bench', cites=True),
    'blocks': Measured('backbones', backbones.blocks_table, f'{_BACKBONES} --parts'),
    'peers': Measured('backbones', backbones.peers_table, f'{_BACKBONES} --timm MODEL'),
    'changes': Measured('changes', backbones.changes_table, _BACKBONES),
    'demo': Measured('demo', trainings.demo_table, 'make demo'),
    'training': Measured('training', trainings.training_table, 'make bench-training', 'training.png'),
    'training-beside': Measured(
        'training_beside', trainings.training_beside_table, 'python tools/benchmark.py training --beside CONFIG'
    ),
    'runs': Measured('runs', trainings.runs_table, 'python tools/benchmark.py runs WORK_DIR'),
    'precisions': Measured('precisions', artefacts.precisions_table, _PRECISIONS),
    'cells-runs': Measured('cells_runs', trainings.runs_table, 'python tools/benchmark.py runs WORK_DIR'),
    'cells-precisions': Measured('cells_precisions', artefacts.precisions_table, _PRECISIONS),
    'cells-counts': Measured('cells_counts', artefacts.counts_table, 'the function of docs/guide_blood_cells.md'),
    'pretraining': Measured(
        'pretraining', trainings.pretraining_table, 'python tools/benchmark.py runs WORK_DIR', 'pretraining.png'
    ),
    'engines': Measured('deployment', artefacts.engines_table, _ENGINES),
    'prediction': Measured('prediction', serving.prediction_table, 'python tools/benchmark.py prediction DIR SOURCE'),
    'service': Measured('service', serving.service_table, 'python examples/service/load.py DIR SOURCE --out FILE'),
    'roofline-errors': Measured('roofline', predicted.errors_table, _ROOFLINE, 'roofline.png'),
    'roofline-efficiencies': Measured('roofline', predicted.efficiencies_table, _ROOFLINE),
    'roofline-t4': Measured('roofline', predicted.t4_table, _ROOFLINE),
    'roofline-paper': Measured('roofline', predicted.paper_table, _ROOFLINE),
    'roofline-worst': Measured('roofline', predicted.worst_table, _ROOFLINE),
    'study-blocks': Measured('study', studied.blocks_table, 'python tools/study.py blocks', 'study.png'),
    **{
        f'study-{name}': Measured('study', functools.partial(studied.networks_table, study=name), _STUDY)
        for name in STUDIES
    },
    'study-accuracy': Measured('study_accuracy', studied.trained_table, 'python tools/study.py train DATA'),
    'study-guidelines': Measured('study', studied.guidelines_table, _STUDY, beside='study_accuracy'),
    'exports': Measured('exports', artefacts.exports_table, 'version 0.1'),
    'gpu': Measured('gpu', gpu_table, 'make gpu', absent='No GPU has been measured yet'),
}
"""Tables of recorded rows by name."""

CAPTIONS = {
    'study.png': 'TeraFLOPS and TeraParams of the blocks over the stages, for each backend',
    'roofline.png': 'Predicted against published or measured latency, a panel for each device',
    'training.png': 'Seconds and added memory of one training iteration',
    'pretraining.png': 'Validation figures over epochs: a classifier, and a detector with and without its backbone',
}
"""Pictures below tables, and their texts."""

PICTURES: dict[str, tuple[str, Callable[[Mapping, Path], None]]] = {
    'training.png': ('training', draw_training),
    'pretraining.png': ('pretraining', draw_pretraining),
    'roofline.png': ('roofline', draw_roofline),
    'study.png': ('study', draw_study),
}
"""Pictures of recorded rows: name of the rows, and what draws them."""

RESULT_TABLES = {'detection': ('maskrcnn', 'fasterrcnn', 'retinanet'), 'segmentation': ('semfpn', 'upernet')}
"""Tables of the published results of a family, and the methods in them."""

_TABLE = re.compile(r'(<!-- table: (?P<name>\S+) -->\n)(?P<body>.*?)(<!-- end table -->)', re.DOTALL)


def document_paths(root: Path) -> list[Path]:
    """The documents that may hold tables."""
    return sorted([*root.glob('README*.md'), *root.glob('docs/**/*.md')])


def counted_tables(root: Path, published: Published) -> dict[str, Callable[[], str]]:
    """Tables of code and published figures by name."""
    bind = functools.partial
    tables = {
        'complexity': counted.stages_table,
        'totals-imagenet': bind(counted.imagenet_table, published),
        'rules': bind(counted.rules_table, root),
        'devices': predicted.devices_table,
        'misprints': bind(counted.misprints, root, published),
        'zoo-imagenet': bind(counted.classifiers_table, root, published),
    }
    for method in METHODS:
        tables[f'totals-{method}'] = bind(counted.networks_table, root, published, method)
    for family in FAMILIES:
        suffix = '' if family == 'trtvit' else f'-{family}'
        tables[f'zoo-{family}'] = bind(counted.zoo_table, root, published, family)
        tables[f'sizes{suffix}'] = bind(counted.sizes_table, published, family)
        for name, methods in RESULT_TABLES.items():
            tables[f'{name}{suffix}'] = bind(counted.results_table, published, family, methods)
    return tables


def recorded_rows(path: Path) -> Mapping | None:
    """The rows of a name, such as ``docs/results/speed``: of a file of measurements, or of another benchmark.

    Returns:
        The content of the file; ``rows`` of a file of measurements. ``None`` if there is no file.
    """
    lines = path.with_suffix('.jsonl')
    return dict(rows=read_measurements(lines)) if lines.is_file() else read_rows(path.with_suffix('.json'))


def rendered(root: Path) -> dict[Path, str]:
    """Every file with generated text, as rows and code give it.

    Args:
        root: A checkout.

    Returns:
        Path to content: the documents with tables, the metafiles, and their index.

    Raises:
        DataError: If ``root`` is not a checkout, rows cannot be read, or a document asks for an unknown table.
    """
    published = Published.read(root)
    by_counting = counted_tables(root, published)
    names = {name for about in MEASURED.values() for name in (about.rows, about.beside) if name}
    rows = {name: recorded_rows(root / RESULTS / name) for name in names}

    def fill(found: re.Match, document: Path) -> str:
        name = found['name']
        if name in MEASURED:
            about = MEASURED[name]
            text = about.table(rows[about.rows], published, rows.get(about.beside))
            if about.picture and rows[about.rows] is not None:
                picture = Path(os.path.relpath(root / IMAGES / about.picture, document.parent)).as_posix()
                text += f'\n\n![{CAPTIONS[about.picture]}]({picture})'
        elif name in by_counting:
            text = by_counting[name]()
        else:
            raise DataError(
                f'{document} asks for a table {name!r}.',
                expected=f'one of {", ".join([*MEASURED, *by_counting])}',
                fix='correct the name in the marker',
            )
        return f'{found[1]}{text}\n{found[4]}'

    files = {}
    for path in document_paths(root):
        text = path.read_text(encoding='utf-8')
        if _TABLE.search(text):
            files[path] = _TABLE.sub(functools.partial(fill, document=path), text)
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
                _write(path, text)
    for picture, (rows, draw) in PICTURES.items():
        result, path = recorded_rows(root / RESULTS / rows), root / IMAGES / picture
        if result is not None and drawn_from(path) != digest_of(result):
            stale.append(path)
            if not check:
                draw(result, path)
    return stale


def page_of_rows(root: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write tables and pictures of a file of rows beside it.

    Args:
        root: A checkout, for published figures.
        path: A file that ``tools/benchmark.py`` or ``tools/demo.py`` wrote, under its own name.

    Returns:
        The page.

    Raises:
        DataError: If the file does not exist, or no table shows rows of its kind.
    """
    path, published = Path(path), Published.read(root)
    names = {about.rows for about in MEASURED.values()}
    name = SPEED if path.suffix == '.jsonl' and path.stem not in names else path.stem
    tables = [about for about in MEASURED.values() if about.rows == name]
    result = recorded_rows(path)
    if result is None or not tables:
        raise DataError(
            f'No table can be made of {path}.',
            expected='a file of measurements (.jsonl), or one named '
            + ', '.join(f'{name}.json' for name in sorted(names - {SPEED, 'gpu'})),
            fix='name a file that tools/benchmark.py wrote',
        )
    parts = [about.table(result, published) for about in tables]
    for picture, (rows, draw) in PICTURES.items():
        if rows == name:
            draw(result, path.with_name(picture))
            parts.append(f'![{picture}]({picture})')
    page = path.with_suffix('.md')
    _write(page, '\n\n'.join(parts) + '\n')
    return page


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding='utf-8')
