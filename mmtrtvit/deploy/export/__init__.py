"""From a network of mmdet or mmseg to an ONNX file, through mmdeploy."""
