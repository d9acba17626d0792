"""Writes Debian's copyright file: nfszbx, and the libraries in the folder of the first argument."""

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

_HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: nfszbx
Comment: The libraries in /usr/lib/nfszbx are as their authors publish them on PyPI.
"""
_APACHE = " On Debian systems the text is in /usr/share/common-licenses/Apache-2.0."


def _describe(library: Distribution) -> Iterator[str]:
    """The paragraph of a library, with its licence in full."""
    name = library.metadata["Name"]
    folders = sorted(
        {path.parts[0] for path in library.files or () if path.parts[0] not in {"..", "bin"}}
    )
    metadata = library.metadata.json
    licence = str(metadata.get("license_expression") or metadata.get("license") or "")
    yield f"Files: {' '.join(f'lib/{folder}' for folder in folders)}"
    yield f"Copyright: the authors of {name} {library.version}"
    yield f"License: {name}"
    yield f" {licence.splitlines()[0] if licence else 'As follows'}"
    for file in library.files or ():
        if file.name.upper().startswith(("LICEN", "COPYING", "NOTICE")):
            text = file.read_text(encoding="utf-8")
            if "Apache License" in text and "TERMS AND CONDITIONS" in text:
                yield _APACHE
                continue
            for line in text.splitlines():
                yield f" {line.rstrip()}" if line.strip() else " ."


def make_copyright(folder: Path) -> Iterator[str]:
    """The paragraphs of the file."""
    yield _HEAD
    yield f"Files: *\nCopyright: nfszbx maintainers\nLicense: Apache-2.0\n{_APACHE}\n"
    for library in sorted(distributions(path=[str(folder)]), key=lambda each: each.name.lower()):
        if library.name != "nfszbx":
            yield "\n".join(_describe(library)) + "\n"


sys.stdout.write("\n".join(make_copyright(Path(sys.argv[1]))))
