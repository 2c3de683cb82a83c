"""The synchronous door: one call from rows to results."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bydawn.client.client import Client
from bydawn.core.events import ignore
from bydawn.core.job import JobOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bydawn.client.planning import Rows
    from bydawn.config import Settings
    from bydawn.core.events import Listener
    from bydawn.core.result import Result


def run(
    source: Rows,
    model: str | None = None,
    *,
    models: Sequence[str] = (),
    settings: Settings | None = None,
    on_event: Listener = ignore,
    **options: Any,
) -> Iterator[Result]:
    """Run requests to their end and yield one result per request, in row order.

    ``source`` is a file or any iterable of rows (mappings, or texts as prompts); ``options`` are those of JobOptions.
    Calling it again with the same rows continues, or just reads the finished job. Works inside notebooks, too.
    """
    names = (*models, model) if model is not None else tuple(models)

    async def work() -> tuple[Settings, str]:
        async with Client(settings) as client:
            job, _ = client.open_job(source, JobOptions(models=names, **options), on_event=on_event)
            await job.wait(on_event)
            return client.settings, job.job_id

    used, job_id = _run_anywhere(work)
    client = Client(used)
    try:
        yield from client.job(job_id).results()
    finally:
        client.store.close()


def _run_anywhere(work: Callable[[], Any]) -> Any:
    """Run a coroutine function to its end, in a thread of its own where a loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
