"""Triton repositories: they follow the published schema, and image files in give the runtime's results."""

import importlib
import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx writes the networks of these tests')

from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.runtime import load
from mmtrtvit.runtime.manifest import read_manifest, write_manifest
from mmtrtvit.serving.triton import export_triton, network_config, remarks, to_pbtxt
from tests.fixtures.tiny_artefacts import make_classifier, make_detector, make_segmentor

protobuf = pytest.importorskip('google.protobuf')

SCHEMA = Path(__file__).parents[1] / 'data' / 'triton_model_config.json'


@pytest.fixture(scope='session')
def parse():
    """Read a ``config.pbtxt`` by Triton's published schema; a field that it does not have is an error."""
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format

    pool = descriptor_pool.DescriptorPool()
    pool.Add(json_format.ParseDict(json.loads(SCHEMA.read_text()), descriptor_pb2.FileDescriptorProto()))
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName('inference.ModelConfig'))
    return lambda text: text_format.Parse(text, kind())


def enumerated(message, field):
    """The name of a field's value."""
    return message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[getattr(message, field)].name


@pytest.fixture(params=['detection', 'instance', 'segmentation', 'classification'])
def artefact(request, tmp_path):
    folder = tmp_path / 'my artefact'
    if request.param == 'segmentation':
        return make_segmentor(folder)
    if request.param == 'classification':
        return make_classifier(folder)
    return make_detector(folder, masks=request.param == 'instance')


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def test_a_repository(artefact, tmp_path, parse):
    network, whole = export_triton(artefact, tmp_path / 'repository', max_batch=4)
    assert files(tmp_path / 'repository') == [
        'my_artefact/1/manifest.json',
        'my_artefact/1/model.py',
        'my_artefact/config.pbtxt',
        'my_artefact_network/1/model.onnx',
        'my_artefact_network/config.pbtxt',
    ]
    config = parse((network / 'config.pbtxt').read_text())
    assert (config.name, config.backend, config.max_batch_size) == ('my_artefact_network', 'onnxruntime', 4)
    assert config.HasField('dynamic_batching')
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [('input', [3, -1, -1])]
    assert enumerated(config.input[0], 'data_type') == 'TYPE_FP32'
    assert enumerated(config.instance_group[0], 'kind') == 'KIND_CPU'
    outputs = {tensor.name: (enumerated(tensor, 'data_type'), list(tensor.dims)) for tensor in config.output}
    if 'labels' in outputs:
        assert outputs['dets'] == ('TYPE_FP32', [2, 5]) and outputs['labels'] == ('TYPE_INT64', [2])
    else:
        assert outputs in ({'output': ('TYPE_FP32', [3, -1, -1])}, {'scores': ('TYPE_FP32', [3])})
    config = parse((whole / 'config.pbtxt').read_text())
    assert (config.name, config.backend, config.max_batch_size) == ('my_artefact', 'python', 0)
    assert config.parameters['network'].string_value == 'my_artefact_network'
    assert {path.name for path in artefact.iterdir()} >= {'manifest.json', 'end2end.onnx'}


def described(**changes):
    return {
        'backend': 'onnxruntime',
        'precision': 'fp32',
        'inputs': {'input': {'dtype': 'float', 'shape': ['batch', 3, 'height', 'width']}},
        'outputs': {
            'dets': {'dtype': 'float', 'shape': ['batch', 'n', 5]},
            'exact': {'dtype': 'float', 'shape': ['batch']},
        },
        **changes,
    }


def test_one_number_for_each_image_has_a_dimension(parse):
    config = parse(to_pbtxt(network_config(described(), 'a', max_batch=8, instances=2, device='cuda')))
    exact = config.output[1]
    assert list(exact.dims) == [1] and exact.HasField('reshape') and list(exact.reshape.shape) == []
    assert enumerated(config.instance_group[0], 'kind') == 'KIND_GPU' and config.instance_group[0].count == 2


@pytest.mark.parametrize(
    'changes, batch, dims',
    [
        ({'inputs': {'input': {'dtype': 'float', 'shape': [1, 3, 64, 96]}}}, 0, [1, 3, 64, 96]),
        ({'inputs': {'input': {'dtype': 'float', 'shape': [4, 3, 'height', 'width']}}}, 0, [4, 3, -1, -1]),
        (
            {'profiles': {'input': {'min': [1, 3, 32, 32], 'opt': [1, 3, 64, 64], 'max': [2, 3, 96, 96]}}},
            2,
            [3, -1, -1],
        ),
        (
            {'profiles': {'input': {'min': [1, 3, 32, 32], 'opt': [1, 3, 64, 64], 'max': [1, 3, 96, 96]}}},
            1,
            [3, -1, -1],
        ),
        ({'backend': 'openvino'}, 0, [-1, 3, -1, -1]),
        ({'backend': 'tensorrt'}, 8, [3, -1, -1]),
    ],
)
def test_batching_where_the_engine_allows_it(parse, changes, batch, dims):
    text = to_pbtxt(network_config(described(**changes), 'a', max_batch=8, instances=1, device='cpu'))
    config = parse(text)
    assert (config.max_batch_size, list(config.input[0].dims)) == (batch, dims)
    assert config.HasField('dynamic_batching') == (batch > 1)


def test_bfloat16_of_openvino(parse):
    for precision, wanted in (('bf16', 'YES'), ('fp32', '')):
        changes = described(backend='openvino', precision=precision)
        config = parse(to_pbtxt(network_config(changes, 'a', max_batch=8, instances=1, device='cpu')))
        assert config.parameters['HINT_BF16'].string_value == wanted


def test_strings_and_lists_as_text(parse):
    config = parse(to_pbtxt(dict(name='a "b"\\', input=[dict(name='x', dims=[1, -1])])))
    assert config.name == 'a "b"\\' and list(config.input[0].dims) == [1, -1]


def test_the_schema_knows_what_is_wrong(parse):
    from google.protobuf.text_format import ParseError

    for text in ('nme: "a"', 'max_batch_size: "8"', 'input { data_type: TYPE_FP31 }'):
        with pytest.raises(ParseError):
            parse(text)


def change(folder, **changes):
    manifest = read_manifest(folder)
    content = {key: value for key, value in manifest.items() if key not in ('files', 'sha256', 'versions', 'format')}
    write_manifest(folder, {**content, **changes})


def test_other_backends(tmp_path, parse):
    folder = make_segmentor(tmp_path / 'a')
    (folder / 'end2end.xml').write_text('xml')
    (folder / 'end2end.bin').write_bytes(b'weights')
    change(folder, backend='openvino', engine='end2end.xml')
    export_triton(folder, tmp_path / 'repository')
    assert (tmp_path / 'repository' / 'a_network' / '1' / 'model.xml').read_text() == 'xml'
    assert (tmp_path / 'repository' / 'a_network' / '1' / 'model.bin').read_bytes() == b'weights'
    assert any('bfloat16' in remark for remark in remarks(folder))
    (folder / 'end2end.engine').write_bytes(b'engine')
    change(folder, backend='tensorrt', engine='end2end.engine')
    network, _ = export_triton(folder, tmp_path / 'repository', name='b')
    assert (network / '1' / 'model.plan').read_bytes() == b'engine'
    config = parse((network / 'config.pbtxt').read_text())
    assert config.backend == 'tensorrt' and enumerated(config.instance_group[0], 'kind') == 'KIND_GPU'
    assert 'must have this version' in remarks(folder)[0]
    change(folder, backend='tensorrt-rtx')
    with pytest.raises(DeployError, match='no backend for TensorRT for RTX'):
        export_triton(folder, tmp_path / 'repository', name='c')


def test_models_that_are_there_are_not_replaced_unasked(tmp_path):
    folder, repository = make_segmentor(tmp_path / 'a'), tmp_path / 'repository'
    (repository / 'other').mkdir(parents=True)
    export_triton(folder, repository)
    with pytest.raises(ConfigError, match='(?s)already has .*--overwrite'):
        export_triton(folder, repository, max_batch=2)
    assert 'max_batch_size: 8' in (repository / 'a_network' / 'config.pbtxt').read_text()
    export_triton(folder, repository, max_batch=2, overwrite=True)
    assert 'max_batch_size: 2' in (repository / 'a_network' / 'config.pbtxt').read_text()
    assert sorted(path.name for path in repository.iterdir()) == ['a', 'a_network', 'other']


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(name='a/b'), 'cannot be the name'),
        (dict(max_batch=0), 'too small'),
        (dict(score=1), 'out of range'),
        (dict(device='npu'), 'does not run on npu'),
    ],
)
def test_options_that_cannot_be_used(tmp_path, options, said):
    with pytest.raises(ConfigError, match=f'(?s){said}.*Fix: '):
        export_triton(make_segmentor(tmp_path / 'a'), tmp_path / 'repository', **options)
    assert not (tmp_path / 'repository').exists()


# --- the Python model, with a stand-in for Triton --------------------------------------------------------------------


class Tensor:
    def __init__(self, name, array):
        assert isinstance(array, np.ndarray)
        self._name, self._array = name, array

    def name(self):
        return self._name

    def as_numpy(self):
        return self._array


class Error(Exception):
    def message(self):
        return str(self)


class Response:
    def __init__(self, output_tensors, error=None):
        self.tensors, self._error = {tensor.name(): tensor for tensor in output_tensors}, error

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error


def stand_in(repository, parse):
    """``triton_python_backend_utils`` whose other models are the files of a repository, run as their configs say."""
    import onnxruntime

    class Request:
        def __init__(self, model_name, requested_output_names, inputs, preferred_memory=None):
            self.folder, self.names, self.inputs = repository / model_name, requested_output_names, inputs

        def exec(self):
            config = parse((self.folder / 'config.pbtxt').read_text())
            feeds = {tensor.name(): tensor.as_numpy() for tensor in self.inputs}
            for said in config.input:
                shape = feeds[said.name].shape[1 if config.max_batch_size else 0 :]
                assert len(shape) == len(said.dims)
                if any(side not in (-1, given) for side, given in zip(said.dims, shape, strict=True)):
                    return Response([], Error(f'shape {shape}'))
            session = onnxruntime.InferenceSession(self.folder / '1' / 'model.onnx')
            return Response(map(Tensor, self.names, session.run(self.names, feeds)))

    return types.SimpleNamespace(
        Tensor=Tensor,
        InferenceRequest=Request,
        InferenceResponse=Response,
        TritonError=Error,
        PreferredMemory=lambda *_: None,
        TRITONSERVER_MEMORY_CPU=0,
        get_input_tensor_by_name=lambda request, name: request[name],
        get_output_tensor_by_name=lambda response, name: response.tensors[name],
    )


@pytest.fixture
def serve(artefact, tmp_path, parse, monkeypatch):
    """The model of an exported repository, started as Triton does."""
    repository = tmp_path / 'repository'
    _, whole = export_triton(artefact, repository, name='net', score=0.45, max_pixels=10_000)
    monkeypatch.setitem(sys.modules, 'triton_python_backend_utils', stand_in(repository, parse))
    monkeypatch.delitem(sys.modules, 'mmtrtvit.serving.triton_model', raising=False)
    spec = importlib.util.spec_from_file_location('model', whole / '1' / 'model.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    config = parse((whole / 'config.pbtxt').read_text())
    parameters = {key: {'string_value': value.string_value} for key, value in config.parameters.items()}
    model.initialize(
        {
            'model_config': json.dumps({'parameters': parameters}),
            'model_repository': str(whole),
            'model_version': '1',
        }
    )
    model.outputs = {tensor.name: (enumerated(tensor, 'data_type'), list(tensor.dims)) for tensor in config.output}
    yield model
    sys.modules.pop('mmtrtvit.serving.triton_model', None)


def request_of(content):
    return {'image': Tensor('image', np.frombuffer(content, np.uint8))}


def test_image_files_give_the_results_of_the_runtime(serve, artefact):
    images = [np.random.default_rng(seed).integers(0, 256, (40, 50 + seed, 3), dtype=np.uint8) for seed in range(3)]
    responses = serve.execute([request_of(cv2.imencode('.png', image)[1].tobytes()) for image in images])
    predict = load(artefact)
    for image, response in zip(images, responses, strict=True):
        assert not response.has_error()
        given = {name: tensor.as_numpy() for name, tensor in response.tensors.items()}
        assert set(given) == set(serve.outputs)
        for name, (kind, dims) in serve.outputs.items():
            types_of = {'TYPE_FP32': 'f4', 'TYPE_INT64': 'i8', 'TYPE_INT32': 'i4', 'TYPE_STRING': 'O'}
            assert given[name].dtype == np.dtype(types_of[kind]) and given[name].ndim == len(dims)
        found = predict(image)
        if 'label_map' in given:
            np.testing.assert_array_equal(given['label_map'], found.labels)
            continue
        if 'name' in given:
            np.testing.assert_array_equal(given['scores'], found.scores)
            assert (given['label'].tolist(), given['name'].tolist()) == ([found.label], [found.name.encode()])
            continue
        found = found.above(0.45)
        assert len(found) == 2
        np.testing.assert_array_equal(given['boxes'], found.boxes)
        np.testing.assert_array_equal(given['scores'], found.scores)
        assert [name.decode() for name in given['names']] == found.names
        if 'masks' in given:
            assert list(given['size']) == [40, image.shape[1]]
            decode = pytest.importorskip('pycocotools.mask').decode
            for counts, mask in zip(given['masks'], found.masks, strict=True):
                np.testing.assert_array_equal(decode({'size': list(given['size']), 'counts': counts}), mask)


def test_files_that_cannot_be_used_fail_alone(serve):
    good = cv2.imencode('.png', np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    large = cv2.imencode('.png', np.zeros((101, 100, 3), np.uint8))[1].tobytes()
    responses = serve.execute([request_of(content) for content in (good, b'text', large, good[:200][:-30], good)])
    assert [response.has_error() for response in responses] == [False, True, True, True, False]
    assert 'not an image' in responses[1].error().message() and '101 x 100' in responses[2].error().message()


def test_an_error_of_the_network_is_passed_on(serve, artefact, tmp_path):
    config = tmp_path / 'repository' / 'net_network' / 'config.pbtxt'
    config.write_text(config.read_text().replace('dims: -1', 'dims: 7'))
    good = cv2.imencode('.png', np.zeros((20, 30, 3), np.uint8))[1].tobytes()
    [response] = serve.execute([request_of(good)])
    assert 'net_network failed: shape' in response.error().message()
