"""Let torchvision be imported beside a torch that its compiled operators do not fit.

A CPU build of torch comes with no torchvision of its own on the package index, and the one that is there stops with
'operator torchvision::nms does not exist'. The reference implementations use only torchvision's transforms,
which need none of its operators: it is enough that those named below are known. Calling them still fails.

`tools/dev/link_venv.py` puts this file into the reference environment, whose Python imports it at start.
It does nothing until torchvision is imported, and nothing then where torchvision's operators load.
"""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path

# Schemas of the operators that torchvision 0.28 refers to without asking whether they have been loaded.
SCHEMAS = (
    'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
    'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
)


class DefineSchemas:
    """A finder that finds nothing: it defines the schemas when torchvision is first looked for."""

    library = None
    """The definitions end with this object, so it is kept."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Called by the import system; always leaves the search to the finders after it."""
        if name != 'torchvision':
            return
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None or spec.origin is None:
            return
        import torch

        try:
            for compiled in Path(spec.origin).parent.glob('_C*.so'):
                torch.ops.load_library(str(compiled))
        except OSError:
            DefineSchemas.library = torch.library.Library('torchvision', 'DEF')
            for schema in SCHEMAS:
                DefineSchemas.library.define(schema)


sys.meta_path.insert(0, DefineSchemas())
