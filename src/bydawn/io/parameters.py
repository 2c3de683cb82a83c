"""Model parameters: reading them from the command line, and the few checks that hold for every provider.

Only what is certain is checked, because a wrong refusal stops a whole file: types of common parameters. Values, and
parameters not listed here, are for the adaptation rules and the provider to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from bydawn.errors import ConfigError
from bydawn.io.rows import BadRow, encode_json, excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOT_PARAMETERS = frozenset({"id", "custom_id", "messages", "prompt", "input", "model", ""})

_Positive = Annotated[int, Meta(ge=1)]

_TYPES: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (float, "a number", ("temperature", "top_p", "presence_penalty", "frequency_penalty")),
    (
        _Positive,
        "a whole number of 1 or more",
        ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "dimensions"),
    ),
    (Annotated[int, Meta(ge=0)], "a whole number of 0 or more", ("top_logprobs",)),
    (int, "a whole number", ("seed",)),
    (bool, "true or false", ("stream", "parallel_tool_calls", "store")),
    (list[dict[str, msgspec.Raw]], "a list of objects", ("tools",)),
    (str | list[str], "text or a list of texts", ("stop",)),
    (dict[str, msgspec.Raw], "an object", ("response_format", "logit_bias", "stream_options", "reasoning")),
    (str, "text", ("reasoning_effort", "service_tier", "user", "instructions")),
)

_CHECKS = {name: msgspec.json.Decoder(kind | None).decode for kind, _, names in _TYPES for name in names}
_EXPECTED = {name: expected for _, expected, names in _TYPES for name in names}


TEXT_PARAMETERS = frozenset(name for kind, _, names in _TYPES if kind is str for name in names)
"""Parameters that are text whatever they look like."""


def check_parameters(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raise BadRow for the first field whose value cannot be what its name says."""
    for name, value in fields.items():
        check = _CHECKS.get(name)
        if check is not None:
            try:
                check(value)
            except (msgspec.DecodeError, RecursionError):
                raise BadRow(f"{name} is {excerpt(value)}", f"it must be {_EXPECTED[name]}") from None


def parse_params(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``name=value`` options: values as JSON where they parse, else as text.

    ``["temperature=0.2", 'stop=["END"]', "reasoning_effort=low"]`` becomes a mapping of three. Raises ConfigError for
    a missing ``=``, a name that is no parameter or is given twice, and a value of the wrong type.
    """
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if equals and name and name in _NOT_PARAMETERS:
            raise ConfigError(f"{name} is no parameter", hint="It belongs in the rows; the model is named with -m.")
        if not equals or not name:
            raise ConfigError(f"--param {text!r} does not set a parameter", hint="Write name=value: temperature=0.2")
        if name in params:
            raise ConfigError(f"--param {name} is given twice", hint="Keep one of the two.")
        params[name] = _parse_value(value)
    encode_params(params)
    return params


def _parse_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text


def encode_params(params: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    """Return parameters as JSON values. Raises ConfigError for one that is no JSON or of the wrong type."""
    try:
        fields = {name: msgspec.Raw(encode_json(value)) for name, value in params.items()}
        check_parameters(fields)
    except BadRow as bad:
        raise ConfigError(f"parameter {bad.message}", hint=f"{bad.remedy.capitalize()}.") from None
    except (TypeError, UnicodeEncodeError, RecursionError) as error:
        raise ConfigError(f"a parameter cannot be written as JSON: {error}") from None
    return fields
