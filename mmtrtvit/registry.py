"""The registries of mmtrtvit, one child for each mmengine root registry that is used.

``locations`` are the modules that mmengine imports the first time a scoped name such as ``mmtrtvit.TRTViT`` is
looked up. Every entry is also put into the root registry, because a lookup from
another scope (mmdet, mmseg, mmpretrain) walks up to the root but never down into a sibling: so the
unscoped ``TRTViT`` is found as well once ``custom_imports = dict(imports=['mmtrtvit'])`` has run.
"""

from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import STRATEGIES as MMENGINE_STRATEGIES
from mmengine.registry import Registry


class PluginRegistry(Registry):
    """A child registry whose entries can also be found from the root without a scope."""

    def _register_module(self, module, module_name=None, force=False) -> None:
        super()._register_module(module, module_name, force)
        self.parent._register_module(module, module_name, force)


def _child(parent: Registry, *locations: str) -> PluginRegistry:
    return PluginRegistry(parent.name, parent=parent, scope='mmtrtvit', locations=list(locations))


MODELS = _child(MMENGINE_MODELS, 'mmtrtvit.models')
HOOKS = _child(MMENGINE_HOOKS, 'mmtrtvit.engine')
OPTIM_WRAPPERS = _child(MMENGINE_OPTIM_WRAPPERS, 'mmtrtvit.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, 'mmtrtvit.engine')
STRATEGIES = _child(MMENGINE_STRATEGIES, 'mmtrtvit.engine')
FUNCTIONS = _child(MMENGINE_FUNCTIONS, 'mmtrtvit.engine')
