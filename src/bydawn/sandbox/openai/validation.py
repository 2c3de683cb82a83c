"""Checking a batch's input file, as the service does before it starts a batch.

Only the envelope of each line, the model, the stream flag and the one required field are looked at; everything else
shows up row by row later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bydawn.sandbox.openai.models import PATHS
from bydawn.sandbox.openai.rules import REQUIRED, embedding_inputs
from bydawn.sandbox.openai.tokens import count_body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bydawn.sandbox.openai.models import Catalogue

EMBEDDING_INPUTS_MAX = 50_000
"""Embeddings inputs over all lines of a batch."""
PROBLEMS_MAX = 100
"""Validation stops after so many problems."""
_ENVELOPE = ("custom_id", "method", "url", "body")

Problem = dict[str, Any]
"""``{"code", "message", "param", "line"}``; line is 1-based, None for the file as a whole."""


class Accepted(NamedTuple):
    """What validation found out about a good file."""

    total: int
    sent_model: str
    model: str
    """The dated snapshot."""
    prompt_tokens: int


def problem(code: str, message: str, param: str | None = None, line: int | None = None) -> Problem:
    """One entry of a failed batch's errors."""
    return {"code": code, "message": message, "param": param, "line": line}


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, cut at line feeds alone and without them."""
    with path.open("rb") as content:
        for line in content:
            yield line.removesuffix(b"\n")


class Validator:
    """Goes through one file once. `run` returns Accepted or the problems."""

    def __init__(self, endpoint: str, catalogue: Catalogue, lines_max: int) -> None:
        self._url = endpoint
        self._endpoint = PATHS.get(endpoint)
        self._catalogue = catalogue
        self._lines_max = lines_max
        self._problems: list[Problem] = []
        self._custom_ids: set[str] = set()
        self._sent_model: str | None = None
        self._inputs = 0
        self._tokens = 0

    def run(self, path: Path) -> Accepted | list[Problem]:
        """Check the file at `path`."""
        total = 0
        for line in lines_of(path):
            total += 1
            if total > self._lines_max:
                message = f"This batch has more than {self._lines_max} requests."
                return [problem("too_many_tasks", message)]
            self._line(line, total)
            if len(self._problems) >= PROBLEMS_MAX:
                break
        if self._inputs > EMBEDDING_INPUTS_MAX:
            message = f"This batch has more than {EMBEDDING_INPUTS_MAX} embedding inputs."
            self._problems.append(problem("invalid_request", message))
        model = self._catalogue.find(self._sent_model)
        if self._problems or model is None or self._sent_model is None:
            return self._problems
        return Accepted(total, self._sent_model, model.snapshot, self._tokens)

    def _line(self, line: bytes, number: int) -> None:
        request = decode_line(line)
        if request is None:
            self._add("invalid_json_line", "This line is not parseable as valid JSON.", None, number)
            return
        missing = [name for name in _ENVELOPE if request.get(name) is None]
        for name in missing:
            self._add("missing_required_parameter", f"Missing required parameter: '{name}'.", name, number)
        if not missing:
            self._envelope(request, number)
            self._body(request["body"], number)

    def _envelope(self, request: dict[str, Any], number: int) -> None:
        custom_id = request["custom_id"]
        if not isinstance(custom_id, str):
            self._add("invalid_type", "Invalid type for 'custom_id': expected a string.", "custom_id", number)
        elif custom_id in self._custom_ids:
            message = (
                f"The custom_id '{custom_id}' for this request is a duplicate of another request."
                " The custom_id parameter must be unique for each request in a batch."
            )
            self._add("duplicate_custom_id", message, "custom_id", number)
        else:
            self._custom_ids.add(custom_id)
        if request["method"] != "POST":
            self._add("invalid_method", "The method of this request must be POST.", "method", number)
        if request["url"] != self._url:
            message = "The URL provided for this request does not match the batch endpoint."
            self._add("invalid_url", message, "url", number)

    def _body(self, body: Any, number: int) -> None:
        if not isinstance(body, dict):
            self._add("invalid_type", "Invalid type for 'body': expected an object.", "body", number)
            return
        self._model(body.get("model"), number)
        if body.get("stream"):
            message = "Chat Completions: Streaming is not supported in the Batch API."
            self._add("streaming_unsupported", message, "body.stream", number)
        if self._endpoint is None:
            return
        field = REQUIRED[self._endpoint]
        if field not in body and not (self._endpoint == "responses" and "prompt" in body):
            self._add("invalid_request", f"{field.capitalize()} parameter is required.", f"body.{field}", number)
            return
        self._tokens += count_body(body, self._endpoint)
        if self._endpoint == "embeddings":
            self._inputs += len(embedding_inputs(body["input"]))

    def _model(self, name: Any, number: int) -> None:
        if not name:
            self._add("invalid_request", "Model parameter is required.", "body.model", number)
        elif self._sent_model is not None and name != self._sent_model:
            message = (
                f"The model '{name}' for this request does not match the rest of the batch."
                " Each batch must contain requests for a single model."
            )
            self._add("mismatched_model", message, "body.model", number)
        elif self._endpoint is None or self._catalogue.find(name) is None:
            message = f"The provided model '{name}' is not supported by the Batch API."
            self._add("model_not_found", message, "body.model", number)
        elif self._sent_model is None:
            self._sent_model = name

    def _add(self, code: str, message: str, param: str | None, line: int) -> None:
        self._problems.append(problem(code, message, param, line))


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line, or None when there is none."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None
