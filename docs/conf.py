"""Sphinx configuration: MyST Markdown, furo, and the API from docstrings."""

from pathlib import Path

from mmtrtvit.report import write_report
from mmtrtvit.version import __version__

ROOT = Path(__file__).resolve().parents[1]

project = 'mmtrtvit'
author = 'mmtrtvit contributors'
copyright = author
version = release = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
source_suffix = {'.md': 'markdown'}
exclude_patterns = ['_build']

html_theme = 'furo'
html_title = f'mmtrtvit {release}'

myst_enable_extensions = ['colon_fence']
myst_heading_anchors = 3

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_numpy_docstring = False
napoleon_custom_sections = ['Shape']
# Attributes of a NamedTuple are members of it already.
napoleon_use_ivar = True


def write_measured(app, exception) -> None:
    """Write the page of the recorded rows, which report.md shows, beside the other pages."""
    rows = sorted((ROOT / 'docs' / 'results').glob('*.jsonl'))
    if exception is None and rows and app.builder.format == 'html':
        write_report(rows, Path(app.outdir) / 'measured.html', root=ROOT)


def setup(app) -> None:
    """Connect the page of measured rows to the build."""
    app.connect('build-finished', write_measured)
