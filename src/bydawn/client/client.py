"""The asynchronous client: jobs of one home folder, and the ways to their providers."""

from __future__ import annotations

from datetime import UTC, datetime
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from bydawn.adapt import load_facts
from bydawn.client.job import Job
from bydawn.client.planning import Planning
from bydawn.clock import Clock, SystemClock
from bydawn.config import Settings, account_for, load_settings
from bydawn.core.events import Listener, ignore
from bydawn.core.job import JobOptions
from bydawn.engine.desk import Desk
from bydawn.engine.status import job_status
from bydawn.errors import JobNotFound
from bydawn.ids import IdSource
from bydawn.pricing import load_prices
from bydawn.providers.registry import get_provider
from bydawn.store.files import JobFiles, private_folder
from bydawn.store.sqlite import Store
from bydawn.transports.driver import Driver
from bydawn.transports.http import HttpTransport
from bydawn.transports.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random
    from typing import Self

    from bydawn.client.planning import Rows
    from bydawn.core.job import JobStatus, PlanReport
    from bydawn.core.model import ModelRef
    from bydawn.pricing import Rates

LAST = "last"


class Client:
    """Jobs of one home folder, and the ways to their providers.

    Without ``settings`` they are read from the environment and ``bydawn.toml``. ``clock`` and ``rng`` are for
    simulations.
    """

    def __init__(
        self, settings: Settings | None = None, *, clock: Clock | None = None, rng: Random | None = None
    ) -> None:
        self.settings = settings if settings is not None else load_settings()
        self._clock = clock if clock is not None else SystemClock()
        self._rng = rng if rng is not None else SystemRandom()
        self._ids = IdSource(rng)
        self._facts = load_facts(self.settings.rules)
        self._prices = load_prices(self.settings.prices)
        self._drivers: dict[str, tuple[HttpTransport, Driver]] = {}
        private_folder(self.settings.home)
        self.store = Store(self.settings.home / "bydawn.db", self._clock.now)
        self._planning = Planning(
            settings=self.settings,
            store=self.store,
            facts=self._facts,
            rates=self.rates,
            ids=self._ids,
            clock=self._clock,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections and the store."""
        for transport, _ in self._drivers.values():
            await transport.aclose()
        self._drivers.clear()
        self.store.close()

    # Planning

    def open_job(
        self,
        source: Rows,
        options: JobOptions,
        *,
        strict: bool = False,
        new: bool = False,
        name: str | None = None,
        on_event: Listener = ignore,
    ) -> tuple[Job, bool]:
        """Find the job of this input and these options, or plan a new one; True when it is new.

        Reads and validates the whole input; nothing is sent. While another process plans the very same job, waits for
        it. Raises InvalidInput, StrictRefusal, ConfigError.
        """
        job_id, fresh = self._planning.open_job(source, options, strict=strict, new=new, name=name, on_event=on_event)
        return Job(self, job_id), fresh

    def check(self, source: Rows, options: JobOptions, *, on_event: Listener = ignore) -> PlanReport:
        """Plan without keeping anything: adjustments, batches, cost. Raises InvalidInput and ConfigError."""
        return self._planning.check(source, options, on_event=on_event)

    # Jobs

    def job(self, job_id: str) -> Job:
        """Open a stored job by its id, a unique beginning of it, or ``last``. Raises JobNotFound."""
        known = [job.job_id for job in self.store.jobs()]
        found = known[:1] if job_id == LAST else [name for name in known if name == job_id]
        found = found or [name for name in known if job_id and name.startswith(job_id)]
        if len(found) != 1:
            problem = "no job is" if not found else f"{len(found)} jobs are"
            raise JobNotFound(f"{problem} called {job_id!r} here", hint="`bydawn jobs` lists the jobs of this home.")
        return Job(self, found[0])

    def jobs(self) -> list[JobStatus]:
        """All jobs of this home, newest first."""
        return [self.status(job.job_id) for job in self.store.jobs()]

    async def submit(
        self, source: Rows, models: Sequence[str] = (), *, on_event: Listener = ignore, **options: Any
    ) -> Job:
        """Plan a job (or find it again) and send its batches. ``options`` are those of JobOptions."""
        job, _ = self.open_job(source, JobOptions(models=tuple(models), **options), on_event=on_event)
        await job.start(on_event)
        return job

    def status(self, job_id: str) -> JobStatus:
        """Read how a job stands."""
        return job_status(self.store, job_id, self._clock.now())

    # Parts

    def rates(self, model: ModelRef) -> Rates | None:
        """A model's prices today, None when they are unknown."""
        return self._prices.rates(model, datetime.fromtimestamp(self._clock.now(), UTC))

    def driver(self, provider: str) -> Driver:
        """The way to a provider, made when first needed. Raises ConfigError without a key."""
        if provider not in self._drivers:
            codec = get_provider(provider)
            dials = self.settings.engine
            transport = HttpTransport(account_for(codec, self.settings), codec, self._clock)
            policy = RetryPolicy(dials.call_attempts, dials.retry_first_s, dials.retry_max_s)
            self._drivers[provider] = transport, Driver(transport, codec, self._clock, self._rng, policy)
        return self._drivers[provider][1]

    async def probe(self, provider: str) -> str:
        """Make one harmless call with the configured key; return what answered. Raises ProviderError, ConfigError."""
        return await self.driver(provider).run(get_provider(provider).probe())

    def desk(self, job_id: str, on_event: Listener) -> Desk:
        """Gather what is needed to work on a job. Raises JobNotFound."""
        job = self.store.job(job_id)
        return Desk(
            job_id=job_id,
            job_name=job.name,
            realm=job.realm,
            store=self.store,
            files=JobFiles(self.settings.home, job_id),
            lanes=tuple(self.store.lanes(job_id)),
            driver=self.driver,
            rates=self.rates,
            clock=self._clock,
            rng=self._rng,
            ids=self._ids,
            settings=self.settings.engine,
            limits=self.settings.limits,
            on_event=on_event,
        )

    async def pause(self, seconds: float) -> None:
        """Wait on the client's clock."""
        await self._clock.sleep(seconds)
