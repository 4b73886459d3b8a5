"""The only place that does I/O: run a flow on an event loop, on threads, or from a recording.

All three drive the same generators. Retries, time-outs, the total deadline, cancellation and the recording of every
reply live here and nowhere else. A run ends by its deadline whatever an upstream does; a cancelled caller cancels
every effect under way.
"""

from gate.drivers.on_loop import AsyncDriver
from gate.drivers.on_threads import ThreadedDriver
from gate.drivers.replay import ReplayDriver
from gate.drivers.world import Recording, World

__all__ = ["AsyncDriver", "Recording", "ReplayDriver", "ThreadedDriver", "World"]
