"""Builds the wheel of this package (PEP 517, PEP 660) with Python's own library: a zip file with a list of its files."""

import base64
import hashlib
import io
import os
import re
import tarfile
import zipfile

ROOT = os.path.dirname(os.path.abspath(__file__))
SOURCES = sorted(n for n in os.listdir(os.path.join(ROOT, "moescope")) if n.endswith(".py") or n == "py.typed")


def _text(*path):
    with open(os.path.join(ROOT, *path), "rb") as file:
        return file.read()


VERSION = re.search(rb'__version__ = "(.*)"', _text("moescope", "__init__.py")).group(1).decode()
METADATA = f"""Metadata-Version: 2.1
Name: moescope
Version: {VERSION}
Summary: Reads what moescope records of the routing of Mixture-of-Experts models
License: MIT
Requires-Python: >=3.9
Requires-Dist: numpy>=1.20
Provides-Extra: verify
Requires-Dist: xxhash>=2.0; extra == "verify"
""".encode()
WHEEL = b"Wheel-Version: 1.0\nGenerator: moescope\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _write_wheel(folder, files):
    """files: path -> bytes. Returns the wheel's name."""
    info = f"moescope-{VERSION}.dist-info"
    files = {**files, f"{info}/METADATA": METADATA, f"{info}/WHEEL": WHEEL}
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    name = f"moescope-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))  # the same sources always give the same wheel
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {f"moescope/{name}": _text("moescope", name) for name in SOURCES})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {"moescope.pth": os.fsencode(ROOT) + b"\n"})


def build_sdist(sdist_directory, config_settings=None):
    base = f"moescope-{VERSION}"
    files = {f"moescope/{name}": _text("moescope", name) for name in SOURCES}
    files.update({name: _text(name) for name in ("pyproject.toml", "wheel_backend.py")}, **{"PKG-INFO": METADATA})
    with tarfile.open(os.path.join(sdist_directory, f"{base}.tar.gz"), "w:gz") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(f"{base}/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return f"{base}.tar.gz"
