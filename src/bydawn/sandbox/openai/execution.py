"""Executing one request, of a batch or live: steering and faults first, then the model's rules, then an answer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bydawn.sandbox.directives import directive_of
from bydawn.sandbox.openai.answers import Question, seeded_answer, usage_of
from bydawn.sandbox.openai.errors import ApiError, error_of_status, missing_parameter
from bydawn.sandbox.openai.records import Usage
from bydawn.sandbox.openai.rules import check
from bydawn.sandbox.seeded import Draw
from bydawn.sandbox.store import ExecutedRow

if TYPE_CHECKING:
    from bydawn.sandbox.faults import RowFault
    from bydawn.sandbox.openai.models import Catalogue, Endpoint
    from bydawn.sandbox.openai.upstream import Upstream
    from bydawn.sandbox.world import World

_ANSWER_TWISTS = frozenset({"refuse", "content_filter", "truncate", "tool_call", "empty", "odd_text"})
_FILE_TWISTS = frozenset({"missing", "duplicate"})
_MISSHAPEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a request raises whose inner objects are not what the rules and the generator take for granted."""
_TIMEOUT = {"code": "request_timeout", "message": "This request timed out before it could be executed."}


class Place(NamedTuple):
    """Where a request comes from."""

    batch_id: str
    row: int
    custom_id: str


class Outcome(NamedTuple):
    """What came of one request."""

    status: int
    """HTTP status; 0 for a row that has none."""
    body: dict[str, Any] | None
    """Response body; None when the request never ran."""
    error: dict[str, str] | None
    """Top-level error of a request that never ran."""
    usage: Usage
    model: str
    body_hash: str
    marked: bool
    twist: str | None
    """missing or duplicate: what happens to its line."""

    @property
    def is_ok(self) -> bool:
        """It succeeded, and is billed."""
        return 200 <= self.status < 300


class _Wish(NamedTuple):
    """How a request shall end, from a directive or the fault plan."""

    outcome: str
    status: int
    code: str | None


class Executor:
    """Executes requests against the rules and the source of answers."""

    def __init__(self, world: World, catalogue: Catalogue, upstream: Upstream | None) -> None:
        self._world = world
        self._catalogue = catalogue
        self._upstream = upstream

    def run(
        self,
        endpoint: Endpoint,
        body: dict[str, Any],
        place: Place,
        created: float,
        *,
        status_for_all: int | None = None,
    ) -> Outcome:
        """Execute `body`; `created` is the virtual time of the answer. Blocks while an upstream answers."""
        canonical = msgspec.json.encode(body, order="sorted")
        body_hash = hashlib.blake2b(canonical, digest_size=16).hexdigest()
        wish, marked = self._wish(canonical, body_hash, place)
        if status_for_all is not None:
            wish = _Wish("status", status_for_all, None)
        outcome = Outcome(0, None, None, Usage(), str(body.get("model")), body_hash, marked, None)
        return self._end(endpoint, body, wish, outcome, created)

    def _wish(self, canonical: bytes, body_hash: str, place: Place) -> tuple[_Wish | None, bool]:
        directive = directive_of(canonical)
        if directive is not None:
            spent = directive.times is not None and self._world.store.executions(body_hash) >= directive.times
            return (None if spent else _Wish(directive.outcome, directive.status, directive.code)), True
        fault: RowFault | None = self._world.faults.for_row(place.batch_id, place.row, place.custom_id)
        return (None if fault is None else _Wish(fault.outcome, fault.status, fault.code)), False

    def _end(
        self, endpoint: Endpoint, body: dict[str, Any], wish: _Wish | None, outcome: Outcome, created: float
    ) -> Outcome:
        kind = None if wish is None else wish.outcome
        if kind == "timeout":
            return outcome._replace(error=_TIMEOUT)
        if kind == "status_0":
            return outcome._replace(body={})
        try:
            if wish is not None and kind in {"status", "flagged"}:
                raise _wished_error(wish)
            answer = self._answer(endpoint, body, kind, outcome.body_hash, created)
        except ApiError as error:
            return outcome._replace(status=error.status, body=error.body)
        except _MISSHAPEN as error:
            refused = ApiError(400, f"The request has a shape that cannot be understood: {error!r}")
            return outcome._replace(status=400, body=refused.body)
        twist = kind if kind in _FILE_TWISTS else None
        return outcome._replace(status=200, body=answer, usage=usage_of(answer), twist=twist)

    def _answer(
        self, endpoint: Endpoint, body: dict[str, Any], kind: str | None, body_hash: str, created: float
    ) -> dict[str, Any]:
        if not body.get("model"):
            raise missing_parameter("model")
        model = self._catalogue.find(body["model"])
        if model is None:
            message = f"The model `{body['model']}` does not exist or you do not have access to it."
            raise ApiError(404, message, code="model_not_found")
        check(body, endpoint, model)
        bent = kind if kind in _ANSWER_TWISTS else None
        if self._upstream is not None and bent is None:
            return {**self._upstream.answer(endpoint, body), "model": model.snapshot}
        draw = Draw(self._world.config.seed, body_hash)
        return seeded_answer(Question(endpoint, model, body, draw, int(created), bent))


def _wished_error(wish: _Wish) -> ApiError:
    if wish.outcome == "flagged":
        message = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
        return ApiError(400, message, code="invalid_prompt")
    return error_of_status(wish.status, wish.code)


def executed_row(
    outcome: Outcome, place: Place, position: int, output_bytes: int = 0, error_bytes: int = 0
) -> ExecutedRow:
    """The ledger's row of an outcome."""
    return ExecutedRow(
        batch_id=place.batch_id, position=position, row=place.row, custom_id=place.custom_id, model=outcome.model,
        body_hash=outcome.body_hash, status=outcome.status, input_tokens=outcome.usage.input_tokens,
        cached_tokens=outcome.usage.cached_tokens, output_tokens=outcome.usage.output_tokens,
        reasoning_tokens=outcome.usage.reasoning_tokens, output_bytes=output_bytes, error_bytes=error_bytes,
        marked=outcome.marked,
    )  # fmt: skip
