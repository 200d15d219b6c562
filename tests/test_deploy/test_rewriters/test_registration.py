"""Importing the package is enough: it registers every rewriter."""

import ast
from pathlib import Path

from mmtrtvit.deploy import rewriters


def test_every_module_with_a_rewriter_is_imported_by_the_package():
    folder = Path(rewriters.__file__).parent
    registering = {path.stem for path in folder.glob('[!_]*.py') if '_REWRITER.register_' in path.read_text()}
    imports = [
        node for node in ast.walk(ast.parse((folder / '__init__.py').read_text())) if isinstance(node, ast.ImportFrom)
    ]
    imported = {name.name for node in imports for name in node.names}
    assert len(registering) >= 6 and imported == registering == set(rewriters.__all__)
