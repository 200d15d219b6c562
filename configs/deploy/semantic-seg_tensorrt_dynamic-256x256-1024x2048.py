# TensorRT: 1 to 4 images of 256x256 to 1024x2048 (height x width), tuned for one of 512x512.
_base_ = './_base_/semantic-seg.py'

backend_config = dict(
    type='tensorrt',
    common_config=dict(max_workspace_size=4 << 30),  # bytes; mmdeploy's own builder takes 0, its default, as none
    model_inputs=[
        dict(
            input_shapes=dict(
                input=dict(
                    min_shape=[1, 3, 256, 256],
                    opt_shape=[1, 3, 512, 512],
                    max_shape=[4, 3, 1024, 2048],
                )
            )
        )
    ],
)
