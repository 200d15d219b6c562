"""The export of unchanged mmdeploy, in a process of its own, which what this package registers never enters.

:func:`export_plainly` starts this module as that process.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from mmengine.config import Config

from ..config import PACKAGE
from ..errors import DeployError

OPSETS = (11, 13, 17)
"""What is tried, one after the other: mmdeploy's default, and those that brought operators which it may lack."""


def export_plainly(model_config: Config, deploy_config: Config, checkpoint: Path, image: Path, path: Path) -> dict:
    """Export a checkpoint to ONNX by mmdeploy alone, without the rewriters and the folding of this package.

    Args:
        model_config: The model config.
        deploy_config: The deploy config; its opset becomes the first of :data:`OPSETS` that works.
        checkpoint: The checkpoint.
        image: An image to trace.
        path: The ONNX file to write; configs and answer of the process go beside it.

    Returns:
        ``opset``: the one that worked, ``None`` where none did; ``refused``: each opset that did not work to what was
        said of it.

    Raises:
        DeployError: If the process ends without an answer.
    """
    files = {name: path.with_suffix(f'.{name}.py') for name in ('model', 'deploy')}
    model_config.dump(files['model'])
    deploy_config.dump(files['deploy'])
    request = {**files, 'checkpoint': checkpoint, 'image': image, 'path': path, 'answer': path.with_suffix('.json')}
    search = filter(None, [str(PACKAGE.parent), os.environ.get('PYTHONPATH')])
    done = subprocess.run(
        [sys.executable, '-m', __name__, json.dumps({name: str(value) for name, value in request.items()})],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(search)},
        capture_output=True,
        text=True,
        errors='replace',
    )
    if done.returncode:
        raise DeployError(
            f'The process of the plain export ended with status {done.returncode}: '
            f'{(done.stderr.strip().splitlines() or ["it said nothing"])[-1]}',
            expected='an ONNX file, or an error of mmdeploy',
            fix='see whether mmdeploy is complete (tools/check_env.py)',
        )
    return json.loads(request['answer'].read_text())


def make_it_run() -> None:
    """The least that lets mmdeploy 1.3.1 export on a current PyTorch; its rewriters stay what they are.

    From torch 2.9 on, ``torch.onnx.export`` goes through dynamo unless told otherwise; and mmdeploy's symbolic of
    RoIAlign imports ``_cast_Long``, which torch removed.
    """
    import torch
    from torch.onnx import symbolic_opset9

    torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
    if not hasattr(symbolic_opset9, '_cast_Long'):
        symbolic_opset9._cast_Long = lambda g, value, _: g.op('Cast', value, to_i=torch.onnx.TensorProtoDataType.INT64)


def _export(request: dict[str, str]) -> dict:
    """What the process answers."""
    from mmdeploy.apis import torch2onnx

    make_it_run()
    path, refused = Path(request['path']), {}
    for opset in OPSETS:
        deploy_config = Config.fromfile(request['deploy'])
        deploy_config.onnx_config.opset_version = opset
        model_config = Config.fromfile(request['model'])
        try:
            torch2onnx(
                request['image'],
                str(path.parent),
                path.name,
                deploy_config,
                model_config,
                request['checkpoint'],
                device='cpu',
            )
        except Exception as error:  # whatever keeps mmdeploy from exporting is what is wanted to know
            refused[opset] = f'{type(error).__name__}: {error}'.splitlines()[0]
        else:
            return dict(opset=opset, refused=refused)
    return dict(opset=None, refused=refused)


if __name__ == '__main__':
    _request = json.loads(sys.argv[1])
    Path(_request['answer']).write_text(json.dumps(_export(_request)))
