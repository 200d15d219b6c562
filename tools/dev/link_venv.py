"""Let this environment see the packages of another one, and torchvision load beside any torch.

Run by the new environment's Python, with the other environment's site-packages as its argument. The tests marked
`reference` run there: timm and torchvision can neither help nor break anything elsewhere.
"""

import shutil
import sys
import sysconfig
from pathlib import Path

HOOK = Path(__file__).with_name('torchvision_schemas.py')

if __name__ == '__main__':
    here = Path(sysconfig.get_path('purelib'))
    shutil.copy(HOOK, here)
    (here / 'reference.pth').write_text(f'import site, {HOOK.stem}; site.addsitedir({sys.argv[1]!r})\n')
