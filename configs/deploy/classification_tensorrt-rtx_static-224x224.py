# TensorRT for RTX: one image of 224x224.
_base_ = './_base_/classification.py'

onnx_config = dict(
    input_shape=[224, 224],
    dynamic_axes=dict(_delete_=True),
)
backend_config = dict(
    type='tensorrt-rtx',
    model_inputs=[
        dict(
            input_shapes=dict(
                input=dict(
                    min_shape=[1, 3, 224, 224],
                    opt_shape=[1, 3, 224, 224],
                    max_shape=[1, 3, 224, 224],
                )
            )
        )
    ],
)
