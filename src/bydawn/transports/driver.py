"""Drives a codec's flow: performs its calls in order, repeats those that may be repeated, and only those.

Safe and idempotent calls are repeated with backoff when the failure passes by itself. An unsafe call is sent exactly
once, after ``before_unsafe`` has committed the intent; when it may have taken effect although no clear answer came, the
drive ends with InDoubt. Any other failure is thrown into the flow, which may know what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from bydawn.core.wire import Checkpoint, is_page
from bydawn.errors import (
    AnswerLost,
    InDoubt,
    NotFound,
    NotSent,
    ProviderError,
    RateLimited,
    TransportError,
    Unavailable,
    UnexpectedAnswer,
)
from bydawn.transports.download import saved_bytes
from bydawn.transports.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from bydawn.clock import Clock
    from bydawn.core.wire import Flow, WireRequest, WireResponse
    from bydawn.providers.base import Provider

T = TypeVar("T")

Failure: TypeAlias = ProviderError | TransportError
"""Why a call brought no success."""

AMBIGUOUS_STATUSES = frozenset({408, 409, 425})
"""4xx answers after which an unsafe call may yet take effect: gave up waiting, conflicts with itself, too early."""


class Transport(Protocol):
    """Sends one request, once (`transports.http`, or a simulated network)."""

    async def send(self, request: WireRequest) -> WireResponse:
        """Return the answer, whatever its status. Raises NotSent or AnswerLost when there is none."""
        ...


class Driver:
    """Runs flows of one provider over one transport."""

    def __init__(
        self, transport: Transport, provider: Provider, clock: Clock, rng: Random, policy: RetryPolicy | None = None
    ) -> None:
        self._transport = transport
        self._provider = provider
        self._clock = clock
        self._rng = rng
        self._policy = policy if policy is not None else RetryPolicy()

    async def run(
        self,
        flow: Flow[T],
        *,
        on_checkpoint: Callable[[Mapping[str, str]], None] | None = None,
        before_unsafe: Callable[[], None] | None = None,
    ) -> T:
        """Drive ``flow`` to its end and return what it found out.

        ``on_checkpoint`` must have committed the facts when it returns. Raises InDoubt when an unsafe call may have
        taken effect, and whatever error the flow lets through.
        """
        try:
            step = next(flow)
            while True:
                if isinstance(step, Checkpoint):
                    if on_checkpoint is not None:
                        on_checkpoint(step.facts)
                    step = flow.send(None)
                else:
                    step = _resume(flow, step, await self._perform(step, before_unsafe))
        except StopIteration as stop:
            found: T = stop.value
            return found
        finally:
            flow.close()

    async def _perform(self, request: WireRequest, before_unsafe: Callable[[], None] | None) -> WireResponse | Failure:
        """Make one call. Returns its failure instead of raising it, because the flow may know what to do about it."""
        try:
            if request.safety == "unsafe":
                return await self._send_once(request, before_unsafe)
            return await self._send_repeatedly(request)
        except (ProviderError, TransportError) as error:
            return error

    async def _send_once(self, request: WireRequest, before_unsafe: Callable[[], None] | None) -> WireResponse:
        if before_unsafe is not None:
            before_unsafe()
        try:
            return await self._exchange(request)
        except (ProviderError, AnswerLost) as error:
            if _may_have_taken_effect(error):
                raise _in_doubt(request, error) from error
            raise

    async def _send_repeatedly(self, request: WireRequest) -> WireResponse:
        """Send until there is an answer or the policy gives up; a download that comes forward never gives up."""
        failures = saved = 0
        while True:
            try:
                return await self._exchange(request)
            except (ProviderError, TransportError) as error:
                if request.save_to is not None and (now_saved := saved_bytes(request.save_to)) > saved:
                    failures, saved = 0, now_saved
                failures += 1
                if not _passes_by_itself(request, error):
                    raise
                delay_s = self._policy.delay_s(failures, self._rng, getattr(error, "retry_after_s", None))
                if delay_s is None:
                    raise
                await self._clock.sleep(delay_s)
                if _is_lost_upload(request, error):
                    raise

    async def _exchange(self, request: WireRequest) -> WireResponse:
        """Send once. Raises the codec's reading of any answer that is no success, or a page instead of data."""
        answer = await self._transport.send(request)
        if 200 <= answer.status < 300 and not is_page(answer.headers, answer.body):
            return answer
        raise self._provider.explain(answer)


def _resume(flow: Flow[T], request: WireRequest, outcome: WireResponse | Failure) -> WireRequest | Checkpoint:
    """Hand the call's outcome to the flow and return its next step."""
    if isinstance(outcome, (ProviderError, TransportError)):
        return flow.throw(outcome)
    try:
        return flow.send(outcome)
    except UnexpectedAnswer as error:
        if request.safety == "unsafe":
            raise _in_doubt(request, error) from error
        raise


def _passes_by_itself(request: WireRequest, error: Failure) -> bool:
    """Whether the same call may do later. A result file that was just announced may not be readable at once."""
    if isinstance(error, NotFound):
        return request.save_to is not None
    return error.retry == "later" or isinstance(error, AnswerLost)


def _is_lost_upload(request: WireRequest, error: Failure) -> bool:
    """Whether a file may have arrived after all: its flow looks for it before sending so many bytes again.

    The pause has been made by then, which also gives the provider's listing time to show the file.
    """
    return request.file is not None and not isinstance(error, (NotSent, RateLimited))


def _may_have_taken_effect(error: ProviderError | AnswerLost) -> bool:
    """Whether an unsafe call may have been carried out. A clear refusal, 429 included, says that it was not."""
    if isinstance(error, (AnswerLost, Unavailable, UnexpectedAnswer)):
        return True
    return error.status >= 500 or error.status in AMBIGUOUS_STATUSES


def _in_doubt(request: WireRequest, error: Exception) -> InDoubt:
    return InDoubt(
        f"{request.method} {request.path} may have taken effect: {error}",
        hint="bydawn looks for it at the provider before anything is sent again.",
    )
