"""What TensorRT says of an engine becomes layers, data types and memory."""

import json

import pytest

from mmtrtvit.deploy.engines.tensorrt_report import EngineLayer, EngineReport, read_inspector, read_log, to_markdown

# Lines of a log of TensorRT for RTX 1.7.1, shortened in names only.
LAYERS = """Layers:
Name: __mye9138_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: __myl_Cast_myl0_1, LayerType: kgen, Inputs: [ { Name: input, Dimensions: [-1,3,-1,-1], Strides: [-1,-1,-1,1], StrideOrder: [3,2,1,0], Datatype: Float, Format: (Linear) Row major linear format }], Constants: [], Outputs: [ { Name: half, Dimensions: [-1,3,-1,-1], Strides: [-1,1,-1,3], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], TacticName: __myl_Move_0x9e54, StreamId: 0, Metadata: 
Name: /stem/conv/Conv_myl0_2, LayerType: correlation, Inputs: [ { Name: half, Dimensions: [-1,3,-1,-1], Strides: [-1,1,-1,3], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], Constants: [ { Name: w1, Dimensions: [64,3,7,7], Strides: [147,1,21,3], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }, { Name: one, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: stem, Dimensions: [-1,64,-1,-1], Strides: [-1,1,-1,64], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: /stem/conv/Conv][ONNX Layer: /stem/relu/Relu]
Name: __myl_FcAddDivErfAddMulMul_myl0_58, LayerType: runtime_fusion, Inputs: [ { Name: stem, Dimensions: [-1,64,-1,-1], Strides: [-1,1,-1,64], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }, { Name: b, Dimensions: [], Strides: [], StrideOrder: [], Datatype: Float, Format: (Linear) Row major linear format }], Constants: [ { Name: one, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }], Outputs: [ { Name: c2, Dimensions: [-1,64,-1,-1], Strides: [-1,1,-1,64], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format }], TacticName: x, StreamId: 0, Metadata: [ONNX Layer: /mlp/Mul][ONNX Layer: /mlp/Erf][ONNX Layer: /mlp/Add]

I/O Tensors:
 Name: input, IOMode: Input, DataType: Float, Dimensions: [-1,3,-1,-1], Location: Device, IsShapeInferenceIO: false
"""  # noqa: E501, W291

LOG = [
    LAYERS,
    'Total Activation Memory: 101253120 bytes',
    'Max Scratch Memory: 1253120 bytes',
    'Total Weights Memory: 210688 bytes',
]

INSPECTOR = json.dumps(
    {
        'Layers': [
            {
                'Name': 'Conv_0 + Relu_1',
                'LayerType': 'CaskConvolution',
                'Inputs': [{'Name': 'input', 'Dimensions': [1, 3, 64, 64], 'Format/Datatype': 'Row major linear FP32'}],
                'Outputs': [{'Name': 'x', 'Format/Datatype': 'Channel major FP16 format where channel % 8 == 0'}],
                'Weights': {'Type': 'Half', 'Count': 864},
                'Bias': {'Type': 'Float', 'Count': 32},
                'TacticName': 'sm86_xmma',
                'Metadata': '[ONNX Layer: Conv_0]\u001e[ONNX Layer: Relu_1]',
            },
            {
                'Name': 'q',
                'LayerType': 'gemm',
                'Inputs': [{'Name': 'x', 'Format/Datatype': 'Int8'}],
                'Outputs': [],
                'Metadata': '',
            },
        ],
        'Bindings': ['input', 'x'],
    }
)


def report(**changes):
    fields = dict(
        package='tensorrt_rtx',
        version='1.7.1',
        targets=['sm86'],
        profiles={'input': [[1, 3, 64, 64], [1, 3, 800, 1344], [2, 3, 1344, 1344]]},
        engine_bytes=3_000_000,
        seconds=dict(parse=0.2, build=2.5),
    )
    return EngineReport(**{**fields, **changes})


def test_layers_of_the_log():
    found = read_log(LOG)
    shapes, cast, conv, fusion = found['layers']
    assert (shapes.kind, shapes.data_type, shapes.fused) == ('shape_call', 'none', [])
    assert (cast.inputs, cast.outputs, cast.converts) == (['float32'], ['float16'], True)
    assert conv == EngineLayer(
        '/stem/conv/Conv_myl0_2', 'correlation', ['float16'], ['float16'], ['/stem/conv/Conv', '/stem/relu/Relu']
    )
    assert fusion.inputs == ['float16', 'float32'] and fusion.data_type == 'float16' and not fusion.converts
    assert fusion.fused == ['/mlp/Mul', '/mlp/Erf', '/mlp/Add']


@pytest.mark.parametrize(
    'inputs, outputs, type, converts',
    [
        (['int64', 'float16'], ['float16'], 'float16', False),  # indices first, as in a Gather
        (['bool', 'int64'], ['int64'], 'bool', False),
        (['int64'], ['float32'], 'float32', False),
        (['int8', 'float32'], ['float16'], 'int8', True),
        ([], [], 'none', False),
    ],
)
def test_what_a_layer_computes_on(inputs, outputs, type, converts):
    layer = EngineLayer('x', 'kgen', inputs, outputs, [])
    assert (layer.data_type, layer.converts) == (type, converts)


def test_memory_and_weights_of_the_log():
    found = read_log(LOG)
    assert (found['activation_bytes'], found['scratch_bytes'], found['weights_bytes']) == (101253120, 1253120, 210688)
    # a constant that two layers read counts once
    assert found['weights'] == {'float16': 64 * 3 * 7 * 7 * 2, 'float32': 4}


def test_shares_leave_layers_of_shapes_out():
    made = report(**read_log(LOG))
    assert made.share_of_layers() == {'float16': pytest.approx(2 / 3), 'float32': pytest.approx(1 / 3)}
    assert sum(made.share_of_weights().values()) == pytest.approx(1)
    assert json.loads(json.dumps(made.to_dict()))['share_of_layers'] == made.share_of_layers()


def test_layers_of_the_inspector():
    found = read_inspector(INSPECTOR)
    conv, gemm = found['layers']
    assert (conv.inputs, conv.outputs) == (['float32'], ['float16'])
    assert conv.fused == ['Conv_0', 'Relu_1']
    assert gemm.data_type == 'int8'
    assert found['weights'] == {'float16': 1728, 'float32': 128}


def test_the_types_of_layers_with_free_shapes_are_those_of_their_weights():
    """What TensorRT's inspector says of an engine with free sizes where it has no shapes."""
    free = {'Name': 'a', 'Format/Datatype': 'N/A due to dynamic shapes'}
    conv = {'Name': 'conv', 'LayerType': 'CaskConvolution', 'Inputs': [free], 'Outputs': [free]}
    pool = {**conv, 'Name': 'pool'}
    conv.update(Weights={'Type': 'Half', 'Count': 8}, Bias={'Type': 'Float', 'Count': 0})
    made = report(**read_inspector(json.dumps({'Layers': [conv, pool], 'Bindings': []})))
    assert [layer.data_type for layer in made.layers] == ['float16', 'unknown']
    assert not any(layer.converts for layer in made.layers)
    assert made.share_of_weights() == {'float16': 1.0}


def test_an_engine_without_details_has_names_only():
    found = read_inspector(json.dumps({'Layers': ['conv', 'relu'], 'Bindings': []}))
    assert [layer.name for layer in found['layers']] == ['conv', 'relu']
    assert report(**found).share_of_layers() == {}


def test_markdown():
    text = to_markdown(report(**read_log(LOG), warnings=['mind this']))
    for part in (
        '| built by | tensorrt_rtx 1.7.1 |',
        '| for | sm86 |',
        'input 1x3x64x64 / 1x3x800x1344 / 2x3x1344x1344',
        '| activations, at most | 101.3 MB |',
        '| float16 | 66.7% | 100.0% |',
        '4 layers; 5 ONNX nodes are named in them. 1 layers read one data type and write another.',
        '| __myl_FcAddDivErfAddMulMul_myl0_58 | runtime_fusion | float16 | 3: /mlp/Mul, /mlp/Erf, /mlp/Add |',
        '- mind this',
    ):
        assert part in text
    # the largest fusion first
    assert text.index('FcAddDivErf') < text.index('/stem/conv/Conv_myl0_2')


def test_a_log_that_says_nothing():
    assert read_log(['something else']) == {}
    assert 'told nothing about the layers' in to_markdown(report())
    assert 'not told' in to_markdown(report())
