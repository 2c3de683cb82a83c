"""What a provider's codec must offer.

A codec is one file without I/O: it shapes requests into the provider's bytes and reads the provider's bytes back.
Conversations of several calls are flows (`core.wire`). Everything a codec needs from outside comes in as arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bydawn.core.adjustment import Adjustment
    from bydawn.core.batch import BatchProblem, BatchReport, Limits, Refusal, ResultFile, Submission
    from bydawn.core.request import Endpoint, Fields, Form
    from bydawn.core.result import Answer
    from bydawn.core.wire import Flow, WireResponse
    from bydawn.errors import ProviderError


class Provider(Protocol):
    """One provider's protocol, without I/O. Implementations hold no state."""

    name: str
    base_url: str
    """Where the service is when no account says otherwise."""
    key_variables: tuple[str, ...]
    """Environment variables that may hold the key, first match wins."""
    base_url_variable: str
    """Environment variable that overrides `base_url`."""
    header_variables: Mapping[str, str]
    """Headers that go with every call, by the environment variable that holds each one's value."""

    def auth_headers(self, key: str) -> Mapping[str, str]:
        """Headers that carry the key; the transport adds them for the account's own host only."""
        ...

    def limits(self, endpoint: Endpoint) -> Limits:
        """The largest batch the provider accepts on this endpoint."""
        ...

    def shape(self, fields: Fields, form: Form, endpoint: Endpoint) -> tuple[Fields, Sequence[Adjustment]]:
        """Turn a request's fields into the endpoint's own body fields (without the model).

        Raises ValueError, with a sentence for the user, when the fields cannot be sent to this endpoint.
        """
        ...

    def encode(self, custom_id: str, endpoint: Endpoint, model: str, body: Fields) -> bytes:
        """Return the line for the batch file, with its newline."""
        ...

    def readdress(self, line: bytes, custom_id: str) -> bytes:
        """Return an encoded line under another custom_id, for a further attempt."""
        ...

    def inputs(self, endpoint: Endpoint, body: Fields) -> int:
        """How many embeddings inputs the body holds; 0 where they are not counted."""
        ...

    def inputs_of(self, line: bytes, endpoint: Endpoint) -> int:
        """Count the inputs of an encoded line, as `inputs` does for a body."""
        ...

    def submit(self, batch: Submission, known: Mapping[str, str]) -> Flow[str]:
        """Create the batch and return the provider's id. ``known`` holds the facts of earlier checkpoints."""
        ...

    def find(self, batch: Submission, known: Mapping[str, str], since_s: float) -> Flow[str | None]:
        """Look for a batch whose create was in doubt; ``since_s`` is the Unix time just before it was sent.

        Returns the provider's id, or None when the provider's list does not show it (yet).
        """
        ...

    def poll(self, provider_batch_id: str) -> Flow[BatchReport]:
        """Ask how the batch is doing."""
        ...

    def read_refusal(self, problems: tuple[BatchProblem, ...]) -> Refusal:
        """Say what the errors of a batch that was refused as a whole mean; the list may be empty or incomplete."""
        ...

    def fetch(self, file: ResultFile, path: Path) -> Flow[None]:
        """Bring one result file to ``path``, whole."""
        ...

    def size(self, file: ResultFile) -> Flow[int | None]:
        """Ask how many bytes a result file has; None when the provider does not say."""
        ...

    def cancel(self, provider_batch_id: str) -> Flow[None]:
        """Ask for the batch to be cancelled. Returns also when it had ended already."""
        ...

    def clean(self, facts: Mapping[str, str], files: Sequence[ResultFile]) -> Flow[int]:
        """Delete the remote files of a finished batch; return how many were there."""
        ...

    def probe(self) -> Flow[str]:
        """Make one harmless call that needs a valid key; return a sentence about what answered."""
        ...

    def decode(self, line: bytes, endpoint: Endpoint) -> Answer:
        """Read one line of a result file.

        Raises UnexpectedAnswer when no ``custom_id`` can be read; a line with one but of an unknown shape is an Answer
        with the error kind ``unexpected_answer``.
        """
        ...

    def explain(self, response: WireResponse) -> ProviderError:
        """Name an HTTP answer that is no success."""
        ...
