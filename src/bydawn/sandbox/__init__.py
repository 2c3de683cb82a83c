"""The sandbox: an independent emulator of the providers' batch services, for trying things out without a key or money.

It shares no code with the codecs in `bydawn.providers`: both are read from the providers' documents separately, so that
one misreading cannot hide another. Only the command line starts it, and only when asked.
"""

from bydawn.sandbox.app import create_app
from bydawn.sandbox.config import SandboxConfig
from bydawn.sandbox.faults import BatchFault, CallFault, FaultPlan, RowFault, load_fault_plan
from bydawn.sandbox.server import RunningSandbox, running, serve

__all__ = [
    "BatchFault",
    "CallFault",
    "FaultPlan",
    "RowFault",
    "RunningSandbox",
    "SandboxConfig",
    "create_app",
    "load_fault_plan",
    "running",
    "serve",
]
