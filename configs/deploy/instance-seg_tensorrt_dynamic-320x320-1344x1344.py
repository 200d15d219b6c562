# TensorRT: 1 to 4 images of 320x320 to 1344x1344 (height x width), tuned for one of 800x1344.
_base_ = './_base_/instance-seg.py'

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
