# What every export of Mask R-CNN has in common. A valid mmdeploy deploy config; `module` registers this package's
# rewriters, so mmdeploy's own tools convert these models as well.
onnx_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=17,  # the first with LayerNormalization as one node
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['dets', 'labels', 'masks'],
    input_shape=None,
    optimize=False,  # mmdeploy's passes need its C++ extension; tools/deploy.py runs onnxslim instead
    dynamic_axes=dict(
        input={0: 'batch', 2: 'height', 3: 'width'},
        dets={0: 'batch', 1: 'num_dets'},
        labels={0: 'batch', 1: 'num_dets'},
        masks={0: 'batch', 1: 'num_dets', 2: 'mask_height', 3: 'mask_width'},
    ),
)
codebase_config = dict(
    type='mmdet',
    task='ObjectDetection',
    model_type='end2end',
    # Thresholds come from the model's own test_cfg; mmdeploy asks for these keys and uses some on other backends.
    post_processing=dict(
        score_threshold=0.05,
        confidence_threshold=0.005,
        iou_threshold=0.5,
        max_output_boxes_per_class=200,
        pre_top_k=5000,
        keep_top_k=100,
        background_label_id=-1,
        export_postprocess_mask=False,
    ),
    module=['mmtrtvit.deploy'],
    flavour='native',
)
