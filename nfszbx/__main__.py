"""``python -m nfszbx`` is the command ``nfszbx``."""

from nfszbx.cli import main

main()
