"""nfszbx tells who moves how much through a Linux file server."""

__version__ = "0.1.0"
