"""The runtime with its own requirements only: CI runs this file where neither torch nor OpenMMLab is installed."""

import numpy as np
import pytest

from mmtrtvit.errors import DataError, DeployError
from mmtrtvit.runtime import load
from mmtrtvit.runtime.manifest import write_manifest

onnx = pytest.importorskip('onnx', reason='onnx writes the network of these tests')

MEAN, STD = [10.0, 20.0, 30.0], [2.0, 4.0, 5.0]
SIZE = 24


@pytest.fixture(scope='module')
def artefact(tmp_path_factory):
    """A segmentor whose logit of each class is one channel of its input: the class is the largest channel, RGB."""
    folder = tmp_path_factory.mktemp('artefact')
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, SIZE, SIZE])
        for name in ('input', 'output')
    ]
    nodes = [onnx.helper.make_node('Identity', ['input'], ['output'])]
    graph = onnx.helper.make_graph(nodes, 'largest channel', tensors[:1], tensors[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, folder / 'end2end.onnx')
    shape = {'dtype': 'float32', 'shape': [1, 3, SIZE, SIZE]}
    write_manifest(
        folder,
        dict(
            method='semfpn',
            task='segmentation',
            backend='onnxruntime',
            precision='fp32',
            flavour='native',
            engine='end2end.onnx',
            inputs={'input': shape},
            outputs={'output': shape},
            classes=['red', 'green', 'blue'],
            palette=[[255, 0, 0], [0, 255, 0], [0, 0, 255]],
            preprocessing=dict(
                resize=dict(width=SIZE, height=SIZE, rule='stretch'),
                channels='rgb',
                mean=MEAN,
                std=STD,
                pad=dict(value=0, divisor=1, shape=[SIZE, SIZE]),
            ),
            postprocessing=dict(align_corners=False),
        ),
    )
    return folder


def test_an_artefact_runs(artefact):
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    wanted = ((image[..., ::-1] - np.array(MEAN)) / STD).argmax(-1)
    found = load(artefact)(image)
    np.testing.assert_array_equal(found.labels, wanted)
    assert set(found.names) == {'red', 'green', 'blue'}


def test_images_of_other_sizes_come_back_in_their_size(artefact):
    image = np.full((50, 70, 3), (200, 90, 10), np.uint8)  # BGR
    found = load(artefact)([image, image[:30]])
    assert [result.labels.shape for result in found] == [(50, 70), (30, 70)]
    assert set(found[0].labels.ravel()) == {2}


def test_what_cannot_be_used_is_refused(artefact, tmp_path):
    with pytest.raises(DataError):
        load(artefact)(tmp_path / 'none.png')
    with pytest.raises(DeployError, match='holds no exported artefact'):
        load(tmp_path)
