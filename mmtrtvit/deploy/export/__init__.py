"""Export of mmdet and mmseg networks to ONNX files through mmdeploy."""
