"""``/v1/files``: uploads straight to disk, strict checks, expiry, content with ranges."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import FileResponse, Response

from bydawn.sandbox.multipart import FormError, UploadForm
from bydawn.sandbox.openai.errors import ApiError, FileFormatError, invalid_value, missing_parameter
from bydawn.sandbox.openai.paging import page_of, whole_number
from bydawn.sandbox.openai.records import FILE, FILE_LIFE_S, StoredFile

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from bydawn.sandbox.world import World

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
FILE_BYTES_MAX = 512_000_000
BATCH_FILE_BYTES_MAX = 200_000_000
LIST_LIMIT_MAX = 10_000
EXPIRY_S_MIN, EXPIRY_S_MAX = 3_600, 2_592_000
_FIRST_LINE_MAX = 64 * 1024 * 1024
_decode_file = msgspec.json.Decoder(StoredFile).decode


class _Content(FileResponse):
    chunk_size = 1024 * 1024


class Files:
    """The file endpoints. Content is stored under the file's id and removed when it is deleted or has expired."""

    def __init__(self, world: World) -> None:
        self._world = world
        for leftover in world.spool.glob("file-*"):  # uploads that a kill cut off
            leftover.unlink()

    async def create(self, request: Request, account: str) -> dict[str, Any]:
        """``POST /v1/files``."""
        file_id = f"file-{self._world.new_id('file')}"
        path = self._world.spool / file_id
        try:
            form = UploadForm(request.headers.get("content-type", ""), path, FILE_BYTES_MAX)
            await form.read(request.stream())
            self._check(form, path)
            life_s = expiry_seconds(_bracketed(form.fields, "expires_after"), "expires_after")
            return self.keep(path, file_id, account, form.fields["purpose"], form.filename, life_s).shown()
        except FormError as error:
            raise ApiError(400, f"Could not parse multipart form: {error}") from error
        finally:
            path.unlink(missing_ok=True)

    def keep(
        self, path: Path, file_id: str, account: str, purpose: str, filename: str, life_s: int | None
    ) -> StoredFile:
        """Make the content at `path` a file of the account; `path` itself stays. Join it in a transaction at will."""
        now = int(self._world.clock.now())
        if life_s is None and purpose == "batch":
            life_s = FILE_LIFE_S
        file = StoredFile(
            id=file_id, account=account, purpose=purpose, filename=filename, bytes=path.stat().st_size,
            created_at=now, expires_at=None if life_s is None else now + life_s,
        )  # fmt: skip
        self.path(file_id).unlink(missing_ok=True)  # a kill may have left a link without a record
        self.path(file_id).hardlink_to(path)
        self._world.store.add(
            FILE, file_id, account=account, tag=purpose, created_at=now, live=True, data=msgspec.json.encode(file)
        )
        return file

    def path(self, file_id: str) -> Path:
        """Where a file's content lies."""
        return self._world.files / file_id

    def find(self, file_id: str, account: str) -> StoredFile | None:
        """The file, or None when it is unknown, foreign, deleted or expired."""
        record = self._world.store.get(FILE, file_id, account)
        file = None if record is None else _decode_file(record.data)
        return None if file is None or self._drop_if_expired(file) else file

    async def retrieve(self, request: Request, account: str) -> dict[str, Any]:
        """``GET /v1/files/{id}``."""
        return self._get(request, account).shown()

    async def content(self, request: Request, account: str) -> Response:
        """``GET /v1/files/{id}/content``, also in ranges."""
        file = self._get(request, account)
        return _Content(self.path(file.id), media_type="application/octet-stream", filename=file.filename)

    async def delete(self, request: Request, account: str) -> dict[str, Any]:
        """``DELETE /v1/files/{id}``."""
        file = self._get(request, account)
        self._remove(file)
        return {"object": "file", "id": file.id, "deleted": True}

    async def page(self, request: Request, account: str) -> dict[str, Any]:
        """``GET /v1/files``."""
        query = request.query_params
        limit = whole_number(query.get("limit"), "limit", LIST_LIMIT_MAX, LIST_LIMIT_MAX)
        order = query.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise invalid_value("order", order, ("asc", "desc"))
        after = query.get("after")
        edge = None if after is None else self._world.store.get(FILE, after, account)
        if after is not None and edge is None:
            raise _no_such_file(after)
        records = self._world.store.page(
            FILE, account, tag=query.get("purpose"), after=edge and edge.seq, limit=limit + 1,
            newest_first=order == "desc",
        )  # fmt: skip
        files = [file for record in records if not self._drop_if_expired(file := _decode_file(record.data))]
        return page_of([file.shown() for file in files[:limit]], has_more=len(records) > limit)

    def _get(self, request: Request, account: str) -> StoredFile:
        file_id = request.path_params["file_id"]
        file = self.find(file_id, account)
        if file is None:
            raise _no_such_file(file_id)
        return file

    def _drop_if_expired(self, file: StoredFile) -> bool:
        expired = file.expires_at is not None and self._world.clock.now() >= file.expires_at
        if expired:
            self._remove(file)
        return expired

    def _remove(self, file: StoredFile) -> None:
        self._world.store.delete(FILE, file.id)
        self.path(file.id).unlink(missing_ok=True)

    def _check(self, form: UploadForm, path: Path) -> None:
        purpose = form.fields.get("purpose")
        if not purpose:
            raise missing_parameter("purpose")
        if purpose not in PURPOSES:
            raise invalid_value("purpose", purpose, PURPOSES)
        if form.file_field != "file":
            raise missing_parameter("file")
        if form.file_bytes > (BATCH_FILE_BYTES_MAX if purpose == "batch" else FILE_BYTES_MAX):
            raise ApiError(400, "File is too large.")
        if purpose == "batch":
            _check_batch_input(form.filename, path)


def expiry_seconds(expires_after: Any, name: str) -> int | None:
    """Seconds of an ``{"anchor": "created_at", "seconds": n}`` object; None when it is absent. Raises ApiError."""
    if expires_after is None:
        return None
    if not isinstance(expires_after, dict):
        raise ApiError(400, f"Invalid type for '{name}': expected an object.", param=name, code="invalid_type")
    if expires_after.get("anchor") != "created_at":
        raise invalid_value(f"{name}.anchor", expires_after.get("anchor"), ("created_at",))
    seconds = expires_after.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        message = f"Invalid type for '{name}.seconds': expected an integer."
        raise ApiError(400, message, param=f"{name}.seconds", code="invalid_type")
    if not EXPIRY_S_MIN <= seconds <= EXPIRY_S_MAX:
        message = f"Invalid '{name}.seconds': expected a value between {EXPIRY_S_MIN} and {EXPIRY_S_MAX}."
        raise ApiError(400, message, param=f"{name}.seconds", code="invalid_value")
    return seconds


def _bracketed(fields: dict[str, str], name: str) -> dict[str, Any] | None:
    """Gather ``name[key]`` form fields; a decimal number becomes an int."""
    found = {
        key[len(name) + 1 : -1]: int(value) if re.fullmatch("[0-9]{1,15}", value) else value
        for key, value in fields.items()
        if key.startswith(f"{name}[") and key.endswith("]")
    }
    return found or None


def _check_batch_input(filename: str, path: Path) -> None:
    if not filename.endswith(".jsonl"):
        raise FileFormatError("Invalid file format for Batch API. Must be .jsonl")
    with path.open("rb") as content:
        first = content.readline(_FIRST_LINE_MAX)
    try:
        if isinstance(msgspec.json.decode(first), dict):
            return
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    raise FileFormatError("Invalid file format for Batch API. Must be .jsonl")


def _no_such_file(file_id: str) -> ApiError:
    return ApiError(404, f"No such File object: {file_id}", param="id")
