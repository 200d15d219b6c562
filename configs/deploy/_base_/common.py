# Settings of every export: `module` registers this package's rewriters, so mmdeploy's own tools convert these
# models as well.
onnx_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=17,  # the first with LayerNormalization as one node
    save_file='end2end.onnx',
    input_names=['input'],
    input_shape=None,
    optimize=False,  # mmdeploy's passes need its C++ extension; tools/deploy.py runs onnxslim instead
    dynamic_axes=dict(input={0: 'batch', 2: 'height', 3: 'width'}),
)
codebase_config = dict(module=['mmtrtvit.deploy'], flavour='native')
