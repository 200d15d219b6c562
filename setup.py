"""What pyproject.toml cannot say: the wheel carries configs and tools where OpenMMLab's ``mim`` looks."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = 'mmtrtvit'

# Copied into mmtrtvit/.mim of the wheel. What is missing from a tree is left out.
MIM_FILES = ('configs', 'tools', 'requirements', 'model-index.yml')

# Compiled files, and the scripts that only make sense in a checkout.
NOT_SHIPPED = shutil.ignore_patterns('__pycache__', '*.py[cod]', 'dev')


class BuildPyWithMim(build_py):
    """Build the package with ``mmtrtvit/.mim``, in the build folder only: the source tree stays as it is."""

    def run(self) -> None:
        if self.editable_mode:
            # Nothing to copy: tools and configs are used from the checkout itself.
            super().run()
            return
        target = Path(self.build_lib) / PACKAGE
        # A build folder that an earlier build left behind would bring deleted files back.
        shutil.rmtree(target, ignore_errors=True)
        super().run()
        for name in MIM_FILES:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, target / '.mim' / name, ignore=NOT_SHIPPED)
            elif source.is_file():
                shutil.copy2(source, target / '.mim' / name)


setup(cmdclass={'build_py': BuildPyWithMim})
