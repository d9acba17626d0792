"""The part of the script that tells whose RPC message it is, on transports beside TCP."""

from textwrap import indent
from typing import Literal

from nfszbx.traffic import Direction, Service, Slot, Transport

AF_INET6 = 10  # include/linux/socket.h

_SERVER_NAME = b"nfsd"


def server_name(byte_order: Literal["little", "big"]) -> str:
    """The first four bytes of nfsd's name among the RPC servers, as a number of the script."""
    return f"{int.from_bytes(_SERVER_NAME, byte_order):#x}"


def render_peer_address(byte_order: Literal["little", "big"], read_rest: str) -> str:
    """Sets ``$high`` and ``$low`` (``script.py``) from a ``sockaddr_in`` or ``sockaddr_in6``.

    ``$start`` is its first eight bytes; ``read_rest`` sets the two from the next sixteen, for IPv6.
    """
    # sockaddr: the family in two bytes, the port in two, then IPv4's address, or IPv6's after four.
    if byte_order == "little":
        family, ipv4 = "$start & 0xffff", "(($start >> 32) << 32) | 0xffff0000"
    else:
        family, ipv4 = "$start >> 48", "0xffff00000000 | ($start & 0xffffffff)"
    return f"""\
$high = (uint64)0;
$low = {ipv4};
if (({family}) == {AF_INET6}) {{
{indent(read_rest, "  ")}}}
"""


def render_rpc_account(byte_order: Literal["little", "big"], direction: Direction) -> str:
    """Adds ``$bytes`` to the counters of the client of ``$rqstp`` (at ``$address``), for nfsd only.

    Other servers of the kernel (lockd) have names of their own. The client's ``rq_addr`` is a
    ``sockaddr_in6`` or ``sockaddr_in`` in a union; its only member that every bpftrace can read as
    a number is ``__align``, the first eight bytes. Those after these are read through pointers that
    are moved by as much.
    """
    udp = Slot(Service.NFSD, direction, Transport.UDP).number
    rdma = Slot(Service.NFSD, direction, Transport.RDMA).number
    address = render_peer_address(
        byte_order,
        """\
$shifted = (struct svc_rqst *)($address + 8);
$high = (uint64)$shifted->rq_addr.__align;
$shifted = (struct svc_rqst *)($address + 16);
$low = (uint64)$shifted->rq_addr.__align;
""",
    )
    return f"""\
$server = (uint32 *)$rqstp->rq_server->sv_name;
if (*$server == {server_name(byte_order)}) {{
  $slot = {udp};
  if ($protocol > 255) {{
    $slot = {rdma};
  }}
  $start = (uint64)$rqstp->rq_addr.__align;
{indent(address, "  ")}\
  @client_bytes[$slot, $high, $low] = sum($bytes);
  @total_bytes[$slot] = sum($bytes);
}}
"""
