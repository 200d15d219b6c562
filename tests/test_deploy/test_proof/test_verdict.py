"""The verdict of whole proofs: rounding errors never fail it, and wrong constants always do."""

import dataclasses

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.proof.prove import prove
from mmtrtvit.deploy.proof.reference import build_pytorch_model
from mmtrtvit.deploy.proof.rounding import other_rounding
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.runtime import Network, Predictor
from mmtrtvit.runtime.backends.onnxruntime import OnnxRuntimeSession

SETTINGS = dict(subject='the graph', precision='fp32', timed=False, progress=False)


@pytest.fixture(scope='module')
def reference(toy, toy_checkpoint):
    """The small Mask R-CNN in PyTorch, and its config."""
    config = load_config(toy.config)
    with quiet():
        return build_pytorch_model(config, str(toy_checkpoint)), config


@pytest.fixture
def proved(reference, deployed, tmp_path):
    """Prove the graph of the small Mask R-CNN after a change to it."""

    def run(change=lambda graph: None, predictor=Predictor):
        model = onnx.load(deployed.folder / 'end2end.onnx')
        change(model.graph)
        onnx.save(model, tmp_path / 'changed.onnx')
        session = OnnxRuntimeSession(tmp_path / 'changed.onnx', threads=1)
        predict = predictor(deployed.manifest, Network(session, 'instance'))
        network, config = reference
        return prove(network, predict, config, images=5, **SETTINGS)[0]

    return run


def constant(graph, name):
    return next(value for value in graph.initializer if value.name == name)


def set_value(graph, name, change):
    value = constant(graph, name)
    array = numpy_helper.to_array(value)
    value.CopyFrom(numpy_helper.from_array(np.asarray(change(array), array.dtype).reshape(array.shape), name))


def nodes_of(graph, operator):
    return [node for node in graph.node if node.op_type == operator]


def suppress(place, by):
    """Add to the IoU threshold of one of the two suppressions."""

    def change(graph):
        set_value(graph, nodes_of(graph, 'NonMaxSuppression')[place].input[3], lambda threshold: threshold + by)

    return change


def shift(name, by):
    return lambda graph: set_value(graph, name, lambda values: values + by)


def test_the_graph_as_it_is_passes(proved):
    proof = proved()
    assert proof.verdict == 'PASS' and proof.parity.detections >= 200, proof.parity
    assert proof.parity.same + proof.parity.ties == proof.parity.detections


@pytest.mark.parametrize(
    'change',
    [
        suppress(0, -0.1),
        suppress(1, 0.02),
        shift('rpn_head.rpn_cls.bias', np.linspace(0, 0.5, 3)),
        shift('roi_head.bbox_head.fc_reg.bias', 0.2),
        shift('roi_head.bbox_head.fc_cls.bias', np.linspace(0, 0.02, 7)),
    ],
    ids=['RPN suppression', 'suppression', 'RPN scores', 'boxes', 'scores'],
)
def test_a_wrong_constant_fails(proved, change):
    proof = proved(change)
    assert proof.verdict == 'FAIL', proof.parity
    assert any('differs from PyTorch' in failure or 'more than PyTorch' in failure for failure in proof.failures)


class OneWrong(Predictor):
    """An artefact that moves one box of each image by a few pixels, with the right score."""

    def result(self, outputs, frame):
        found = super().result(outputs, frame)
        boxes = found.boxes.copy()
        boxes[len(boxes) // 3] += (3, -2, 3, 2)
        return dataclasses.replace(found, boxes=boxes)


def test_a_few_wrong_boxes_are_not_ties(proved):
    proof = proved(predictor=OneWrong)
    assert proof.verdict == 'FAIL' and proof.parity.ties == 0
    assert proof.parity.same == proof.parity.detections - 5


@pytest.fixture
def rounded(small):
    """PyTorch's own network behind the interface of an artefact, with other rounding errors."""
    from tests.fixtures.small_networks import TorchSession

    network = small('instance')

    class Rounded(TorchSession):
        def run(self, feeds):
            with other_rounding(self.model, seed=10**6):
                return super().run(feeds)

    return network, Predictor(network.description, Network(Rounded(network.model, 'instance'), 'instance'))


def test_rounding_errors_never_fail_a_network(rounded, tmp_path):
    """In an image of one colour, neighbouring anchors have the same score: the last bit decides what is found."""
    network, artefact = rounded
    path = tmp_path / 'grey.png'
    cv2.imwrite(str(path), np.full((128, 128, 3), 120, np.uint8))
    proof, _ = prove(network.model, artefact, network.config, images=1, image=str(path), **SETTINGS)
    parity = proof.parity
    assert not proof.failures and proof.verdict in ('PASS', 'UNDECIDED'), (proof, parity)
    assert parity.ties > 0 and parity.same + parity.ties == parity.detections and not parity.extra, parity
    proof, _ = prove(network.model, artefact, network.config, images=5, **SETTINGS)
    assert proof.passed, proof
