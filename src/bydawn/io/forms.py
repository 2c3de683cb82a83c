"""Turns rows into requests: every form in which users write them, and the defaults that a job adds.

The forms are told apart by the fields present: ``messages`` or ``prompt`` (chat vocabulary), ``input`` (embeddings,
responses, moderations), or OpenAI's own batch line (``method``, ``url``, ``body``). With a prompt template any row
will do; its columns are then variables and nothing else. The user's JSON is spliced, not decoded and encoded again.
See docs/input-format.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bydawn.core.request import Endpoint, Fields, Form, Mould, Request
from bydawn.errors import ConfigError
from bydawn.io.keys import repeated_key
from bydawn.io.messages import check_messages, from_texts, with_system
from bydawn.io.moulds import Moulds
from bydawn.io.parameters import check_parameters, encode_params
from bydawn.io.rows import (
    NULL,
    BadRow,
    Row,
    decode_row,
    decode_text,
    encode_json,
    excerpt,
    kind_of,
    name_fields,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.io.template import Template

ID_CHARACTERS_MAX = 10_000
"""Longest id accepted. Ids are kept in the state and written to every result; none that names a row is longer."""

_ENDPOINT_OF_PATH: dict[str, Endpoint] = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/completions": "completions",
    "/moderations": "moderations",
}
_NEEDED_IN_BODY: dict[Endpoint, str] = {
    "chat": "messages",
    "embeddings": "input",
    "completions": "prompt",
    "moderations": "input",
}
_NATIVE_FIELDS = frozenset({"custom_id", "method", "url", "body"})
_URLS = "use " + ", ".join(f"/v1{path}" for path in _ENDPOINT_OF_PATH)
_FORMS = 'a row needs "messages", "prompt" or "input", or is an OpenAI batch line with "method", "url" and "body"'


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShape:
    """How a job's rows become requests.

    ``prompt`` and ``system`` are templates; ``params`` are defaults that a row's own fields override; so is
    ``response_format``, in the chat vocabulary. ``endpoint`` is the job's own, where the user named one.
    """

    prompt: Template | None = None
    system: Template | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    response_format: Any | None = None
    endpoint: Endpoint | None = None


class RequestMaker:
    """Makes requests of rows in one shape. Raises ConfigError for options that do not go together."""

    def __init__(self, shape: RowShape) -> None:
        _refuse_contradictions(shape)
        self._prompt = shape.prompt
        self._system = shape.system
        self._endpoint = shape.endpoint
        self._has_schema = shape.response_format is not None
        self._moulds = Moulds()
        self._defaults = encode_params(shape.params)
        if self._has_schema:
            self._defaults |= encode_params({"response_format": shape.response_format})

    def make(self, number: int, line: int, row: Row) -> Request:
        """Return the request of a row, which is used up. Raises BadRow."""
        if self._prompt is not None:
            return self._from_template(self._prompt, number, line, row)
        if "body" in row or ("url" in row and "method" in row):
            return self._from_native_line(number, line, row)
        system = None if self._system is None else encode_json(self._system.render(row))
        if NULL in row.values():
            row = {name: value for name, value in row.items() if value != NULL}
        identifier = _take_id(row)
        model = _take_model(row)
        form = self._settle_content(row, system)
        fields = self._defaults | row if self._defaults else row
        mould = self._mould(fields, model)
        return Request(number, line, identifier, form, fields, model, None, mould)

    def _mould(self, fields: Fields, model: str | None, endpoint: Endpoint | None = None) -> Mould | None:
        """Check the parameters of a row, unless rows of its mould were checked before. Raises BadRow."""
        mould, key = self._moulds.find(fields, model, endpoint)
        if mould is None:
            check_parameters(fields)
            mould = self._moulds.learn(key)
        return mould

    def _settle_content(self, row: Row, system: bytes | None) -> Form:
        """Bring what the model is to read into its final field, and say in which form it came."""
        if "messages" in row:
            if "prompt" in row or "input" in row:
                raise _ambiguous(row)
            check_messages(row["messages"])
            if system is not None:
                row["messages"] = with_system(row["messages"], system)
            return "messages"
        if "prompt" in row:
            if "input" in row:
                raise _ambiguous(row)
            self._settle_prompt(row, system)
            return "messages"
        if "input" not in row:
            raise BadRow(f"no request to be seen in the fields {name_fields(row)}", _FORMS)
        if system is not None:
            raise BadRow("--system needs messages or a prompt, and this row has an input", "leave out --system")
        _check_input(row["input"])
        return "input"

    def _settle_prompt(self, row: Row, system: bytes | None) -> None:
        prompt = row["prompt"]
        kind = kind_of(prompt)
        if self._endpoint == "completions":
            if kind not in {"text", "a list"}:
                raise BadRow(f"prompt is {kind}", "it must be text or a list")
            return
        if kind != "text":
            raise BadRow(f"prompt is {kind}", 'it must be text; a conversation goes into "messages"')
        row["messages"] = from_texts(bytes(row.pop("prompt")), system)

    def _from_template(self, prompt: Template, number: int, line: int, row: Row) -> Request:
        text = encode_json(prompt.render(row))
        system = None if self._system is None else encode_json(self._system.render(row))
        model = _full_model_name(row.get("model", NULL))
        identifier = _id_text(row.get("id", NULL))
        form: Form = "messages"
        if self._endpoint in {"embeddings", "moderations"}:
            content, form = {"input": msgspec.Raw(text)}, "input"
        elif self._endpoint == "completions":
            content = {"prompt": msgspec.Raw(text)}
        else:
            content = {"messages": from_texts(text, system)}
        fields = self._defaults | content
        return Request(number, line, identifier, form, fields, model, None, self._mould(fields, model))

    def _from_native_line(self, number: int, line: int, row: Row) -> Request:
        for name in row:
            if name not in _NATIVE_FIELDS:
                raise BadRow(
                    f"the field {name!r} stands beside body", "parameters belong inside body; remove any other"
                )
        endpoint = self._native_endpoint(row)
        fields = _native_body(row)
        model = _take_model(fields)
        _check_native_content(endpoint, fields)
        if self._defaults:
            fields = self._defaults | fields
        identifier = _id_text(row.get("custom_id", NULL))
        mould = self._mould(fields, model, endpoint)
        return Request(number, line, identifier, "native", fields, model, endpoint, mould)

    def _native_endpoint(self, row: Row) -> Endpoint:
        method, url = row.get("method", NULL), row.get("url", NULL)
        if bytes(method) != b'"POST"':
            raise BadRow(f"method is {excerpt(method)}", 'batches only know "POST"')
        path = decode_text(url).removeprefix("/v1") if kind_of(url) == "text" else ""
        endpoint = _ENDPOINT_OF_PATH.get(path)
        if endpoint is None:
            raise BadRow(f"url is {excerpt(url)}", _URLS)
        if self._endpoint not in {None, endpoint}:
            raise BadRow(f"url is {excerpt(url)}, but the job is for {self._endpoint}", "leave out --endpoint")
        if self._system is not None:
            raise BadRow("--system does not apply to OpenAI's own lines", "write the message into body")
        if self._has_schema and endpoint != "chat":
            raise BadRow(f"--schema does not apply to OpenAI's own lines for {endpoint}", "write it into body")
        return endpoint


def _refuse_contradictions(shape: RowShape) -> None:
    if shape.endpoint not in {"embeddings", "moderations", "completions"}:
        return
    for option, value in (("--system", shape.system), ("--schema", shape.response_format)):
        if value is not None:
            raise ConfigError(f"{option} has no meaning for {shape.endpoint}", hint=f"Leave out {option}.")


def _ambiguous(row: Row) -> BadRow:
    both = " and ".join(name for name in ("messages", "prompt", "input") if name in row)
    return BadRow(f"the row has {both}", "keep one: they say the same thing")


def _take_id(row: Row) -> str | None:
    value = row.pop("id", None)
    if "custom_id" in row:
        if value is not None:
            raise BadRow("the row has id and custom_id", "keep one: they mean the same")
        value = row.pop("custom_id")
    return None if value is None else _id_text(value)


def _id_text(value: msgspec.Raw) -> str | None:
    """Return an id as text; None for null and for empty text, where the row number serves."""
    try:
        text = decode_text(value)
    except msgspec.ValidationError:
        kind = kind_of(value)
        if kind == "null":
            return None
        if kind != "a number":
            raise BadRow(f"id is {kind}", "it must be text or a number") from None
        text = bytes(value).decode()
    if len(text) > ID_CHARACTERS_MAX:
        raise BadRow(f"id has {len(text):,} characters", f"at most {ID_CHARACTERS_MAX:,} are kept")
    return text or None


def _take_model(row: Row) -> str | None:
    value = row.pop("model", None)
    if value is None or value == NULL:
        return None
    if kind_of(value) != "text" or len(value) == len(b'""'):
        raise BadRow(f"model is {excerpt(value)}", "it must be a model's name")
    return decode_text(value)


def _full_model_name(value: msgspec.Raw) -> str | None:
    """Return a table's ``model`` when it is written ``provider/name``: a product's model may stand there as well."""
    text = decode_text(value) if kind_of(value) == "text" else ""
    return text if "/" in text else None


def _check_input(value: msgspec.Raw) -> None:
    kind = kind_of(value)
    if kind not in {"text", "a list"}:
        raise BadRow(f"input is {kind}", "it must be text or a list")
    if len(value) == len(b'""') if kind == "text" else bytes(value)[1:].lstrip() == b"]":
        raise BadRow("input is empty", "give it text, or remove the row")


def _native_body(row: Row) -> Row:
    body = row.get("body", NULL)
    if kind_of(body) != "an object":
        raise BadRow(f"body is {excerpt(body)}", "it must be the request as an object")
    fields = decode_row(body)
    repeated = repeated_key(bytes(body), fields)
    if repeated is not None:
        raise BadRow(f"the field {repeated!r} is given twice in body", "keep one of the two")
    return fields


def _check_native_content(endpoint: Endpoint, fields: Row) -> None:
    needed = _NEEDED_IN_BODY.get(endpoint)
    if needed is None:
        return
    if needed not in fields:
        raise BadRow(f"body has no {needed}, only {name_fields(fields)}", f"{endpoint} requests need it")
    if needed == "messages":
        check_messages(fields[needed])
    if needed == "input":
        _check_input(fields[needed])
