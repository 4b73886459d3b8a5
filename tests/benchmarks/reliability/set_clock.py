"""The wall clock of a process, ahead of the machine's by what a file says: run at its start, as ``sitecustomize``.

All that Python code asks for the time of day goes by it: `time.time` and its kin, the calendar times of `time` that are
of now, and `datetime.datetime` and `datetime.date`. Monotonic clocks stay, as they do when somebody sets a clock.
"""

import datetime
import functools
import mmap
import os
import struct
import time


def patch(ahead):
    """``ahead``: the seconds."""
    seconds, nanoseconds, clock, clock_ns = time.time, time.time_ns, time.clock_gettime, time.clock_gettime_ns
    gmtime, localtime, ctime, strftime = time.gmtime, time.localtime, time.ctime, time.strftime
    wall = time.CLOCK_REALTIME

    def now():
        return seconds() + ahead()

    def of_now(real):
        return functools.wraps(real)(lambda at=None: real(now() if at is None else at))

    time.time = now
    time.time_ns = lambda: nanoseconds() + int(ahead() * 1e9)
    time.clock_gettime = lambda which: clock(which) + (ahead() if which == wall else 0.0)
    time.clock_gettime_ns = lambda which: clock_ns(which) + (int(ahead() * 1e9) if which == wall else 0)
    time.gmtime, time.localtime, time.ctime = of_now(gmtime), of_now(localtime), of_now(ctime)
    time.strftime = lambda form, at=None: strftime(form, time.localtime() if at is None else at)
    _patch_datetime()


def _patch_datetime():
    real_datetime, real_date = datetime.datetime, datetime.date

    class AlsoReal(type):
        """What C code makes is of the real class, and one of these all the same."""

        def __instancecheck__(cls, instance):
            return isinstance(instance, cls.__mro__[1])

        def __subclasscheck__(cls, subclass):
            return issubclass(subclass, cls.__mro__[1])

    class Datetime(real_datetime, metaclass=AlsoReal):
        __slots__ = ()  # of the size that C code expects

        @classmethod
        def now(cls, tz=None):
            return real_datetime.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls):
            return real_datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls):
            return cls.now()

    class Date(real_date, metaclass=AlsoReal):
        __slots__ = ()

        @classmethod
        def today(cls):
            return real_date.fromtimestamp(time.time())

    Datetime.__name__ = Datetime.__qualname__ = "datetime"
    Date.__name__ = Date.__qualname__ = "date"
    datetime.datetime, datetime.date = Datetime, Date


def read_from(path):
    with open(path, "rb") as file:
        held = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    patch(lambda: struct.unpack("<d", held)[0])


if "GATE_BENCH_CLOCK" in os.environ:
    read_from(os.environ["GATE_BENCH_CLOCK"])
