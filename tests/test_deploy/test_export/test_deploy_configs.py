"""A deploy config that cannot be used is told from one that can before anything is exported."""

import copy

import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.export.deploy_configs import (
    flavour_name,
    for_export,
    load_deploy_config,
    make_deploy_config,
    read_deploy_config,
    shapes_of,
)
from mmtrtvit.deploy.export.fixed_size import follow_input_shape, is_resize, pad_to_input_shape
from mmtrtvit.deploy.export.input_shapes import input_shapes
from mmtrtvit.errors import ConfigError, DeployError


@pytest.fixture
def deploy_configs(root):
    return root / 'configs' / 'deploy'


@pytest.fixture
def changed(dynamic_config, tmp_path):
    def write(text):
        path = tmp_path / 'changed.py'
        path.write_text(f'_base_ = {str(dynamic_config)!r}\n{text}\n')
        return path

    return write


TASKS = {
    'detection': 'detection',
    'instance-seg': 'instance',
    'semantic-seg': 'segmentation',
    'classification': 'classification',
}


def test_every_shipped_one_is_what_the_options_make(deploy_configs):
    """The files say in full what `--backend`, `--flavour`, `--shape`, `--dynamic` and `--batch` stand for."""
    paths = sorted(deploy_configs.glob('*.py'))
    assert len(paths) == 19
    for path in paths:
        config = load_deploy_config(path)
        task, backend, *rest = path.stem.split('_')
        assert config.backend_config.type == backend
        assert flavour_name(config) == (
            'portable' if 'portable' in rest or config.onnx_config.output_names[-1] == 'exact' else 'native'
        )
        *_, form = rest
        kind, *sizes = form.split('-')
        if kind == 'static':
            shapes = input_shapes(shape=sizes[0])
        elif sizes:
            usual = '512x512' if task == 'semantic-seg' else '800x1344'
            shapes = input_shapes(dynamic=[sizes[0], usual, sizes[1]], batch=[1, 1, 4])
        else:
            shapes = None
        assert shapes_of(config) == shapes
        made = make_deploy_config(TASKS[task], backend, flavour_name(config), shapes)
        config.onnx_config.setdefault('dynamic_axes', {})
        made.onnx_config.setdefault('dynamic_axes', {})
        # a limit beside those of the options, as mmdeploy's own builder needs one
        limit = config.backend_config.pop('common_config', {})
        assert limit == (dict(max_workspace_size=4 << 30) if backend == 'tensorrt' else {})
        assert config.to_dict() == made.to_dict(), path.name


def test_export_leaves_every_side_free_and_needs_no_plugin(deploy_configs):
    for path in sorted(deploy_configs.glob('*.py')):
        config = load_deploy_config(path)
        exported = for_export(config)
        assert exported.backend_config == dict(type='onnxruntime')
        assert exported.onnx_config.input_shape is None
        assert exported.onnx_config.dynamic_axes.input == {0: 'batch', 2: 'height', 3: 'width'}
        assert set(exported.onnx_config.dynamic_axes) == {'input', *config.onnx_config.output_names}
        assert flavour_name(exported) == flavour_name(config)


def test_near_names_are_offered(deploy_configs):
    with pytest.raises(ConfigError, match='instance-seg_onnxruntime_dynamic.py') as error:
        load_deploy_config(deploy_configs / 'instance-seg_onnxruntime_dynamik.py')
    assert 'There is no deploy config' in str(error.value) and '--deploy-cfg' in str(error.value)


def test_a_folder_without_any(tmp_path):
    with pytest.raises(ConfigError, match='a file such as configs/deploy/instance-seg_onnxruntime_dynamic.py'):
        load_deploy_config(tmp_path / 'none.py')


def test_a_model_config_is_none(root):
    with pytest.raises(ConfigError, match='lacks onnx_config, codebase_config, backend_config') as error:
        load_deploy_config(root / 'configs' / 'maskrcnn_trtvit_a_toy.py')
    assert 'give the model config first' in str(error.value)


@pytest.mark.parametrize('text', ['this is no Python', 'import no_such_module_at_all', '1 / 0'])
def test_one_that_cannot_be_read(changed, text):
    with pytest.raises(ConfigError, match=r'changed\.py cannot be read'):
        load_deploy_config(changed(text))


@pytest.mark.parametrize('name, said', [('onnxruntim', 'unknown'), ('ncnn', 'not convert to it')])
def test_other_backends_are_named(changed, name, said):
    text = f"backend_config = dict(type='{name}')"
    with pytest.raises(DeployError, match=f"'{name}'.*{said}.*\n.*onnxruntime"):
        load_deploy_config(changed(text))


def test_fixed_shape_and_free_sides_contradict_each_other(changed):
    with pytest.raises(ConfigError, match='free sides'):
        shapes_of(load_deploy_config(changed('onnx_config = dict(input_shape=[96, 64])')))


@pytest.mark.parametrize('name', ['maskrcnn_trtvit_a_coco.py', 'semfpn_trtvit_a_ade20k.py'])
def test_a_fixed_shape_changes_the_test_pipeline_of_a_copy(root, name):
    model = load_config(root / 'configs' / name)
    before = [tuple(step.scale) for step in model.test_pipeline if step.type == 'Resize']
    config = follow_input_shape(model, input_shapes('800x1344'))
    for pipeline in (config.test_pipeline, config.test_dataloader.dataset.pipeline):
        (resize,) = (step for step in pipeline if 'Resize' in step.type)
        assert resize.type == 'FitResize' and tuple(resize.scale) == (1344, 800)
    assert [tuple(step.scale) for step in model.test_pipeline if step.type == 'Resize'] == before


def test_every_joined_data_set_gets_the_pipeline(root):
    model = load_config(root / 'configs' / 'maskrcnn_trtvit_a_coco.py')
    single = model.test_dataloader.dataset
    nested = dict(type='RepeatDataset', times=2, dataset=copy.deepcopy(single))
    model.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[single, nested])
    model.test_pipeline = [dict(type='Other')]
    config = follow_input_shape(model, input_shapes('800x1344'))
    first, second = config.test_dataloader.dataset.datasets
    for pipeline in (config.test_pipeline, first.pipeline, second.dataset.pipeline):
        assert [step['type'] for step in pipeline if 'Resize' in step['type']] == ['FitResize']
    assert 'pipeline' not in config.test_dataloader.dataset
    nested['dataset'].pipeline[1].scale = (64, 64)
    model.test_dataloader.dataset.datasets[1] = nested
    with pytest.raises(ConfigError, match='2 test data sets of the config have different pipelines'):
        follow_input_shape(model, None)
    del nested['dataset']['pipeline']
    model.test_dataloader.dataset.datasets[1] = nested
    with pytest.raises(ConfigError, match='has no pipeline'):
        follow_input_shape(model, None)


@pytest.mark.parametrize('shapes', [None, input_shapes(dynamic=['64x64', '96x96', '128x96'])])
def test_free_shapes_leave_the_pipeline_alone(root, shapes):
    model = load_config(root / 'configs' / 'maskrcnn_trtvit_a_coco.py', {'test_dataloader.batch_size': 4})
    config = follow_input_shape(model, shapes)
    assert config.test_pipeline == model.test_pipeline
    assert (config.test_dataloader.batch_size, model.test_dataloader.batch_size) == (1, 4)
    assert pad_to_input_shape(config, shapes) is config


@pytest.mark.parametrize('name', ['retinanet_trtvit_a_toy.py', 'semfpn_trtvit_a_toy.py'])
def test_pytorch_pads_its_input_to_a_fixed_shape(root, name):
    """The reference sees what the engine sees: the image in the corner, exactly 0 in all the rest."""
    import numpy as np
    from mmengine.registry import MODELS as REGISTRY
    from mmengine.registry import init_default_scope

    from mmtrtvit.deploy.proof.reference import Reference

    shapes = input_shapes('96x160')
    config = pad_to_input_shape(follow_input_shape(load_config(root / 'configs' / name), shapes), shapes)
    init_default_scope(config.default_scope)

    class Network:
        data_preprocessor = REGISTRY.build(config.model.data_preprocessor)

    image = np.full((50, 60, 3), 200, np.uint8)
    given = Reference(Network, config).input(image)
    assert given.shape == (1, 3, 96, 160) and given.dtype == np.float32
    assert (given[..., :115] != 0).all() and (given[..., 116:] == 0).all()


@pytest.mark.parametrize('backend', ['tensorrt', 'tensorrt-rtx'])
@pytest.mark.parametrize(
    'inputs', ['', 'model_inputs=[]', 'model_inputs=[dict(input_shapes=dict(image=dict(min_shape=[1, 3, 8, 8])))]']
)
def test_a_deploy_config_for_tensorrt_needs_sizes_too(changed, backend, inputs):
    text = f"backend_config = dict(type='{backend}', {inputs})"
    with pytest.raises(ConfigError, match=f'changed.py: the backend {backend} without an input size'):
        load_deploy_config(changed(text))
    fixed = changed(f'{text}\nonnx_config = dict(input_shape=[96, 64], dynamic_axes=None)')
    fixed.write_text(fixed.read_text().replace('dynamic_axes=None', 'dynamic_axes=dict(_delete_=True)'))
    assert shapes_of(load_deploy_config(fixed)) == input_shapes('64x96')


@pytest.mark.parametrize(
    'profile',
    [
        {'min_shape': [1, 3, 64, 64], 'max_shape': [1, 3, 64, 64]},
        {'min_shape': [0, 3, 64, 64], 'opt_shape': [1, 3, 64, 64], 'max_shape': [1, 3, 64, 64]},
        {'min_shape': [1, 3, 64], 'opt_shape': [1, 3, 64], 'max_shape': [1, 3, 64]},
        {'min_shape': [1, 3, 64, 64], 'opt_shape': [1, 3, 64, 32], 'max_shape': [1, 3, 64, 64]},
    ],
)
def test_profiles_without_a_meaning_are_refused(changed, profile):
    text = f"backend_config = dict(type='tensorrt', model_inputs=[dict(input_shapes=dict(input={profile}))])"
    with pytest.raises(ConfigError, match='The deploy config has input_shapes=.*opt_shape|max_shape'):
        load_deploy_config(changed(text))


@pytest.mark.parametrize(
    'names',
    [
        {'output_names': ['dets', 'label']},
        {'output_names': ['dets']},
        {'output_names': []},
        {'output_names': ['labels', 'dets']},
        {'input_names': ['image']},
    ],
    ids=str,
)
def test_inputs_and_outputs_of_other_names_are_refused(changed, names):
    with pytest.raises(ConfigError, match='changed.py: onnx_config has input_names=') as error:
        load_deploy_config(changed(f'onnx_config = dict(**{names})'))
    assert all(str(value) in str(error.value) for value in names.values())


def test_a_resize_is_found_by_its_class_too():
    from mmcv.transforms import LoadImageFromFile, Resize

    types = ['Resize', 'mmdet.Resize', 'FitResize', Resize, 'LoadImageFromFile', LoadImageFromFile]
    assert [is_resize(dict(type=type_)) for type_ in types] == [True] * 4 + [False] * 2


def test_a_workspace_limit_is_read(deploy_configs, changed):
    tensorrt = deploy_configs / 'detection_tensorrt_dynamic-320x320-1344x1344.py'
    assert read_deploy_config(tensorrt)['workspace_mib'] == 4096
    assert read_deploy_config(deploy_configs / 'detection_openvino_dynamic.py')['workspace_mib'] is None
    limit = 'backend_config = dict(common_config=dict(max_workspace_size={}))'
    assert read_deploy_config(changed(limit.format(0)))['workspace_mib'] is None
    assert read_deploy_config(changed(limit.format(1000)))['workspace_mib'] == 1


@pytest.mark.parametrize('flag', ['fp16_mode', 'int8_mode'])
def test_flags_for_a_precision(changed, flag):
    """They would be ignored: the engine has the precision of the graph."""
    with pytest.raises(ConfigError, match=f'common_config has {flag}(.|\n)*--precision fp16 or int8'):
        load_deploy_config(changed(f'backend_config = dict(common_config=dict({flag}=True))'))
    load_deploy_config(changed(f'backend_config = dict(common_config=dict({flag}=False))'))
