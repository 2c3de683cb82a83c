"""The words in which sans-IO codecs speak to the network.

A codec's *flow* is a generator: it yields `WireRequest`s and `Checkpoint`s, is sent `WireResponse`s, and returns what
it found out. It opens nothing and waits for nothing; `transports` drives it. Only successes (2xx) are sent in: any
other answer is thrown in as the error that the codec's own ``explain`` makes of it, so a flow can catch ``NotFound``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

T = TypeVar("T")

Safety = Literal["safe", "idempotent", "unsafe"]
"""May this call be sent twice? ``safe``: it changes nothing. ``idempotent``: twice does no harm. ``unsafe``: twice may
be billed twice; it is sent once, and a lost answer leaves the batch in doubt."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A form field whose value is a file on disk, streamed."""

    name: str
    filename: str
    path: Path
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """One HTTP call. ``path`` is relative to the account's base URL.

    The body is ``json`` (encoded as it is), or a multipart form of ``form`` fields in order and one ``file``. With
    ``save_to`` a successful body is streamed to that file, resumed when the download breaks, and not held in memory.
    """

    method: str
    path: str
    safety: Safety
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: tuple[tuple[str, str], ...] = ()
    file: FilePart | None = None
    save_to: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WireResponse:
    """An HTTP answer. Header names are lower case; ``body`` is empty when it was saved to a file."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Facts a flow has learned (an uploaded file's id); they are committed before the flow goes on."""

    facts: Mapping[str, str]


Flow: TypeAlias = "Generator[WireRequest | Checkpoint, WireResponse | None, T]"


def is_page(headers: Mapping[str, str], start: bytes) -> bool:
    """Whether an answer is an HTML page and not data; gateways send them under any status, 200 included.

    ``headers`` have lower-case names; ``start`` is the body or its beginning.
    """
    return headers.get("content-type", "").startswith("text/html") or start[:64].lstrip()[:1] == b"<"
