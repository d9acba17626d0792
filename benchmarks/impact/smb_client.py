"""A client with Samba's own library, for the system's Python.

``smb_client.py CONFIG ADDRESS SHARE`` prints, as JSON, how many bytes a second it has written to
the share and read from it, and how long single reads of 4 KiB took, in seconds.
"""

import json
import sys
import time

from samba.credentials import DONT_USE_KERBEROS, Credentials
from samba.samba3 import libsmb_samba_internal as libsmb
from samba.samba3 import param

LARGE_BYTES = 64 << 20
TIMES = 8
SMALL_BYTES = 4096
READS = 3000
_READ_DATA = 1  # FILE_READ_DATA, MS-SMB2 2.2.13.1.1


def main() -> None:
    """Write, read, and ask."""
    config, address, share = sys.argv[1:]
    parameters = param.get_context()
    parameters.load(config)
    credentials = Credentials()
    credentials.guess(parameters)
    credentials.set_kerberos_state(DONT_USE_KERBEROS)
    credentials.set_username("visitor")
    credentials.set_password("")
    connection = libsmb.Conn(address, share, lp=parameters, creds=credentials)
    data = bytes(LARGE_BYTES)
    began = time.perf_counter()
    for _ in range(TIMES):
        connection.savefile("large", data)
        connection.loadfile("large")
    seconds = time.perf_counter() - began
    file = connection.create("large", DesiredAccess=_READ_DATA)
    times = []
    for number in range(READS):
        asked = time.perf_counter()
        connection.read(file, number * SMALL_BYTES, SMALL_BYTES)
        times.append(time.perf_counter() - asked)
    connection.close(file)
    print(
        json.dumps({"bytes_per_second": 2 * TIMES * LARGE_BYTES / seconds, "read_seconds": times})
    )


if __name__ == "__main__":
    main()
