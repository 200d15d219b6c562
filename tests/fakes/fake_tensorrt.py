"""A stand-in for the Python API of TensorRT, faithful in names and signatures, that runs networks by ONNX Runtime.

What each class has, and with which parameters a method is called, is that of one real version
(``tests/data/tensorrt_api.json``): anything else raises here as it would there. An engine holds the graph as JSON;
running it reads the inputs from the addresses that were set and writes the outputs to theirs. Sides of an output whose
name begins with ``data`` depend on the data, so their memory is asked for while the network runs.
"""

import base64
import ctypes
import dataclasses
import enum
import functools
import json
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

API = json.loads((Path(__file__).resolve().parents[1] / 'data' / 'tensorrt_api.json').read_text())
VERSIONS = tuple(API['distributions'])


@dataclasses.dataclass
class Scenario:
    """What goes wrong, and on which machine.

    Attributes:
        parser: Nodes that the parser refuses: index, name, operator, description.
        build: Errors of a build that fails.
        no_context: There is no memory for an execution context.
        refuse_run: The run is not queued.
        no_memory_asked: A run asks for no memory for outputs whose size depends on the data.
        capability: Compute capability of the GPU.
        foreign_cache: How a timing cache of another GPU is refused: 'unread', when it is read, or 'unused', when it is
            given to a build.
    """

    parser: list = dataclasses.field(default_factory=list)
    build: list = dataclasses.field(default_factory=list)
    no_context: bool = False
    refuse_run: bool = False
    no_memory_asked: bool = False
    capability: str = '8.6'
    foreign_cache: str = ''


def accepts(signature: str, args: tuple, kwargs: dict) -> bool:
    """Whether a call fits ``name, name= -> type``."""
    names = [name.strip() for name in signature.split('->')[0].split(',') if name.strip()]
    plain = [name.rstrip('=') for name in names]
    given = {*plain[: len(args)], *kwargs}
    required = {name for name in names if not name.endswith('=')}
    return len(args) <= len(plain) and set(kwargs) <= set(plain) and required <= given


class Real:
    """Lets through what the real class has in this version."""

    _version = _name = ''
    _trt: types.ModuleType

    @classmethod
    def _member(cls, attribute):
        found = API['classes'][cls._name].get(attribute, {}).get(cls._version)
        if found is None:
            raise AttributeError(f'{cls._name} of TensorRT {cls._version} has no {attribute!r}')
        return found

    def __getattribute__(self, attribute):
        value = object.__getattribute__(self, attribute)
        if attribute.startswith('_') or attribute in object.__getattribute__(self, '__dict__'):
            return value
        signatures = type(self)._member(attribute)
        if not callable(value) or not isinstance(signatures, list):
            return value

        @functools.wraps(value)
        def checked(*args, **kwargs):
            if not any(accepts(signature, args, kwargs) for signature in signatures):
                raise TypeError(f'{self._name}.{attribute}: {args} {kwargs} fits none of {signatures}')
            return value(*args, **kwargs)

        return checked

    def __setattr__(self, attribute, value):
        if not attribute.startswith('_') and type(self)._member(attribute) != 'property':
            raise AttributeError(f'{self._name}.{attribute} cannot be set')
        object.__setattr__(self, '_' + attribute if not attribute.startswith('_') else attribute, value)

    def __getattr__(self, attribute):
        if attribute.startswith('_'):
            raise AttributeError(attribute)
        self._member(attribute)
        return self.__dict__.get(f'_{attribute}')


class Derivable:
    """A class of which Python code makes its own: callbacks are called as the bindings call them."""

    _version = _name = ''

    def __init__(self):
        self._initialised = True

    def _call(self, name, *args):
        assert self._initialised, 'the constructor of the base class was not called'
        return getattr(self, name)(*args)


class Builder(Real):
    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags=0):
        network = self._trt.INetworkDefinition()
        network._flags = flags
        return network

    def create_builder_config(self):
        return self._trt.IBuilderConfig()

    def create_optimization_profile(self):
        return self._trt.IOptimizationProfile()

    def _say(self, severity, message):
        self._logger._call('log', getattr(self._trt.ILogger.Severity, severity), message)

    def build_serialized_network(self, network, config):
        if config._monitor:
            monitor = config._monitor
            monitor._call('phase_start', 'Building engine', None, 2)
            for step in range(2):
                assert monitor._call('step_complete', 'Building engine', step) is True
            monitor._call('phase_finish', 'Building engine')
        self._trt._seen.update(flags=network._flags, cleared=config._cleared, pools=config._pools)
        shapes = config._profiles[0]._shapes if config._profiles else {}
        for value in network._model.graph.input:
            if value.name not in shapes and any(side.dim_param for side in value.type.tensor_type.shape.dim):
                self._say('ERROR', 'Network has dynamic or shape inputs, but no optimization profile has been defined.')
                return None
        if config._pools.get('WORKSPACE') == 0:
            self._say('ERROR', 'requires workspace memory greater than 0')
            return None
        for error in self._trt._scenario.build:
            self._say('ERROR', error)
        if self._trt._scenario.build:
            return None
        self._say('WARNING', 'a warning')
        self._say('VERBOSE', 'much that nobody reads')
        plan = dict(
            version=self._trt.__version__,
            capability=self._trt._scenario.capability,
            onnx=base64.b64encode(network._model.SerializeToString()).decode(),
            shapes=shapes,
        )
        return self._trt._memory(json.dumps(plan).encode())


class IBuilderConfig(Real):
    def __init__(self):
        self._profiles, self._pools, self._cleared, self._cache, self._monitor = [], {}, [], None, None

    def clear_flag(self, flag):
        self._cleared.append(flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[pool.name] = pool_size

    def add_optimization_profile(self, profile):
        if any(low > high for shape in profile._shapes.values() for low, high in zip(shape[0], shape[2], strict=True)):
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        if self._trt._scenario.foreign_cache == 'unread':
            return None
        cache = self._trt.ITimingCache()
        cache._content = bytes(serialized_timing_cache) + b'+'
        return cache

    def set_timing_cache(self, cache, ignore_mismatch):
        assert isinstance(cache, ITimingCache) and not ignore_mismatch
        if self._trt._scenario.foreign_cache == 'unused':
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    def set_compute_capability(self, compute_capability, index):
        assert index < self.num_compute_capabilities
        self._trt._seen.setdefault('targets', []).append(compute_capability.name)

    def __setattr__(self, attribute, value):
        super().__setattr__(attribute, value)
        if attribute == 'progress_monitor':
            self._monitor = value


class ITimingCache(Real):
    def serialize(self):
        return self._trt._memory(self._content)


class IOptimizationProfile(Real):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):
        assert all(isinstance(shape, tuple) for shape in (min, opt, max))
        self._shapes[input] = [list(min), list(opt), list(max)]


class INetworkDefinition(Real):
    pass


def lacks_plugins(trt, model):
    """Places of the nodes that are plugins of TensorRT's own, while nobody has registered these."""
    return [
        index for index, node in enumerate(model.graph.node) if node.op_type == 'RoiAlign' and not trt._seen['plugins']
    ]


class OnnxParser(Real):
    def __init__(self, network, logger):
        self._network = network

    def parse_from_file(self, *args, **kwargs):
        (path,) = [*args, *kwargs.values()]
        self._network._model = onnx.load(path)
        self._errors = list(self._trt._scenario.parser)
        for index in lacks_plugins(self._trt, self._network._model):
            node = self._network._model.graph.node[index]
            reason = 'Plugin not found, are the plugin name, version, and namespace correct?'
            self._errors.append([index, node.name, node.op_type, reason])
        return not self._errors

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        error = self._trt.ParserError()
        error._said = self._errors[index]
        return error


class ParserError(Real):
    def node(self):
        return self._said[0]

    def node_name(self):
        return self._said[1]

    def node_operator(self):
        return self._said[2]

    def desc(self):
        return self._said[3]


class Runtime(Real):
    def __init__(self, logger):
        self._logger = logger
        self._trt._seen['loggers'].append(logger)

    def deserialize_cuda_engine(self, serialized_engine):
        def refuse(message):
            self._logger._call('log', self._trt.ILogger.Severity.ERROR, message)

        try:
            plan = json.loads(bytes(serialized_engine))
        except ValueError:
            refuse('IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Magic tag does not match)')
            return None
        if plan['version'] != self._trt.__version__:
            refuse('Error Code 1: Serialization (Version tag does not match. Note: Current Version: 239)')
            return None
        if plan['capability'] != self._trt._scenario.capability:
            refuse('The engine plan file is generated on an incompatible device, expecting compute 8.6 got compute 8.9')
            return None
        if lacks_plugins(self._trt, onnx.load_from_string(base64.b64decode(plan['onnx']))):
            refuse('Cannot deserialize plugin since corresponding IPluginCreator not found in Plugin Registry')
            return None
        engine = self._trt.ICudaEngine()
        engine._load(plan)
        return engine


class ICudaEngine(Real):
    def _load(self, plan):
        self._plan = plan
        content = base64.b64decode(plan['onnx'])
        self._session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
        graph = onnx.load_from_string(content).graph
        self._inputs = {value.name: value for value in graph.input}
        self._tensors = {value.name: value for value in [*graph.output, *graph.input]}  # an order of its own

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return self._trt.TensorIOMode.INPUT if name in self._inputs else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        kind = onnx.TensorProto.DataType.Name(self._tensors[name].type.tensor_type.elem_type)
        return self._trt.DataType[{'FLOAT16': 'HALF'}.get(kind, kind)]

    def get_tensor_shape(self, name):
        return [side.dim_value or -1 for side in self._tensors[name].type.tensor_type.shape.dim]

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0
        return self._plan['shapes'].get(name) or [self.get_tensor_shape(name)] * 3

    def create_execution_context(self):
        if self._trt._scenario.no_context:
            return None
        context = self._trt.IExecutionContext()
        context._open(self)
        return context

    def create_engine_inspector(self):
        inspector = self._trt.EngineInspector()
        inspector._engine = self
        inspector._nodes = [
            node.name for node in onnx.load_from_string(base64.b64decode(self._plan['onnx'])).graph.node
        ]
        return inspector

    @property
    def device_memory_size(self):
        return 4096

    device_memory_size_v2 = device_memory_size


class EngineInspector(Real):
    def get_engine_information(self, format):
        assert format == self._trt.LayerInformationFormat.JSON
        known = self.execution_context._shapes if self.execution_context else {}
        free = [name for name in self._engine._inputs if -1 in self._engine.get_tensor_shape(name)]
        read, written = 'Row major linear FP32', 'Half'
        if not set(free) <= set(known):
            read = written = 'N/A due to dynamic shapes'
        layers = [
            dict(
                Name=name,
                LayerType='Convolution',
                Inputs=[{'Name': 'a', 'Format/Datatype': read}],
                Outputs=[{'Name': 'b', 'Format/Datatype': written}],
                Weights={'Type': 'Half', 'Count': 8},
                Metadata=f'[ONNX Layer: {name}]',
            )
            for name in self._nodes
        ]
        return json.dumps(dict(Layers=layers, Bindings=[]))


class IExecutionContext(Real):
    def _open(self, engine):
        self._engine, self._shapes, self._addresses, self._allocators, self._kept = engine, {}, {}, {}, []

    def set_input_shape(self, name, shape):
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        if not all(a <= side <= b for a, side, b in zip(low, shape, high, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, memory):
        assert isinstance(memory, int) and memory, 'no null address'
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name, output_allocator):
        self._allocators[name] = output_allocator
        self._kept.append(output_allocator)  # the bindings keep each one as long as the context
        return True

    def _run(self, feeds):
        session = self._engine._session
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))

    def get_tensor_shape(self, name):
        declared = self._engine._tensors[name].type.tensor_type.shape.dim
        types = {value.name: value.type for value in self._engine._session.get_inputs()}
        zeros = {
            key: np.zeros(shape, {'tensor(float)': 'float32', 'tensor(float16)': 'float16'}.get(types[key], 'int64'))
            for key, shape in self._shapes.items()
        }
        shape = self._run(zeros)[name].shape
        return [-1 if side.dim_param.startswith('data') else known for side, known in zip(declared, shape, strict=True)]

    def execute_async_v3(self, stream_handle):
        self._trt._seen['stream'] = stream_handle
        self._trt._on_run(stream_handle)
        if self._trt._scenario.refuse_run:
            return False
        feeds = {}
        for name, value in self._engine._inputs.items():
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            size = int(np.prod(self._shapes[name])) * dtype.itemsize
            content = ctypes.string_at(self._addresses[name], size)
            feeds[name] = np.frombuffer(content, dtype).reshape(self._shapes[name])
        asynchronous = self._version in API['classes']['IOutputAllocator']['reallocate_output_async']
        for name, output in self._run(feeds).items():
            address = self._addresses.get(name)
            if name in self._allocators and not self._trt._scenario.no_memory_asked:
                allocator = self._allocators[name]
                # a version that knows the asynchronous one calls it only
                if asynchronous:
                    address = allocator._call('reallocate_output_async', name, 0, output.nbytes, 256, stream_handle)
                else:
                    address = allocator._call('reallocate_output', name, 0, output.nbytes, 256)
                allocator._call('notify_shape', name, list(output.shape))
            if output.nbytes and address:
                ctypes.memmove(address, np.ascontiguousarray(output).tobytes(), output.nbytes)
        return True


def _init_plugins(trt, logger, namespace):
    assert isinstance(logger, trt.ILogger) and namespace == ''
    assert trt.__name__ == 'tensorrt', 'TensorRT for RTX has no plugins of its own'
    trt._seen['plugins'] = True
    return True


_REAL = (
    Builder,
    IBuilderConfig,
    ITimingCache,
    IOptimizationProfile,
    INetworkDefinition,
    OnnxParser,
    ParserError,
    Runtime,
    ICudaEngine,
    EngineInspector,
    IExecutionContext,
)
_DERIVABLE = ('ILogger', 'IOutputAllocator', 'IProgressMonitor')


def load(version: str, **scenario) -> types.ModuleType:
    """The module ``tensorrt`` (or ``tensorrt_rtx``) of a version.

    Args:
        version: One of :data:`VERSIONS`.
        **scenario: See :class:`Scenario`.
    """
    trt = types.ModuleType('tensorrt_rtx' if version.startswith('rtx') else 'tensorrt')
    trt.__version__ = version.removeprefix('rtx-')
    trt._scenario, trt._seen, trt._memory = Scenario(**scenario), {'plugins': False, 'loggers': []}, bytes
    trt._on_run = lambda stream: None
    if version in API['names']['init_libnvinfer_plugins']:
        trt.init_libnvinfer_plugins = functools.partial(_init_plugins, trt)
    made = {cls.__name__: cls for cls in _REAL}
    for name, members in API['classes'].items():
        if not any(version in what for what in members.values()):
            continue
        values = {key: what[version] for key, what in members.items() if isinstance(what.get(version), int)}
        if values:
            setattr(trt, name, enum.IntEnum(name, values))
        elif name in _DERIVABLE:
            setattr(trt, name, type(name, (Derivable,), dict(_version=version, _name=name)))
        elif name in made:
            setattr(trt, name, type(name, (made[name],), dict(_version=version, _name=name, _trt=trt)))
    trt.ILogger.Severity = trt.Severity
    del trt.Severity
    return trt
