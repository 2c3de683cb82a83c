"""Every LLM's batch API behind one durable command. Half the price, done by dawn.

    import bydawn

    for result in bydawn.run(rows, model="openai/gpt-4o-mini"):
        print(result.id, result.text, result.cost_usd)

Public names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bydawn.version import __version__

if TYPE_CHECKING:
    from bydawn.client import Client, Job, run
    from bydawn.config import Settings, load_settings
    from bydawn.core.adjustment import Adjustment
    from bydawn.core.job import CleanReport, FailureGroup, JobOptions, JobStatus, PlanReport
    from bydawn.core.result import Result, RowError, Usage
    from bydawn.errors import BydawnError


__all__ = [
    "Adjustment",
    "BydawnError",
    "CleanReport",
    "Client",
    "FailureGroup",
    "Job",
    "JobOptions",
    "JobStatus",
    "PlanReport",
    "Result",
    "RowError",
    "Settings",
    "Usage",
    "__version__",
    "load_settings",
    "run",
]

_HOMES = {
    "bydawn.client": ("Client", "Job", "run"),
    "bydawn.config": ("Settings", "load_settings"),
    "bydawn.core.adjustment": ("Adjustment",),
    "bydawn.core.job": ("CleanReport", "FailureGroup", "JobOptions", "JobStatus", "PlanReport"),
    "bydawn.core.result": ("Result", "RowError", "Usage"),
    "bydawn.errors": ("BydawnError",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
