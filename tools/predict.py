#!/usr/bin/env python
"""Predict on a folder, a video or a camera: tools/predict.py MODEL SOURCE --out DIR ..."""

import argparse
import sys

from mmtrtvit.errors import command_line
from mmtrtvit.prediction import FORMATS, SCORE, predict


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Predict on images or videos, and write pictures and tables.',
        epilog='Exit status: 0 when every image has a result, 1 when some were skipped, 2 for unusable input.',
    )
    parser.add_argument('model', help='folder of tools/deploy.py, or a config together with --checkpoint')
    parser.add_argument(
        'source',
        help="an image, a folder, a pattern in quotes such as 'data/*.jpg', a .txt file with one path in each line, a "
        'video, the address of a stream (rtsp://...), or the number of a camera',
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the results, new or empty')
    parser.add_argument('--overwrite', action='store_true', help='remove the results of an earlier run from --out')
    parser.add_argument(
        '--format',
        nargs='+',
        default=[],
        choices=list(FORMATS),
        dest='formats',
        help='formats of the results (default: drawn, and coco, label-map or csv by task)',
    )
    parser.add_argument(
        '--score', type=float, default=SCORE, help='objects with a higher score count (default: %(default)s)'
    )
    parser.add_argument('--classes', nargs='+', default=[], metavar='NAME', help='objects of these classes count only')
    parser.add_argument('--batch', type=int, default=1, help='images that run together (default: %(default)s)')
    parser.add_argument('--tile', type=int, metavar='PIXELS', help='cut large images into tiles of this side')
    parser.add_argument('--recursive', action='store_true', help='look into the folders of a folder as well')
    parser.add_argument('--stride', type=int, default=1, help='take every n-th frame of videos (default: %(default)s)')
    parser.add_argument('--limit', type=int, metavar='N', help='end after this many images or frames')
    parser.add_argument('--line', type=int, metavar='PIXELS', help='width of the lines of boxes (default: by size)')
    parser.add_argument('--no-labels', dest='labels', action='store_false', help='draw boxes without names and scores')
    parser.add_argument('--frames', action='store_true', help='draw videos as numbered pictures')
    parser.add_argument('--workers', type=int, help='threads that read, and that draw and write (default: by CPU)')
    parser.add_argument('--device', help='device that the network runs on, such as cpu or cuda')
    parser.add_argument('--threads', type=int, help='CPU threads of the network (default: one for each core)')
    parser.add_argument(
        '--streams',
        type=int,
        metavar='N',
        help='images that run at the same time on a CPU (default: 1)',
    )
    parser.add_argument('--checkpoint', help='weights for a config: then the network runs in PyTorch')
    return parser.parse_args()


@command_line
def main() -> int:
    args = vars(parse_args())
    model, checkpoint = args.pop('model'), args.pop('checkpoint')
    options = {name: args.pop(name) for name in ('device', 'threads', 'streams')}
    if checkpoint or model.endswith('.py'):
        from mmtrtvit.apis import load_pytorch

        predictor = load_pytorch(model, checkpoint, **options)
    else:
        from mmtrtvit.runtime import load

        predictor = load(model, **options)
    summary = predict(predictor, progress=True, **args)
    print(summary.report())
    return 1 if summary.skipped else 0


if __name__ == '__main__':
    sys.exit(main())
