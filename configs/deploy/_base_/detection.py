# Settings of every export of a detector; complete for detectors without masks.
_base_ = './common.py'

onnx_config = dict(
    output_names=['dets', 'labels'],
    dynamic_axes=dict(
        dets={0: 'batch', 1: 'num_dets'},
        labels={0: 'batch', 1: 'num_dets'},
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
)
