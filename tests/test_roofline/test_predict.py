"""Predicted times by hand, and calibration that finds the efficiencies of a device that was made up."""

import dataclasses

import pytest

from mmtrtvit.errors import ConfigError
from mmtrtvit.roofline.calibrate import Observation, calibrate
from mmtrtvit.roofline.devices import DEVICES, Device
from mmtrtvit.roofline.efficiencies import CALIBRATED, compilers_of, device, efficiency_of
from mmtrtvit.roofline.fusion import COMPILERS
from mmtrtvit.roofline.layers import read_graph
from mmtrtvit.roofline.predict import Efficiency, Roofline

from .conftest import make_model

ROUND = Device(
    title='made up',
    matrix=dict(fp32=1.0, fp16=2.0),
    vector=dict(fp32=0.5, fp16=0.5),
    bandwidth=100,
    cache=1,
    cache_bandwidth=1000,
    processors=4,
    source='made up',
    tiles=((16, 16, 1.0),),
)
PERFECT = Efficiency(conv=1, linear=1, attention=1, depthwise=1, stream=1, irregular=1, overhead=0)


def roofline(precision='fp32', compiler='tensorrt', **changes):
    return Roofline(ROUND, COMPILERS[compiler], precision, dataclasses.replace(PERFECT, **changes))


def linear(rows, width):
    return read_graph(make_model([('MatMul', ['image', 'w'], 'out', {})], image=(1, rows, width), w=(width, width)))


def test_a_product_by_hand():
    """1024 x 64 blocks fill 4 processors: 2 operations a multiply-accumulate at 1 T a second."""
    (row,) = roofline().predict(linear(1024, 1024)).rows
    assert row.macs == 1024**3 and row.compute == pytest.approx(2 * 1024**3 / 1e12 * 1e3)
    # three matrices of 4 MiB, too large for the cache, at 100 GB a second
    assert row.bytes == 3 * 4 << 20 and row.memory == pytest.approx((3 * 4 << 20) / 100e9 * 1e3)
    assert row.bound == 'compute' and row.total == row.compute


def test_precision_batch_and_overhead():
    one = roofline().predict(linear(1024, 1024))
    half = roofline('fp16', overhead=7).predict(linear(1024, 1024)).rows[0]
    assert half.compute == one.rows[0].compute / 2 and half.memory == one.rows[0].memory / 2
    assert half.total == pytest.approx(half.compute + 0.007)
    three = roofline().predict(linear(1024, 1024), batch=3)
    assert three.rows[0].compute == pytest.approx(3 * one.rows[0].compute)
    assert three.rows[0].bytes == (2 * 3 + 1) * 4 << 20  # weights are read once


def test_what_depends_on_weights_alone_is_computed_once_a_batch():
    model = make_model([('MatMul', ['w', 'w'], 'v', {}), ('Add', ['image', 'v'], 'out', {})], image=(1, 8, 8), w=(8, 8))
    one, eight = (roofline(compiler='eager').predict(read_graph(model), batch) for batch in (1, 8))
    assert one.rows[0].compute == eight.rows[0].compute and one.macs == eight.macs == 8**3
    assert roofline(compiler='tensorrt').predict(read_graph(model)).macs == 0


def test_small_products_leave_processors_idle():
    """17 x 17 outputs are 4 blocks of 16 x 16, and 17 deep ones count as 32."""
    (row,) = roofline().predict(linear(17, 17)).rows
    assert row.compute == pytest.approx(4 * 16 * 16 * 32 * 2 / 1e12 * 1e3)
    (row,) = roofline().predict(linear(65, 16)).rows  # 5 blocks on 4 processors are two rounds
    assert row.compute == pytest.approx(8 * 16 * 16 * 16 * 2 / 1e12 * 1e3)


def test_tensors_that_fit_stay_in_the_cache():
    (row,) = roofline().predict(linear(64, 64)).rows
    assert row.memory == pytest.approx(3 * 64 * 64 * 4 / 1000e9 * 1e3)


def test_depthwise_convolutions_run_on_vector_units(conv_model):
    row = roofline().predict(read_graph(conv_model)).rows[1]
    assert row.compute == pytest.approx(2 * 576 / 0.5e12 * 1e3)


def test_norms_of_tensorrt_8_0_take_several_kernels():
    norm = make_model(
        [('LayerNormalization', ['image', 'one', 'one'], 'out', dict(axis=-1))], image=(1, 4, 8), one=(8,)
    )
    new, old = (roofline(compiler=name, overhead=1).predict(read_graph(norm)) for name in ('tensorrt', 'tensorrt-8.0'))
    assert old.rows[0].overhead == 4 * new.rows[0].overhead
    assert old.rows[0].memory == pytest.approx(3.5 * new.rows[0].memory)


def test_shares_are_of_the_whole_time(attention_model):
    prediction = roofline(overhead=0.001).predict(read_graph(attention_model))
    assert sum(prediction.shares.values()) == pytest.approx(1)
    assert prediction.total == pytest.approx(sum(row.total for row in prediction.rows))


HIDDEN = Efficiency(conv=0.45, linear=0.8, attention=0.15, depthwise=0.1, stream=0.6, irregular=0.3, overhead=9)


def dense(width, size, groups=1):
    weight = (width, width // groups, 3, 3)
    nodes = [('Conv', ['image', 'w'], 'out', dict(group=groups, pads=[1, 1, 1, 1]))]
    return read_graph(make_model(nodes, image=(1, width, size, size), w=weight))


def chain(operator, shape, times, **attributes):
    names = ['image', *(f'x{number}' for number in range(times - 1)), 'out']
    nodes = [(operator, [one], two, attributes) for one, two in zip(names, names[1:], strict=False)]
    return read_graph(make_model(nodes, image=shape))


def test_calibration_finds_the_efficiencies_of_a_made_up_device():
    """Each of five networks is bound by one thing; attention is in none of them, and stays at its usual value."""
    networks = [
        dense(512, 32),
        linear(2048, 2048),
        dense(64, 256, groups=64),
        chain('Softmax', (8, 64, 128, 128), 3),
        chain('Relu', (1, 3, 8, 8), 50),
    ]
    known = Roofline(ROUND, COMPILERS['eager'], 'fp32', HIDDEN)
    seen = [Observation(graph, 2, known.predict(graph, 2).total) for graph in networks]
    found = calibrate(ROUND, COMPILERS['eager'], 'fp32', seen)
    for name in ('conv', 'linear', 'depthwise', 'irregular', 'overhead'):
        assert getattr(found, name) == pytest.approx(getattr(HIDDEN, name), rel=0.05), name
    assert found.attention == pytest.approx(Efficiency().attention, rel=0.01)
    again = Roofline(ROUND, COMPILERS['eager'], 'fp32', found)
    for one in seen:
        assert again.predict(one.graph, 2).total == pytest.approx(one.milliseconds, rel=0.05)


@pytest.mark.parametrize(
    ('number', 'milliseconds', 'message'),
    [(0, 1.0, '0 networks'), (6, 1.0, '6 networks'), (1, 0.0, 'is 0.0 ms'), (1, float('nan'), 'is nan ms')],
)
def test_calibration_refuses(number, milliseconds, message):
    with pytest.raises(ConfigError, match=message) as told:
        calibrate(ROUND, COMPILERS['eager'], 'fp32', [Observation(linear(8, 8), 1, milliseconds)] * number)
    assert 'Fix: ' in str(told.value)


def test_every_device_has_what_predictions_need():
    for name, one in DEVICES.items():
        assert one.source and set(one.matrix) == set(one.precisions) - {'amp'}, name
        assert all(one.peak(precision) >= one.peak(precision, matrix=False) * 0.99 for precision in one.precisions)
        assert one.cache_bandwidth > one.bandwidth
        for compiler in compilers_of(name):
            assert efficiency_of(name, compiler)[1]


def test_what_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match='--device k80 is unknown.*\nExpected: t4.*\nFix: '):
        device('k80')
    with pytest.raises(ConfigError, match='No peak of T4 in bf16.*\nExpected: fp32, fp16, amp, int8'):
        Roofline(DEVICES['t4'], COMPILERS['tensorrt'], 'bf16', PERFECT)
    with pytest.raises(ConfigError, match='openvino cannot be predicted on t4'):
        efficiency_of('t4', 'openvino')


def test_a_device_without_calibration_says_whose_efficiencies_it_has():
    assert 'calibrated on this device' in efficiency_of('t4', 'tensorrt-8.0')[1]
    efficiency, origin = efficiency_of('l4', 'tensorrt')
    shares = dataclasses.replace(CALIBRATED['t4', 'tensorrt-8.0'], overhead=Efficiency().overhead)
    assert efficiency == shares and origin.startswith('not calibrated on this device')
    assert '4 us to start a group of layers are an assumption' in origin
    efficiency, origin = efficiency_of('t4', 'tensorrt')
    assert efficiency == CALIBRATED['t4', 'tensorrt-8.0'] and origin.startswith('not calibrated for TensorRT: those of')
