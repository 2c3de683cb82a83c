"""``/v1/batches``: create (which looks at nothing but the call itself), retrieve, list, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.sandbox.openai.errors import ApiError, invalid_type, invalid_value, missing_parameter
from bydawn.sandbox.openai.files import expiry_seconds
from bydawn.sandbox.openai.lifecycle import draw_schedule
from bydawn.sandbox.openai.paging import page_of, whole_number
from bydawn.sandbox.openai.records import BATCH, DAY_S, FILE_LIFE_S, Quirks, StoredBatch

if TYPE_CHECKING:
    from starlette.requests import Request

    from bydawn.sandbox.faults import BatchFault
    from bydawn.sandbox.openai.lifecycle import Lifecycle
    from bydawn.sandbox.store import Record
    from bydawn.sandbox.world import World

ENDPOINTS = (
    "/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations",
    "/v1/images/generations", "/v1/images/edits", "/v1/videos",
)  # fmt: skip
LIST_LIMIT, LIST_LIMIT_MAX = 20, 100
METADATA_PAIRS_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 16, 64, 512
_FIELDS = ("input_file_id", "endpoint", "completion_window")
_KNOWN = {*_FIELDS, "metadata", "output_expires_after"}
_decode = msgspec.json.Decoder(StoredBatch).decode


class Batches:
    """The batch endpoints."""

    def __init__(self, world: World, lifecycle: Lifecycle) -> None:
        self._world = world
        self._lifecycle = lifecycle

    async def create(self, request: Request, account: str) -> dict[str, Any]:
        """``POST /v1/batches``. A file that does not fit shows up later, as a failed batch."""
        body = await json_object(request)
        _check(body)
        world = self._world
        now = world.clock.now()
        if world.store.created_since(BATCH, account, now - 3_600) >= world.config.batches_per_hour_max:
            message = f"Rate limit reached for batch creation: {world.config.batches_per_hour_max} per hour."
            raise ApiError(429, message, type="requests", code="rate_limit_exceeded")
        quirks = _quirks(world.faults.for_batch(world.store.count("fault batch")))
        batch_id = f"batch_{int(now):08x}{world.new_id('batch', 24, '0123456789abcdef')}"
        batch = StoredBatch(
            id=batch_id, account=account, endpoint=body["endpoint"], input_file_id=body["input_file_id"],
            metadata=body.get("metadata"), created_at=int(now), expires_at=int(now) + DAY_S,
            result_life_s=expiry_seconds(body.get("output_expires_after"), "output_expires_after") or FILE_LIFE_S,
            schedule=draw_schedule(world, batch_id), quirks=quirks,
        )  # fmt: skip
        if batch.quirks.expire_at_share is not None and not world.config.instant:
            batch.schedule.in_progress_s = float(DAY_S)
        world.store.add(
            BATCH, batch_id, account=account, tag="", created_at=now, live=True, data=msgspec.json.encode(batch)
        )
        world.wake()
        return batch.shown()

    async def retrieve(self, request: Request, account: str) -> dict[str, Any]:
        """``GET /v1/batches/{id}``."""
        return self._lifecycle.view(self._get(request.path_params["batch_id"], account)).shown()

    async def cancel(self, request: Request, account: str) -> dict[str, Any]:
        """``POST /v1/batches/{id}/cancel``."""
        batch = self._get(request.path_params["batch_id"], account)
        if not batch.is_terminal:
            batch = self._lifecycle.cancel(batch.id)
        if batch.is_terminal and batch.status != "cancelled":
            raise ApiError(409, f"Cannot cancel a batch with status '{batch.status}'.")
        return batch.shown()

    async def page(self, request: Request, account: str) -> dict[str, Any]:
        """``GET /v1/batches``, newest first."""
        limit = whole_number(request.query_params.get("limit"), "limit", LIST_LIMIT, LIST_LIMIT_MAX)
        after = request.query_params.get("after")
        edge = self._world.store.get(BATCH, after, account) if after else None
        if after and edge is None:
            raise _no_such_batch(after)
        found = self._visible(account, edge.seq if edge else None, limit + 1)
        batches = [self._lifecycle.view(batch).shown() for batch in found[:limit]]
        return page_of(batches, has_more=len(found) > limit)

    def _visible(self, account: str, after: int | None, wanted: int) -> list[StoredBatch]:
        """Up to `wanted` batches that the list shows already."""
        found: list[StoredBatch] = []
        while len(found) < wanted:
            records = self._world.store.page(
                BATCH, account, tag=None, after=after, limit=wanted - len(found), newest_first=True
            )
            if not records:
                break
            after = records[-1].seq
            found += [batch for record in records if not self._is_hidden(batch := _batch(record))]
        return found

    def _is_hidden(self, batch: StoredBatch) -> bool:
        """The list lags behind creation, by time or by calls, where a quirk says so."""
        quirks = batch.quirks
        if self._world.clock.now() < batch.created_at + quirks.hidden_s:
            return True
        return quirks.hidden_calls > 0 and self._world.store.count(f"lists {batch.id}") <= quirks.hidden_calls

    def _get(self, batch_id: str, account: str) -> StoredBatch:
        record = self._world.store.get(BATCH, batch_id, account)
        if record is None:
            raise _no_such_batch(batch_id)
        return _batch(record)


def _batch(record: Record) -> StoredBatch:
    return _decode(record.data)


def _no_such_batch(batch_id: str) -> ApiError:
    return ApiError(404, f"No batch found with id '{batch_id}'.")


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object a request carries. Raises ApiError."""
    try:
        body = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"We could not parse the JSON body of your request: {error}"
        raise ApiError(400, message) from error
    if not isinstance(body, dict):
        raise ApiError(400, "The JSON body of your request must be an object.")
    return body


def _check(body: dict[str, Any]) -> None:
    for name in _FIELDS:
        if body.get(name) is None:
            raise missing_parameter(name)
        if not isinstance(body[name], str):
            raise invalid_type(name, "a string", body[name])
    for name in body:
        if name not in _KNOWN:
            raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if body["endpoint"] not in ENDPOINTS:
        raise invalid_value("endpoint", body["endpoint"], ENDPOINTS)
    if body["completion_window"] != "24h":
        raise invalid_value("completion_window", body["completion_window"], ("24h",))
    if body.get("metadata") is not None:
        _check_metadata(body["metadata"])
    expiry_seconds(body.get("output_expires_after"), "output_expires_after")


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict):
        raise invalid_type("metadata", "an object", metadata)
    if len(metadata) > METADATA_PAIRS_MAX:
        message = (
            f"Invalid 'metadata': too many properties. Expected at most {METADATA_PAIRS_MAX}, but got {len(metadata)}."
        )
        raise ApiError(400, message, param="metadata", code="object_above_max_properties")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise invalid_type(f"metadata.{key}", "a string", value)
        if len(key) > METADATA_KEY_MAX or len(value) > METADATA_VALUE_MAX:
            message = f"Invalid 'metadata.{key}': string too long."
            raise ApiError(400, message, param=f"metadata.{key}", code="string_above_max_length")


def _quirks(faults: list[BatchFault]) -> Quirks:
    quirks = Quirks()
    for fault in faults:
        for name, value in _quirk_fields(fault).items():
            setattr(quirks, name, value)
    return quirks


def _quirk_fields(fault: BatchFault) -> dict[str, Any]:
    """What one entry of the plan means for a batch."""
    fields: dict[str, dict[str, Any]] = {
        "expire": {"expire_at_share": fault.value},
        "stuck": {"expire_at_share": 0.0},
        "fail": {"failure": (fault.code, fault.message, fault.lines)},
        "fail_without_errors": {"fail_silently": True},
        "all_failed": {"all_rows_status": fault.status},
        "cancel_empty": {"cancel_empty": True},
        "hidden": {"hidden_s": fault.value},
        "hidden_calls": {"hidden_calls": int(fault.value)},
        "ids_empty": {"missing_ids": "empty"},
        "ids_absent": {"missing_ids": "absent"},
        "legacy": {"legacy": True},
        "status_word": {"progress_word": fault.text},
        "cancelled_word": {"cancelled_word": fault.text},
        "counts_lie": {"counts": "lie"},
        "counts_zero": {"counts": "zero"},
        "extra_row": {"extra_row": True},
        "blank_lines": {"blank_lines": True},
        "no_final_newline": {"final_newline": False},
        "crlf": {"crlf": True},
        "cut_last_line": {"cut_last_line": True},
    }
    return fields[fault.quirk]
