"""Clients have the names that Python's own ipaddress gives them."""

from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from nfszbx.traffic import name_client

IPV4_MAPPED = bytes(10) + b"\xff\xff"


@given(
    st.one_of(
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=4, max_size=4).map(lambda last: IPV4_MAPPED + last),
        st.binary(min_size=4, max_size=4).map(lambda last: bytes(12) + last),
    )
)
def test_name_of_a_client(address: bytes) -> None:
    full = IPv6Address(address)
    assert name_client(address) == str(full.ipv4_mapped or full)
