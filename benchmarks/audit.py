"""What the audit costs: processor time to read the sockets of many connections, twice a minute.

Run as root: ``python benchmarks/audit.py [CONNECTIONS]``
"""

import resource
import socket
import sys
import time

from nfszbx.kernel.sockets import SocketReader

AUDITS = 10
READINGS_PER_AUDIT = 3
SECONDS_BETWEEN_AUDITS = 60


def main() -> None:
    """Open the connections, read them as the audit does, and print the part of a core it takes."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    connections = []
    for _ in range(count):
        client = socket.create_connection(server.getsockname())
        connections.append((client, server.accept()[0]))
    reader = SocketReader([server.getsockname()[1]])
    began = time.process_time()
    for _ in range(AUDITS):
        reader.find_namespaces()
        for _ in range(READINGS_PER_AUDIT):
            reader.read()
    seconds = (time.process_time() - began) / AUDITS
    part = 100 * seconds / SECONDS_BETWEEN_AUDITS
    print(f"{count} connections: {1000 * seconds:.1f} ms per audit, {part:.3f} % of one core")


if __name__ == "__main__":
    main()
