# Batch, height and width are free; the runtime gives the size that the classifier is tested with.
_base_ = './_base_/classification.py'

backend_config = dict(type='openvino')
