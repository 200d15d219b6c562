"""Files that are not ONNX are told from those that are, and graphs are looked into to their depth."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mmtrtvit.deploy.export.input_shapes import InputShapes
from mmtrtvit.deploy.export.onnx_graph import (
    fix_input_shape,
    operators,
    read_graph,
    require_standard_operators,
    simplify,
)
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.errors import DeployError


def value(name, shape=(2,)):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def model_of(nodes, opsets=(('', 17),)):
    graph = helper.make_graph(nodes, 'graph', [value('x')], [value('y')])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], ir_version=8)


@pytest.mark.parametrize(
    'content',
    [b'', b'this is a text', b'\x89PNG\r\n\x1a\n' + bytes(100), b'\x08\x08\x3a\xff\xff\xff\x7f'],
    ids=['empty', 'text', 'picture', 'cut off'],
)
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / 'end2end.onnx'
    path.write_bytes(content)
    with pytest.raises(DeployError, match=rf'end2end.onnx \({len(content)} bytes\) is not a valid ONNX model'):
        read_graph(path)


def test_a_truncated_graph_is_refused(deployed, tmp_path):
    content = (deployed.folder / 'end2end.onnx').read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / 'cut.onnx').write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DeployError, match='not a valid ONNX model'):
            read_graph(tmp_path / 'cut.onnx')


def test_a_graph_that_breaks_the_rules_is_refused(tmp_path):
    onnx.save(model_of([helper.make_node('Relu', ['nowhere'], ['y'])]), tmp_path / 'bad.onnx')
    with pytest.raises(DeployError, match='not a valid ONNX model'):
        read_graph(tmp_path / 'bad.onnx')


def test_a_missing_file(tmp_path):
    with pytest.raises(DeployError, match='There is no ONNX file'):
        read_graph(tmp_path / 'none.onnx')


def test_operators_in_subgraphs_and_of_other_domains_are_counted():
    branch = helper.make_graph([helper.make_node('Abs', ['x'], ['z'])], 'branch', [], [value('z')])
    other = helper.make_graph([helper.make_node('grid', ['x'], ['z'], domain='mmdeploy')], 'other', [], [value('z')])
    nodes = [
        helper.make_node('Constant', [], ['c'], value=helper.make_tensor('c', TensorProto.BOOL, (), [True])),
        helper.make_node('If', ['c'], ['w'], then_branch=branch, else_branch=other),
        helper.make_node('Abs', ['w'], ['y'], domain='ai.onnx'),
    ]
    model = model_of(nodes)
    assert operators(model) == {'Constant': 1, 'If': 1, 'Abs': 2, 'mmdeploy::grid': 1}


def test_operators_that_are_not_standard_are_all_named_with_their_layers():
    inside = helper.make_node('grid', ['x'], ['z'], name='/head/loop/grid', domain='mmdeploy')
    branches = [helper.make_graph([node], 'branch', [], [value('z')]) for node in (inside, inside)]
    branches[0].node[0].CopyFrom(helper.make_node('Abs', ['x'], ['z'], name='/head/Abs'))
    nodes = [
        helper.make_node('Constant', [], ['c'], value=helper.make_tensor('c', TensorProto.BOOL, (), [True])),
        helper.make_node('If', ['c'], ['v'], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node('i0', ['v'], ['w'], name='/backbone/stage1/i0', domain='org.pytorch.aten'),
        helper.make_node('grid', ['w'], ['u'], name='/neck/grid', domain='mmdeploy'),
        helper.make_node('grid', ['u'], ['y'], domain='mmdeploy'),
    ]
    model = model_of(nodes)
    with pytest.raises(DeployError) as caught:
        require_standard_operators(model)
    assert str(caught.value).splitlines()[1:3] == [
        '  mmdeploy::grid: /head/loop/grid, /neck/grid, the node that gives y',
        '  org.pytorch.aten::i0: /backbone/stage1/i0',
    ]
    assert 'Abs' not in str(caught.value)
    require_standard_operators(model_of(nodes[:1] + [helper.make_node('Abs', ['x'], ['y'], domain='ai.onnx')]))


class Unknown(torch.nn.Module):
    """Two operators that have no form in ONNX."""

    def forward(self, values):
        return torch.special.i0(values).erfinv()


def test_operators_that_pytorch_left_as_they_are(tmp_path):
    layers = torch.nn.ModuleDict({'backbone': torch.nn.Sequential(Unknown(), torch.nn.ReLU()), 'head': Unknown()})
    layers.forward = lambda values: layers['head'](layers['backbone'](values))
    going_on = torch.onnx.OperatorExportTypes.ONNX_FALLTHROUGH
    options = dict(opset_version=17, dynamo=False, operator_export_type=going_on)
    with quiet():
        torch.onnx.export(layers, (torch.rand(2),), str(tmp_path / 'graph.onnx'), **options)
    with pytest.raises(DeployError) as caught:
        require_standard_operators(onnx.load(tmp_path / 'graph.onnx'))
    named = [line.split(': ') for line in str(caught.value).splitlines() if line.startswith('  ')]
    assert [operator.rpartition('::')[2] for operator, _ in named] == ['erfinv', 'i0']
    for _, nodes in named:
        assert [node.rpartition('/')[0] for node in nodes.split(', ')] == ['/backbone/backbone.0', '/head']


def test_simplifying_folds_and_keeps_the_result(tmp_path):
    zero = helper.make_tensor('zero', TensorProto.FLOAT, (1,), [0.0])
    nodes = [
        helper.make_node('Constant', [], ['zero'], value=zero),
        helper.make_node('Exp', ['zero'], ['one']),
        helper.make_node('Identity', ['x'], ['same']),
        helper.make_node('Mul', ['same', 'one'], ['z']),
        helper.make_node('Relu', ['z'], ['y']),
    ]
    path = tmp_path / 'model.onnx'
    onnx.save(model_of(nodes), path)
    before, after = simplify(path)
    assert before == 5 and after == sum(operators(read_graph(path)).values()) < 5
    assert [file.name for file in tmp_path.iterdir()] == ['model.onnx']


@pytest.mark.parametrize('reshaped', [False, True])
def test_outputs_keep_the_number_of_their_sides(tmp_path, reshaped):
    """Inference finds the shape of what an activation gives, and nothing of what is reshaped to a computed shape."""
    image, output = (value(name, ('batch', 3, 'height', 'width')) for name in ('input', 'output'))
    nodes = [helper.make_node('Relu', ['input'], ['output'])]
    if reshaped:
        nodes = [
            helper.make_node('Shape', ['input'], ['shape']),
            helper.make_node('NonZero', ['shape'], ['which']),
            helper.make_node('Gather', ['shape', 'which'], ['chosen']),
            helper.make_node('Squeeze', ['chosen'], ['sides']),
            helper.make_node('Reshape', ['input', 'sides'], ['output']),
        ]
    graph = helper.make_graph(nodes, 'graph', [image], [output])
    path = tmp_path / 'end2end.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    fix_input_shape(path, InputShapes((1, 3, 32, 32), (1, 3, 32, 64), (1, 3, 32, 96)))
    model = read_graph(path)
    sides = model.graph.output[0].type.tensor_type.shape.dim
    assert len(sides) == 4
    assert sides[0].dim_value in ((0, 1) if reshaped else (1,)) and sides[0].dim_param != 'batch'
