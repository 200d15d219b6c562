# TensorRT: 1 to 4 images of 320x320 to 1344x1344 (height x width), tuned for one of 800x1344.
# Plain arithmetic, which a parser and a builder of NVIDIA have read; no GPU has run the native flavour yet.
_base_ = './_base_/detection.py'

onnx_config = dict(output_names=['dets', 'labels', 'exact'], dynamic_axes=dict(exact={0: 'batch'}))
backend_config = dict(
    type='tensorrt',
    common_config=dict(max_workspace_size=4 << 30),  # bytes; mmdeploy's own builder takes 0, its default, as none
    model_inputs=[
        dict(
            input_shapes=dict(
                input=dict(
                    min_shape=[1, 3, 320, 320],
                    opt_shape=[1, 3, 800, 1344],
                    max_shape=[4, 3, 1344, 1344],
                )
            )
        )
    ],
)
codebase_config = dict(flavour='portable')
