"""The search for garbage is put off, and is on again afterwards whatever happens."""

import gc

import pytest

from nfszbx.garbage import without_collecting


def test_is_off_inside_and_on_afterwards() -> None:
    with without_collecting():
        assert not gc.isenabled()
        with without_collecting():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_is_on_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), without_collecting():
        _ = 1 / 0
    assert gc.isenabled()
