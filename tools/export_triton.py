#!/usr/bin/env python
"""Write an artefact into a model repository of NVIDIA Triton: tools/export_triton.py DIR --out REPO ..."""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.serving.triton import export_triton, remarks


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write an artefact into a model repository of NVIDIA Triton: the network in a backend of Triton, '
        'and a model of the Python backend that takes the file of an image and gives objects or a label map.'
    )
    parser.add_argument('folder', help='folder of tools/deploy.py, for onnxruntime, openvino or tensorrt')
    parser.add_argument('--out', required=True, metavar='REPO', help='the repository; other models in it stay')
    parser.add_argument('--name', help='name of the model (default: that of the folder)')
    parser.add_argument(
        '--max-batch', type=int, default=8, help='images that Triton may put together (default: %(default)s)'
    )
    parser.add_argument(
        '--instances', type=int, default=1, help='copies of the network that run at once (default: %(default)s)'
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='device of the network (default: by backend)')
    parser.add_argument(
        '--score', type=float, default=0.3, help='objects with a higher score count (default: %(default)s)'
    )
    parser.add_argument(
        '--max-pixels', type=int, default=50_000_000, help='largest image, height x width (default: %(default)s)'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace models of the same name')
    return parser.parse_args()


@command_line
def main() -> None:
    args = vars(parse_args())
    models = export_triton(**args)
    print('\n'.join(map(str, models)))
    for remark in remarks(args['folder']):
        print(f'Note: {remark}')


if __name__ == '__main__':
    sys.exit(main())
