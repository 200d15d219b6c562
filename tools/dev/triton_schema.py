"""Write the schema of Triton's model configuration for the tests: python tools/dev/triton_schema.py FILE.

FILE is ``tritonclient/grpc/model_config_pb2.py`` of an unpacked wheel of tritonclient. The result is the descriptor of
protocol buffers as JSON: names, numbers and types of all fields.
"""

import importlib.util
import json
import sys
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto

TARGET = Path(__file__).resolve().parents[2] / 'tests' / 'data' / 'triton_model_config.json'


def read_schema(path: str) -> dict:
    """The descriptor of a generated module."""
    spec = importlib.util.spec_from_file_location('model_config_pb2', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(described)
    return json_format.MessageToDict(described)


if __name__ == '__main__':
    TARGET.write_text(json.dumps(read_schema(sys.argv[1]), indent=None, separators=(',', ':')) + '\n')
