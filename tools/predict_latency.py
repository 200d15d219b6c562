#!/usr/bin/env python
"""Predict latency on a device that is not at hand: tools/predict_latency.py trtvit-c --device t4 --batch 8"""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.roofline.devices import DEVICES, WIDTH
from mmtrtvit.roofline.fusion import COMPILERS
from mmtrtvit.roofline.table import predict_latency


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Predict the latency of a network from its ONNX graph and the data sheet of a device. '
        'Nothing is measured (but this CPU, with --device cpu). How far predictions are off: docs/roofline.md.'
    )
    parser.add_argument(
        'source', help='an ONNX file, a folder of tools/deploy.py, a config, or a backbone such as trtvit-c'
    )
    parser.add_argument('--device', dest='device_name', required=True, choices=[*DEVICES, 'cpu'], help='the device')
    parser.add_argument(
        '--compiler', choices=list(COMPILERS), help='what runs it (default: TensorRT, OpenVINO on CPUs)'
    )
    parser.add_argument('--precision', choices=list(WIDTH), default='fp16', help='default: %(default)s')
    parser.add_argument('--batch', type=int, default=1, help='images in the input (default: %(default)s)')
    parser.add_argument('--shape', metavar='HxW', help='input size (default: by source)')
    parser.add_argument(
        '--top', type=int, default=15, help='groups of layers to print; 0: all, in order (default: %(default)s)'
    )
    parser.add_argument('--out', metavar='JSON', help='file for all rows')
    return parser.parse_args()


@command_line
def main() -> None:
    predict_latency(**vars(parse_args()))


if __name__ == '__main__':
    sys.exit(main())
