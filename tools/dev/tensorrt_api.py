"""Write tests/data/tensorrt_api.json: the names and signatures of TensorRT's Python API, version by version.

The bindings of TensorRT are on PyPI, its libraries are not. Python can still look into the bindings: their extension
module needs a dozen C functions only, and nothing calls them while it is imported. This tool downloads the bindings,
compiles libraries that have those functions and do nothing (a C compiler is needed), imports the extension module of
each version in a process of its own, and writes down what it finds.

    python tools/dev/tensorrt_api.py
"""

import argparse
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / 'tests' / 'data' / 'tensorrt_api.json'

DISTRIBUTIONS = {
    '10.0.1': 'tensorrt-cu12-bindings==10.0.1',
    '10.16.1': 'tensorrt-cu12-bindings==10.16.1.11',
    '11.4.0': 'tensorrt-cu12-bindings==11.4.0.106',
    'rtx-1.7.1': 'tensorrt-rtx-cu12-bindings==1.7.1.116',
}

CLASSES = (
    'Builder',
    'BuilderFlag',
    'ComputeCapability',
    'DataType',
    'EngineInspector',
    'IBuilderConfig',
    'ICudaEngine',
    'IExecutionContext',
    'IHostMemory',
    'ILogger',
    'INetworkDefinition',
    'IOptimizationProfile',
    'IOutputAllocator',
    'IProgressMonitor',
    'ITimingCache',
    'LayerInformationFormat',
    'MemoryPoolType',
    'NetworkDefinitionCreationFlag',
    'OnnxParser',
    'ParserError',
    'ProfilingVerbosity',
    'Runtime',
    'Severity',
    'TensorIOMode',
)
"""Names that mmtrtvit/runtime/backends uses."""

CALLBACKS = {
    'ILogger': ('log',),
    'IOutputAllocator': ('notify_shape', 'reallocate_output', 'reallocate_output_async'),
    'IProgressMonitor': ('phase_finish', 'phase_start', 'step_complete'),
}
"""Methods that Python overrides. The bindings look them up by name, so the name is a string in the extension module."""

SIGNATURE = re.compile(r'^(?:\d+\. )?\w+\((?P<parameters>.*)\) -> (?P<returns>.*)$')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=OUT, help='the file to write')
    parser.add_argument('--reflect', type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def split_parameters(text: str) -> list[str]:
    """Split at the commas that are not inside brackets."""
    parts, depth = [''], 0
    for letter in text:
        depth += (letter in '([{<') - (letter in ')]}>')
        if letter == ',' and not depth:
            parts.append('')
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def signatures(doc: str | None) -> list[str]:
    """Each overload as ``name, name=, ... -> type``, from what pybind11 writes into a docstring."""
    found = []
    for line in (doc or '').splitlines():
        if match := SIGNATURE.match(line.strip()):
            parameters = [part for part in split_parameters(match['parameters']) if not part.startswith('self')]
            names = [part.split(':')[0].split('=')[0].strip() + ('=' if '=' in part else '') for part in parameters]
            if '*args' not in names:
                returns = re.sub(r'\b(?:tensorrt\w*|nvinfer1|nvonnxparser)(?:\.|::)', '', match['returns'])
                # the C++ name shows where the bindings register the class later
                returns = re.sub(r'\bIParserError\b', 'ParserError', returns.replace('tensorrt_rtx.', ''))
                found.append(f'{", ".join(names)} -> {returns}')
    return list(dict.fromkeys(found))  # overloads may differ in types only


def reflect(library: Path) -> dict:
    """Names of the module, and class to attribute to what it is."""
    name = library.name.split('.')[0]
    loader = importlib.machinery.ExtensionFileLoader(name, str(library))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    classes = {}
    for label in CLASSES:
        cls = getattr(module.ILogger if label == 'Severity' else module, label, None)
        if cls is None:
            continue
        members = getattr(cls, '__members__', {})
        attributes = {'__init__': signatures(cls.__init__.__doc__)} if not members else {}
        for attribute in dir(cls):
            if attribute.startswith('_'):
                continue
            value = getattr(cls, attribute)
            if attribute in members:
                attributes[attribute] = int(members[attribute])
            elif isinstance(value, property):
                attributes[attribute] = 'property'
            elif isinstance(value, type):
                attributes[attribute] = 'class'
            else:
                attributes[attribute] = signatures(value.__doc__)
        classes[label] = attributes
    content = library.read_bytes()
    for label, names in CALLBACKS.items():
        if label in classes:
            classes[label].update({name: 'callback' for name in names if b'\0' + name.encode() + b'\0' in content})
    return dict(names=sorted(label for label in dir(module) if not label.startswith('_')), classes=classes)


def missing_symbols(library: Path) -> list[str]:
    """Functions that a library expects of TensorRT's libraries. Those of the C and C++ runtimes are versioned."""
    listing = subprocess.run(
        ['nm', '-D', '--undefined-only', str(library)], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split()[1] for line in listing.splitlines() if line.split()[0] == 'U' and '@' not in line]
    return [symbol for symbol in symbols if not re.match(r'_?Py|dl', symbol)]


def stand_ins(library: Path, folder: Path) -> None:
    """Compile a library of functions that do nothing under each name that ``library`` asks for."""
    source = folder / 'stand_in.c'
    source.write_text(
        ''.join(
            f'void *s{number}(void) __asm__("{symbol}");\nvoid *s{number}(void) {{ return 0; }}\n'
            for number, symbol in enumerate(missing_symbols(library))
        )
    )
    header = subprocess.run(['readelf', '-d', str(library)], capture_output=True, text=True, check=True).stdout
    for name in re.findall(r'NEEDED.*\[(lib(?:nv|tensorrt)[^\]]*)\]', header):
        subprocess.run(['gcc', '-shared', '-fPIC', f'-Wl,-soname,{name}', '-o', folder / name, source], check=True)


def look_into(distribution: str, folder: Path) -> dict:
    """Download one version of the bindings and reflect on it."""
    subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps']
        + ['--only-binary', ':all:', '--dest', str(folder), distribution],
        check=True,
    )
    (wheel,) = folder.glob('*.whl')
    zipfile.ZipFile(wheel).extractall(folder)
    (library,) = folder.glob('tensorrt*_bindings/tensorrt*.so')
    stand_ins(library, folder)
    done = subprocess.run(
        [sys.executable, __file__, '--reflect', str(library)],
        env={**os.environ, 'LD_LIBRARY_PATH': str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main() -> int:
    args = parse_args()
    if args.reflect:
        print(json.dumps(reflect(args.reflect)))
        return 0
    table: dict = {'distributions': DISTRIBUTIONS, 'names': {}, 'classes': {}}
    for version, distribution in DISTRIBUTIONS.items():
        print(f'{distribution} ...', flush=True)
        with tempfile.TemporaryDirectory() as folder:
            found = look_into(distribution, Path(folder))
        for name in found['names']:
            table['names'].setdefault(name, []).append(version)
        for label, attributes in found['classes'].items():
            for attribute, what in attributes.items():
                known = table['classes'].setdefault(label, {}).setdefault(attribute, {})
                known[version] = what
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = ['{', f'"distributions": {json.dumps(DISTRIBUTIONS)},']
    lines.append(f'"names": {json.dumps(table["names"], sort_keys=True)},')
    lines.append('"classes": {')
    # one line a member, so that a new version is a readable difference
    classes = []
    for label, attributes in sorted(table['classes'].items()):
        members = ',\n'.join(f'  {json.dumps(name)}: {json.dumps(what)}' for name, what in sorted(attributes.items()))
        classes.append(f' {json.dumps(label)}: {{\n{members}\n }}')
    lines += [',\n'.join(classes), '}', '}', '']
    args.out.write_text('\n'.join(lines))
    print(f'wrote {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
