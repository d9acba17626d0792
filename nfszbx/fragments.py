"""The bpftrace fragments: readable files, each valid by itself, from which scripts are composed.

A fragment marks the parts that the generator replaces::

    // nfszbx: NAME ARGUMENT
    what stands here when the fragment runs by itself
    // nfszbx: end
"""

import re
from collections.abc import Callable
from pathlib import Path

_IN_PACKAGE = Path(__file__).parent / "fragments"  # where the wheel has them
_IN_CHECKOUT = Path(__file__).parent.parent / "scripts" / "bpftrace"
FRAGMENT_DIRECTORY = _IN_PACKAGE if _IN_PACKAGE.is_dir() else _IN_CHECKOUT

_PART = re.compile(
    r"^(?P<indent> *)// nfszbx: (?P<name>[a-z]+)(?: (?P<argument>[a-z]+))?\n"
    r".*?^ *// nfszbx: end\n",
    re.MULTILINE | re.DOTALL,
)


def read_fragment(name: str) -> str:
    """The text of ``NAME.bt`` without its ``#!`` line. Raises OSError for an incomplete install."""
    text = (FRAGMENT_DIRECTORY / f"{name}.bt").read_text(encoding="utf-8")
    return text.partition("\n")[2] if text.startswith("#!") else text


def fill_fragment(text: str, fill: Callable[[str, str], str]) -> str:
    """The fragment with each marked part replaced by ``fill(name, argument)``, indented alike."""

    def replace(match: re.Match[str]) -> str:
        lines = fill(match["name"], match["argument"] or "").splitlines()
        return "".join(f"{match['indent']}{line}".rstrip() + "\n" for line in lines)

    return _PART.sub(replace, text)
