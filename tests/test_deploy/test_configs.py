"""A deploy config that cannot be used is told from one that can before anything is exported."""

import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.configs import backend_name, follow_input_shape, load_deploy_config
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


def test_every_shipped_one_can_be_used(deploy_configs):
    paths = sorted(deploy_configs.glob('*.py'))
    assert paths
    for path in paths:
        config = load_deploy_config(path)
        assert backend_name(config) == path.stem.split('_')[1]
        assert config.codebase_config.module == ['mmtrtvit.deploy'] and config.onnx_config.opset_version == 17
        assert ('dynamic_axes' in config.onnx_config) == path.stem.endswith('dynamic')


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


@pytest.mark.parametrize(
    'name, said', [('onnxruntim', 'unknown'), ('tensorrt', 'not convert to it yet'), ('openvino', 'yet')]
)
def test_other_backends_are_named(changed, name, said):
    with pytest.raises(DeployError, match=f"'{name}'.*{said}.*\n.*onnxruntime"):
        load_deploy_config(changed(f"backend_config = dict(type='{name}')"))


def test_a_fixed_shape_changes_the_test_pipeline_of_a_copy(root, deploy_configs):
    model = load_config(root / 'configs' / 'maskrcnn_trtvit_a_coco.py')
    config = follow_input_shape(
        model, load_deploy_config(deploy_configs / 'instance-seg_onnxruntime_static-800x1344.py')
    )
    for pipeline in (config.test_pipeline, config.test_dataloader.dataset.pipeline):
        (resize,) = (step for step in pipeline if step.type == 'Resize')
        assert tuple(resize.scale) == (1344, 800) and resize.keep_ratio is False
    assert model.test_pipeline[1].keep_ratio is True and tuple(model.test_pipeline[1].scale) == (1333, 800)


def test_free_shapes_leave_the_pipeline_alone(root, dynamic_config):
    model = load_config(root / 'configs' / 'maskrcnn_trtvit_a_coco.py', {'test_dataloader.batch_size': 4})
    config = follow_input_shape(model, load_deploy_config(dynamic_config))
    assert config.test_pipeline == model.test_pipeline
    assert (config.test_dataloader.batch_size, model.test_dataloader.batch_size) == (1, 4)
