"""The clocks of the user space side, behind names that say what they are for."""

import time


def unix_seconds() -> float:
    """Seconds since the Unix epoch: for time stamps that leave this machine; may jump."""
    return time.time()


def monotonic_seconds() -> float:
    """Seconds on a clock that never jumps: for deadlines and back-off."""
    return time.monotonic()


def cpu_seconds() -> float:
    """Seconds of a processor that this thread has taken."""
    return time.thread_time()


def boot_ns() -> int:
    """Nanoseconds since boot, suspended time included: the clock of bpftrace's ``nsecs``."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def slept_ns() -> int:
    """Nanoseconds that the machine has been suspended since boot, to some microseconds.

    By so much the clock since boot is ahead of the monotonic one.
    """
    # The two are read one after the other: what comes in between only makes the difference larger.
    return min(-time.monotonic_ns() + boot_ns() for _ in range(5))


def local_time_text(unix_seconds: float) -> str:
    """``2026-11-20 14:03:59`` in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_seconds))
