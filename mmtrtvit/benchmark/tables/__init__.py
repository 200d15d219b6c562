"""Markdown tables, made from rows and from the code, never typed."""

from .backbones import complexity_table, latency_table, sizes_table
from .comparison import comparison_table, with_published
from .demo import demo_table
from .deployment import deployment_table
from .engines import engines_table
from .exports import exports_table
from .networks import imagenet_table, misprints, networks_table, results_table, rules_table
from .precisions import precisions_table
from .runs import runs_table
from .training import training_table
from .zoo import zoo_table

__all__ = [
    'comparison_table',
    'complexity_table',
    'demo_table',
    'deployment_table',
    'engines_table',
    'exports_table',
    'imagenet_table',
    'latency_table',
    'misprints',
    'networks_table',
    'precisions_table',
    'results_table',
    'rules_table',
    'runs_table',
    'sizes_table',
    'training_table',
    'with_published',
    'zoo_table',
]
