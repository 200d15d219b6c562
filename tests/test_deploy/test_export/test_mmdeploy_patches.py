"""The patches of mmdeploy are in force while it exports, and refuse what cannot come out right."""

import io

import onnx
import pytest
import torch
from mmcv.ops import RoIAlign
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.core.rewriters import function_rewriter, rewriter_utils
from mmdeploy.core.rewriters.function_rewriter import FunctionRewriter

from mmtrtvit.deploy.export import mmdeploy_patches
from mmtrtvit.deploy.export.onnx_graph import require_standard_operators
from mmtrtvit.errors import DeployError


def test_the_caller_is_found_as_mmdeploy_finds_it():
    assert function_rewriter.get_frame_func is mmdeploy_patches.get_frame_func
    assert _caller_by(mmdeploy_patches.get_frame_func) is _caller_by(rewriter_utils.get_frame_func) is _caller_by


def _caller_by(find):
    return find(1)


def test_functions_are_replaced_wherever_they_are_held_and_put_back(rewriting):
    """As by mmdeploy itself, which searches the memory for one function after the other."""
    held, in_list = {'export': torch.onnx.export}, [torch.onnx.export]

    def places():
        return (*held.values(), *in_list, torch.onnx.export)  # a tuple: mmdeploy would change a list

    before, inside = places(), {}
    for rewriter in (FunctionRewriter, mmdeploy_patches.QuickFunctionRewriter):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FUNCTION_REWRITER, '__class__', rewriter)
            with rewriting():
                inside[rewriter] = tuple(function.__module__ for function in places())
            assert places() == before
    assert inside[mmdeploy_patches.QuickFunctionRewriter] == inside[FunctionRewriter]
    assert set(inside[FunctionRewriter]) == {mmdeploy_patches.__name__}


@pytest.mark.parametrize('opset', [11, 16, None])
def test_an_opset_without_layer_normalization_is_refused(rewriting, opset):
    with rewriting(), pytest.raises(DeployError, match='opset .*\n.*opset 17'):
        torch.onnx.export(torch.nn.ReLU(), (torch.zeros(1),), io.BytesIO(), opset_version=opset)


@pytest.mark.parametrize('ratio', [2, 0])
@pytest.mark.parametrize('aligned', [True, False])
def test_roi_align_is_the_standard_operator(exported, aligned, ratio):
    align = RoIAlign((3, 5), spatial_scale=0.25, sampling_ratio=ratio, aligned=aligned)
    rois = torch.tensor([[0, 1.0, 2, 30, 40], [1, 10, 5, 47, 60], [1, -8, -8, 5, 5], [0, 40, 50, 90, 90]])
    inputs = (torch.randn(2, 4, 16, 12), rois), (torch.randn(2, 4, 9, 21), rois[:3])
    graph = exported(align, *inputs[0], dynamic_axes={'input': {2: 'h', 3: 'w'}, 'input1': {0: 'n'}})
    assert graph.operators['RoiAlign'] == 1 and not any('::' in name for name in graph.operators)
    for given in inputs:
        torch.testing.assert_close(torch.from_numpy(graph(*given)[0]), align(*given), rtol=0, atol=1e-5)


def test_boxes_without_area_take_no_sample(exported):
    """mmcv gives 0; OpenVINO's operator alone gives NaN, which would spread to every score."""
    openvino = pytest.importorskip('openvino')
    align = RoIAlign((7, 7), spatial_scale=0.25, sampling_ratio=0)
    edges = torch.tensor([[0, 0, 0, 0], [5, 5, 5, 9], [5, 5, 9, 5], [9, 9, 9, 9], [1e5, 2, 1e5, 30]])
    around = torch.rand(200, 2) * 60
    boxes = torch.cat([edges, torch.cat([around, around + 80 * torch.rand(200, 2) ** 2], dim=1)])
    features, rois = torch.randn(1, 4, 20, 18), torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
    wanted = align(features, rois)
    assert not wanted[: len(edges)].any() and wanted[len(edges) :].any()

    graph = exported(align, features, rois, dynamic_axes={'input1': {0: 'n'}})
    torch.testing.assert_close(torch.from_numpy(graph(features, rois)[0]), wanted, rtol=0, atol=1e-5)
    core = openvino.Core()
    model = core.read_model(graph.graph.SerializeToString())
    compiled = core.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    found = compiled([features.numpy(), rois.numpy()])[0]
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-4)


class Exotic(torch.nn.Module):
    def forward(self, x):
        return torch.special.i0(x.relu()) + torch.linalg.inv(x @ x)


def test_operators_that_onnx_lacks_stay_to_be_named(rewriting, tmp_path):
    path = tmp_path / 'end2end.onnx'
    with rewriting():
        torch.onnx.export(Exotic(), (torch.eye(3),), path, opset_version=17)
    with pytest.raises(DeployError) as error:
        require_standard_operators(onnx.load(path))
    assert 'i0: /i0' in str(error.value) and 'linalg_inv' in str(error.value) and 'Relu' not in str(error.value)
