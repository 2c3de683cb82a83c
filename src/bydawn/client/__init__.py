"""The public API and the composition root: here, and only here, the parts are put together.

`Client` is asynchronous and holds the parts; `Job` is a handle on a stored job; `run` is the one synchronous door, for
scripts and notebooks.
"""

from bydawn.client.client import Client
from bydawn.client.job import Job
from bydawn.client.sync import run

__all__ = ["Client", "Job", "run"]
