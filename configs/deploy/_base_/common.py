# Settings of every export.

# Rewriters and backends of this package, for mmdeploy's own tools. They read the config before they use a backend.
custom_imports = dict(imports=['mmtrtvit.deploy'], allow_failed_imports=False)

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
codebase_config = dict(flavour='native')
