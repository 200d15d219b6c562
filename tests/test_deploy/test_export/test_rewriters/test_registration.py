"""Importing the package is enough: it registers every rewriter."""

import ast
import re
from pathlib import Path

from mmtrtvit.deploy.export import rewriters


def test_every_module_with_a_rewriter_is_imported_by_the_package():
    folder = Path(rewriters.__file__).parent
    registering = {
        path.stem
        for path in folder.glob('[!_]*.py')
        if re.search(r'^@(rewrites\(|\w+_REWRITER.register_)', path.read_text(), re.MULTILINE)
    }
    imports = [
        node for node in ast.walk(ast.parse((folder / '__init__.py').read_text())) if isinstance(node, ast.ImportFrom)
    ]
    imported = {name.name for node in imports for name in node.names}
    assert len(registering) == 12 and imported == registering == set(rewriters.__all__)
