"""OpenAI's batch protocol: files of JSONL lines up and down, a batch object in between.

Facts are those of the protocols sheet of 2026-11-22 (API reference, batch guide, SDK types, recorded traffic). Shaping
requests, reading rows and reading errors are in the modules ``_openai_*`` beside this one; here are the line that is
sent and the conversations: upload, create, find, poll, fetch, cancel, clean.
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar
from urllib.parse import quote

import msgspec

from bydawn.adapt.fields import plain
from bydawn.core.batch import BatchProblem, BatchReport, Counts, Limits, ResultFile
from bydawn.core.wire import Checkpoint, FilePart, WireRequest
from bydawn.errors import AnswerLost, NotFound, Rejected, Unavailable, UnexpectedAnswer
from bydawn.providers import _openai_errors as errors
from bydawn.providers import _openai_rows as rows
from bydawn.providers._openai_shape import shape
from bydawn.providers.refusals import read_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import EndReason, Refusal, Submission
    from bydawn.core.request import Endpoint, Fields, Form
    from bydawn.core.result import Answer
    from bydawn.core.wire import Flow, WireResponse
    from bydawn.errors import ProviderError

T = TypeVar("T")

Id = Annotated[str, msgspec.Meta(min_length=1)]

MAX_ROWS: Final = 50_000
"""Requests in one batch. Source: batch guide and SDK, read 2026-11-22."""

MAX_BYTES: Final = 190_000_000
"""Bytes of one input file: 5 % below the documented 200 MB (batch guide, read 2026-11-22), because nobody says whether
a MB has 1,000,000 bytes and an upload was seen refused at the edge well below it."""

MAX_ROW_BYTES: Final = 50_000_000
"""Bytes of one line. No limit is documented; the endpoints' own token limits end far below it (our own bound)."""

MAX_INPUTS: Final = 50_000
"""Embeddings inputs over all lines of one batch. Source: batch guide and SDK, read 2026-11-22."""

PATHS: Final[Mapping[Endpoint, str]] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
    "completions": "/v1/completions",
    "moderations": "/v1/moderations",
}
"""The ``url`` of lines and the ``endpoint`` of batches."""

TAG_KEY: Final = "bydawn"
"""The metadata key under which a batch carries its tag."""

METADATA_CHARS: Final = 512
"""Longest metadata value. Source: SDK types/batch_create_params.py, read 2026-11-22."""

UPLOAD_TRIES: Final = 3
"""Uploads of one file within one flow, each lost one looked for before the next."""

CLOCK_SLACK_S: Final = 3_600.0
"""How far the provider's clock may be behind ours when its list is searched."""

_END_REASONS: Final[Mapping[str, EndReason]] = {
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_WORTH: Final = {"completed": 5, "finalizing": 4, "in_progress": 3, "validating": 2, "cancelling": 1, "expired": 1}
"""Which of several batches with one tag is kept: the one furthest on; one that failed or was cancelled comes last."""

_encode = msgspec.json.Encoder().encode


class OpenAI:
    """The codec of ``openai/...`` models. See `Provider`."""

    name = "openai"
    base_url = "https://api.openai.com/v1"
    key_variables = ("OPENAI_API_KEY",)
    base_url_variable = "OPENAI_BASE_URL"
    header_variables: ClassVar[Mapping[str, str]] = {
        "OPENAI_ORG_ID": "OpenAI-Organization",
        "OPENAI_PROJECT_ID": "OpenAI-Project",
    }

    def auth_headers(self, key: str) -> Mapping[str, str]:
        """See `Provider.auth_headers`."""
        return {"Authorization": f"Bearer {key}"}

    def limits(self, endpoint: Endpoint) -> Limits:
        """See `Provider.limits`. Enqueued tokens depend on the account and are learned from refusals."""
        inputs = MAX_INPUTS if endpoint == "embeddings" else None
        return Limits(rows=MAX_ROWS, bytes=MAX_BYTES, row_bytes=MAX_ROW_BYTES, inputs=inputs)

    def shape(self, fields: Fields, form: Form, endpoint: Endpoint) -> tuple[Fields, Sequence[Adjustment]]:
        """See `Provider.shape`."""
        return shape(fields, form, endpoint)

    def encode(self, custom_id: str, endpoint: Endpoint, model: str, body: Fields) -> bytes:
        """See `Provider.encode`."""
        line = _encode(
            {"custom_id": custom_id, "method": "POST", "url": PATHS[endpoint], "body": {"model": model, **body}}
        )
        # Rows from Python may be pretty-printed JSON: a line break there stands between tokens, never within a text.
        if _LF in line or _CR in line:
            line = line.translate(_LINE_BREAKS_TO_SPACES)
        return line + b"\n"

    def readdress(self, line: bytes, custom_id: str) -> bytes:
        """See `Provider.readdress`."""
        return _encode({**_ENVELOPE(line), "custom_id": custom_id}) + b"\n"

    def inputs(self, endpoint: Endpoint, body: Fields) -> int:
        """See `Provider.inputs`. A list of numbers is one input, given as tokens."""
        if endpoint != "embeddings" or "input" not in body:
            return 0
        given = plain(body["input"])
        return len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1

    def inputs_of(self, line: bytes, endpoint: Endpoint) -> int:
        """See `Provider.inputs_of`."""
        return self.inputs(endpoint, msgspec.json.decode(line, type=_WithBody).body) if endpoint == "embeddings" else 0

    def submit(self, batch: Submission, known: Mapping[str, str]) -> Flow[str]:
        """See `Provider.submit`. Facts: ``upload`` (begun), ``input_file_id``, ``uploaded_at`` (by OpenAI's clock)."""
        file_id = known.get("input_file_id")
        if not file_id:
            file = yield from _upload(batch, begun="upload" in known)
            file_id = file.id
            uploaded = {"uploaded_at": repr(file.created_at)} if isinstance(file.created_at, int | float) else {}
            yield Checkpoint({"input_file_id": file_id, **uploaded})
        metadata = {TAG_KEY: batch.tag, "rows": str(batch.rows)}
        if batch.job_name:
            metadata["job"] = batch.job_name[:METADATA_CHARS]
        answer = yield from _call(
            WireRequest(
                method="POST",
                path="/batches",
                safety="unsafe",
                json={
                    "input_file_id": file_id,
                    "endpoint": PATHS[batch.lane.endpoint],
                    "completion_window": "24h",
                    "metadata": metadata,
                },
            )
        )
        return _read(answer, _Batch).id

    def find(self, batch: Submission, known: Mapping[str, str], since_s: float) -> Flow[str | None]:
        """See `Provider.find`. Walks the list, newest first; a tag in the metadata proves more than the input file.

        The walk ends where batches are older than the upload of this one's file, which is a moment by OpenAI's own
        clock: ours may be wrong.
        """
        file_id = known.get("input_file_id")
        horizon_s = min(since_s, float(known.get("uploaded_at", since_s))) - CLOCK_SLACK_S
        best = (0, "")
        after: str | None = None
        while True:
            query = (("limit", "100"),) if after is None else (("limit", "100"), ("after", after))
            page = _read((yield from _call(_get("/batches", query))), _Page)
            entries = _entries(page, _Batch)
            matches = [(_worth(entry, batch.tag, file_id), entry.id) for entry in entries]
            best = max([best, *matches], key=itemgetter(0))
            if _is_end(page, entries, after, horizon_s):
                return best[1] or None
            after = entries[-1].id

    def poll(self, provider_batch_id: str) -> Flow[BatchReport]:
        """See `Provider.poll`."""
        return _report(_read((yield from _call(_get(f"/batches/{_segment(provider_batch_id)}"))), _Batch))

    def read_refusal(self, problems: tuple[BatchProblem, ...]) -> Refusal:
        """See `Provider.read_refusal`."""
        return read_refusal(problems)

    def fetch(self, file: ResultFile, path: Path) -> Flow[None]:
        """See `Provider.fetch`."""
        yield from _call(
            WireRequest(
                method="GET",
                path=f"/files/{_segment(file.file_id)}/content",
                safety="safe",
                headers={"Accept": "application/binary"},
                save_to=path,
            )
        )

    def size(self, file: ResultFile) -> Flow[int | None]:
        """See `Provider.size`."""
        found = _read((yield from _call(_get(f"/files/{_segment(file.file_id)}"))), _File)
        return found.bytes if isinstance(found.bytes, int) else None

    def cancel(self, provider_batch_id: str) -> Flow[None]:
        """See `Provider.cancel`."""
        path = f"/batches/{_segment(provider_batch_id)}/cancel"
        try:
            yield from _call(WireRequest(method="POST", path=path, safety="idempotent"))
        except Rejected as error:
            if error.status != 409:  # 409: it had ended already
                raise

    def clean(self, facts: Mapping[str, str], files: Sequence[ResultFile]) -> Flow[int]:
        """See `Provider.clean`."""
        deleted = 0
        file_ids = [facts.get("input_file_id"), *(file.file_id for file in files)]
        for file_id in dict.fromkeys(filter(None, file_ids)):
            try:
                yield from _call(WireRequest(method="DELETE", path=f"/files/{_segment(file_id)}", safety="idempotent"))
            except NotFound:
                continue
            deleted += 1
        return deleted

    def probe(self) -> Flow[str]:
        """See `Provider.probe`."""
        page = _read((yield from _call(_get("/models"))), _Page)
        return f"the key is accepted and may list {len(page.data or ())} models"

    def decode(self, line: bytes, endpoint: Endpoint) -> Answer:
        """See `Provider.decode`."""
        return rows.decode(line, endpoint)

    def explain(self, response: WireResponse) -> ProviderError:
        """See `Provider.explain`."""
        return errors.explain(response)


# --- lines ---------------------------------------------------------------------------------------------------------

_LF, _CR = b"\n\r"
_LINE_BREAKS_TO_SPACES = bytes.maketrans(b"\n\r", b"  ")
_ENVELOPE = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _WithBody(msgspec.Struct):
    body: dict[str, msgspec.Raw]


# --- objects -------------------------------------------------------------------------------------------------------


class _Batch(msgspec.Struct):
    """A batch object. Only the id is sure to be there and of its type; compatible services bend all the rest."""

    id: Id
    status: Any = None
    created_at: Any = None
    expires_at: Any = None
    model: Any = None
    metadata: Any = None
    input_file_id: Any = None
    output_file_id: Any = None
    error_file_id: Any = None
    request_counts: Any = None
    errors: Any = None


class _File(msgspec.Struct):
    id: Id
    filename: Any = None
    bytes: Any = None
    created_at: Any = None


class _Page(msgspec.Struct):
    """One page of a list; its entries are read one by one, because foreign ones may have any shape."""

    data: list[Any] | None = None
    has_more: Any = None


def _read(answer: WireResponse, shape: type[T]) -> T:
    """Read a JSON answer. Raises UnexpectedAnswer, with the bytes, when it has another shape."""
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(
            f"openai: an answer could not be read: {error}",
            provider=errors.PROVIDER,
            status=answer.status,
            request_id=answer.headers.get("x-request-id"),
            body=answer.body,
        ) from error


def _entries(page: _Page, shape: type[T]) -> list[T]:
    """Return the entries of a page that have an id."""
    readable = (entry for entry in page.data or () if isinstance(entry, dict) and _text(entry.get("id")))
    return [msgspec.convert(entry, shape) for entry in readable]


def _text(value: Any) -> str | None:
    """Return a text that says something: absent ids come as null, as "" or not at all."""
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    """Return a finite number, or None; timestamps come as integers and as floats."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


# --- flows ---------------------------------------------------------------------------------------------------------


def _call(request: WireRequest) -> Flow[WireResponse]:
    answer = yield request
    assert answer is not None, "a wire request is answered by a response"
    return answer


def _get(path: str, query: tuple[tuple[str, str], ...] = ()) -> WireRequest:
    return WireRequest(method="GET", path=path, safety="safe", query=query)


def _segment(text: str) -> str:
    """Quote a provider's id for use in a path. Raises UnexpectedAnswer for one that would change the path."""
    if text in {"", ".", ".."}:
        raise UnexpectedAnswer(f"openai: {text!r} is no usable id", provider=errors.PROVIDER)
    return quote(text, safe="")


def _upload(batch: Submission, *, begun: bool) -> Flow[_File]:
    """Upload the input file, unless a lost upload (of this flow, or of one before a crash) arrived after all."""
    if not begun:
        yield Checkpoint({"upload": "begun"})
    elif found := (yield from _find_upload(batch)):
        return found
    for _ in range(UPLOAD_TRIES - 1):
        try:
            return (yield from _send_file(batch))
        except (AnswerLost, Unavailable):
            if found := (yield from _find_upload(batch)):
                return found
    return (yield from _send_file(batch))


def _send_file(batch: Submission) -> Flow[_File]:
    file = FilePart("file", _filename(batch), batch.requests)
    form = (("purpose", "batch"),)
    request = WireRequest(method="POST", path="/files", safety="idempotent", form=form, file=file)
    return _read((yield from _call(request)), _File)


def _find_upload(batch: Submission) -> Flow[_File | None]:
    """Look for a file of the batch's name and size among the newest ones."""
    query = (("purpose", "batch"), ("order", "desc"), ("limit", "1000"))
    page = _read((yield from _call(_get("/files", query))), _Page)
    for file in _entries(page, _File):
        if file.filename == _filename(batch) and file.bytes in (batch.bytes, None):
            return file
    return None


def _filename(batch: Submission) -> str:
    return f"bydawn-{batch.tag}.jsonl"


# --- batches -------------------------------------------------------------------------------------------------------


def _worth(entry: _Batch, tag: str, file_id: str | None) -> int:
    """Return how well a batch of the list matches; 0 when it is another one's."""
    carried = entry.metadata.get(TAG_KEY) if isinstance(entry.metadata, dict) else None
    furthest = 10 + _WORTH.get(str(entry.status), 0)
    if carried == tag:
        return 100 + furthest
    return furthest if carried is None and file_id and entry.input_file_id == file_id else 0


def _is_end(page: _Page, entries: list[_Batch], after: str | None, oldest_s: float) -> bool:
    """Whether the search is over: no more pages (or one that does not lead on), or older batches than ours can be."""
    if not entries or page.has_more is False or entries[-1].id == after:
        return True
    created_at_s = _number(entries[-1].created_at)
    return created_at_s is not None and created_at_s < oldest_s


def _report(batch: _Batch) -> BatchReport:
    status = _text(batch.status) or "unknown"
    end_reason = _END_REASONS.get(status)
    if end_reason is not None:
        phase: Any = "ended"
    else:
        phase = "cancelling" if status in {"cancelling", "canceling"} else "in_progress"
    return BatchReport(
        provider_batch_id=batch.id,
        status=status,
        phase=phase,
        end_reason=end_reason,
        counts=_counts(batch.request_counts),
        files=_files(batch) if end_reason is not None else (),
        problems=_problems(batch.errors) or _NO_REASON * (status == "failed"),
        created_at_s=_number(batch.created_at),
        expires_at_s=_number(batch.expires_at),
        facts=_facts(batch),
    )


_NO_REASON = (BatchProblem(None, "the provider gave no reason"),)
"""What is said of a failed batch with an empty list of errors, which exists."""


def _files(batch: _Batch) -> tuple[ResultFile, ...]:
    output, error = _text(batch.output_file_id), _text(batch.error_file_id)
    return tuple(
        file for file in (ResultFile("output", output or ""), ResultFile("error", error or "")) if file.file_id
    )


def _facts(batch: _Batch) -> dict[str, str]:
    """Return what is worth remembering of a batch, adopted ones included: its input file and the resolved model."""
    facts = {"input_file_id": _text(batch.input_file_id), "resolved_model": _text(batch.model)}
    return {name: value for name, value in facts.items() if value is not None}


def _counts(written: Any) -> Counts | None:
    if not isinstance(written, dict):
        return None
    total, completed, failed = (int(_number(written.get(name)) or 0) for name in ("total", "completed", "failed"))
    return Counts(total, completed, failed)


def _problems(written: Any) -> tuple[BatchProblem, ...]:
    """Read ``{"data": [{"code", "message", "param", "line"}]}``, of which every part may be missing."""
    listed = written.get("data") if isinstance(written, dict) else written
    return tuple(_problem(entry) for entry in listed if isinstance(entry, dict)) if isinstance(listed, list) else ()


def _problem(entry: Mapping[str, Any]) -> BatchProblem:
    said = errors.said_by(entry)
    line = _number(entry.get("line"))
    return BatchProblem(
        said.code,
        said.message or "the provider gave no reason",
        _text(entry.get("param")),
        int(line) if line is not None and line >= 1 else None,
    )
