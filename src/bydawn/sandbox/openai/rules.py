"""What the service refuses in a request body, with its words: ``check(body, endpoint, model)`` raises ApiError.

Run for every row of a batch and every live call. The order follows how specific a refusal is: unknown fields, plain
values, then what this very model does not take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bydawn.sandbox.openai.errors import ApiError, invalid_type, invalid_value, missing_parameter, quoted_list
from bydawn.sandbox.openai.models import known_fields
from bydawn.sandbox.openai.tokens import count_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bydawn.sandbox.openai.models import Endpoint, Model

REQUIRED: Mapping[str, str] = {
    "chat": "messages",
    "responses": "input",
    "embeddings": "input",
    "completions": "prompt",
    "moderations": "input",
}
"""The one field besides the model without which a request has no sense."""

SERVICE_TIERS = ("auto", "default", "flex", "priority")
VERBOSITIES = ("low", "medium", "high")
EMBEDDING_INPUTS_MAX = 2_048
EMBEDDING_TOKENS_MAX = 300_000
_RANGES = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
_COUNTS = {"n": 1, "max_tokens": 1, "max_completion_tokens": 1, "max_output_tokens": 16}
_SAMPLING = ("presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias")
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")


def check(body: dict[str, Any], endpoint: Endpoint, model: Model) -> None:
    """Raise ApiError for the first thing in `body` that the service would refuse."""
    if endpoint not in model.endpoints:
        raise _wrong_endpoint(endpoint, model)
    if not known_fields(endpoint).issuperset(body):
        name = next(name for name in body if name not in known_fields(endpoint))
        raise ApiError(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if REQUIRED[endpoint] not in body and "prompt" not in body:
        raise missing_parameter(REQUIRED[endpoint])
    _check_values(body)
    match endpoint:
        case "chat":
            _check_chat(body, model)
        case "responses":
            _check_responses(body, model)
        case "embeddings":
            _check_embeddings(body, model)
        case _:
            pass
    _check_context(body, endpoint, model)


def _wrong_endpoint(endpoint: str, model: Model) -> ApiError:
    if endpoint == "chat" and model.endpoints == ("responses",):
        message = "This model is only supported in v1/responses and not in v1/chat/completions."
        return ApiError(404, message, param="model")
    message = f"The model `{model.name}` does not work with this endpoint."
    return ApiError(400, message, param="model", code="unsupported_model")


# Plain values


def _check_values(body: dict[str, Any]) -> None:
    for name, (low, high) in _RANGES.items():
        _check_range(name, body.get(name), low, high)
    for name, minimum in _COUNTS.items():
        _check_count(name, body.get(name), minimum)
    tier = body.get("service_tier")
    if tier is not None and tier not in SERVICE_TIERS:
        raise invalid_value("service_tier", tier, SERVICE_TIERS)


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_type(name, "a decimal", value)
    if value > high:
        message = f"Invalid '{name}': decimal above maximum value. Expected a value <= {high}, but got {value} instead."
        raise ApiError(400, message, param=name, code="decimal_above_max_value")
    if value < low:
        message = f"Invalid '{name}': decimal below minimum value. Expected a value >= {low}, but got {value} instead."
        raise ApiError(400, message, param=name, code="decimal_below_min_value")


def _check_count(name: str, value: Any, minimum: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid_type(name, "an integer", value)
    if value < minimum:
        message = (
            f"Invalid '{name}': integer below minimum value. Expected a value >= {minimum}, but got {value} instead."
        )
        raise ApiError(400, message, param=name, code="integer_below_min_value")


# Chat


def _check_chat(body: dict[str, Any], model: Model) -> None:
    _check_messages(body["messages"], model)
    if body.get("metadata") and not body.get("store"):
        raise ApiError(400, "The 'metadata' parameter is only allowed when 'store' is enabled.", param="metadata")
    if not model.max_tokens and body.get("max_tokens") is not None:
        raise _unsupported("max_tokens", "Use 'max_completion_tokens' instead.")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise ApiError(400, message, param="max_tokens", code="invalid_parameter_combination")
    effort = _effort(body.get("reasoning_effort"), "chat", model)
    _check_chat_sampling(body, model, effort)
    _check_switches(body, model)
    _check_tools(body, model, effort)
    _check_format(body.get("response_format"), body["messages"])


def _check_messages(messages: Any, model: Model) -> None:
    if not isinstance(messages, list):
        raise invalid_type("messages", "an array of objects", messages)
    if not messages:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise ApiError(400, message, param="messages", code="empty_array")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise invalid_type(f"messages[{index}]", "an object", message)
        role = message.get("role")
        if role is None:
            raise missing_parameter(f"messages[{index}].role")
        if role not in _ROLES:
            raise invalid_value(f"messages[{index}].role", role, _ROLES)
        if not model.system and role in {"system", "developer"}:
            name = f"messages[{index}].role"
            raise _unsupported_value(name, f"Unsupported value: '{name}' does not support '{role}' with this model.")
        _check_content(message.get("content"), f"messages[{index}].content", role)


def _check_content(content: Any, name: str, role: str) -> None:
    if content is None and role in {"assistant", "function"}:
        return
    if not isinstance(content, str | list):
        got = "null" if content is None else "another type"
        raise ApiError(400, f"Invalid value for 'content': expected a string, got {got}.", param=name)


def _check_chat_sampling(body: dict[str, Any], model: Model, effort: str | None) -> None:
    if model.sampling == "any" or (model.sampling == "effort_none" and effort == "none"):
        return
    temperature = body.get("temperature")
    if temperature is not None and temperature != 1:
        message = (
            f"Unsupported value: 'temperature' does not support {temperature} with this model."
            " Only the default (1) value is supported."
        )
        raise _unsupported_value("temperature", message)
    if body.get("top_p") is not None and body["top_p"] != 1:
        raise _unsupported("top_p")
    for name in _SAMPLING:
        if body.get(name):
            raise _unsupported(name)


def _check_switches(body: dict[str, Any], model: Model) -> None:
    refused = {
        "stop": not model.stop,
        "prediction": not model.prediction,
        "audio": not model.prediction,
        "parallel_tool_calls": not model.parallel_tool_calls,
        "tools": not model.tools,
        "response_format": not model.structured,
    }
    for name, is_refused in refused.items():
        if is_refused and body.get(name) is not None and body[name] != {"type": "text"}:
            raise _unsupported(name)
    verbosity = body.get("verbosity")
    if verbosity is not None:
        _check_verbosity(verbosity, "verbosity", model)


def _check_verbosity(verbosity: Any, name: str, model: Model) -> None:
    accepted = VERBOSITIES if model.verbosity else ("medium",)
    if verbosity not in accepted:
        message = (
            f"Unsupported value: '{verbosity}' is not supported with the '{model.name}' model."
            f" Supported values are: {quoted_list(accepted)}."
        )
        raise _unsupported_value(name, message)


def _check_tools(body: dict[str, Any], model: Model, effort: str | None) -> None:
    tools = body.get("tools")
    if body.get("tool_choice") is not None and not tools and body["tool_choice"] != "none":
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise ApiError(400, message, param="tool_choice")
    if not tools or model.chat_tools == "any":
        return
    if model.chat_tools == "never" or effort != "none":
        message = (
            f"Function tools with reasoning_effort are not supported for {model.name} in /v1/chat/completions."
            " To use function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        raise ApiError(400, message, param="reasoning_effort")


def _check_format(response_format: Any, messages: list[dict[str, Any]]) -> None:
    if response_format is None:
        return
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    kinds = ("json_object", "json_schema", "text")
    if kind not in kinds:
        raise invalid_value("response_format.type", kind, kinds)
    if kind == "json_object" and not any("json" in str(message.get("content")).lower() for message in messages):
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        )
        raise ApiError(400, message, param="messages")
    if kind == "json_schema":
        _check_schema(response_format.get("json_schema"), "response_format", "response_format.json_schema")


def _check_schema(wrapper: Any, subject: str, name: str) -> None:
    if not isinstance(wrapper, dict):
        raise missing_parameter(name)
    for key in ("name", "schema"):
        if key not in wrapper:
            raise missing_parameter(f"{name}.{key}")
    problem = _strict_problem(wrapper["schema"]) if wrapper.get("strict") else None
    if problem:
        message = f"Invalid schema for {subject} '{wrapper['name']}': In context=(), {problem}"
        raise ApiError(400, message, param=name, code="invalid_json_schema")


def _strict_problem(schema: Any) -> str | None:
    """What strict mode refuses at the top of a schema."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        kind = schema.get("type") if isinstance(schema, dict) else None
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    missing = [key for key in schema.get("properties", {}) if key not in schema.get("required", [])]
    if missing:
        return (
            "'required' is required to be supplied and to be an array including every key in properties."
            f" Missing '{missing[0]}'."
        )
    return None


# Responses


def _check_responses(body: dict[str, Any], model: Model) -> None:
    reasoning = body.get("reasoning")
    if reasoning is not None and not isinstance(reasoning, dict):
        raise invalid_type("reasoning", "an object", reasoning)
    effort = _effort((reasoning or {}).get("effort"), "responses", model)
    if reasoning and not model.efforts:
        raise _unsupported("reasoning.effort")
    if model.sampling == "never" or (model.sampling == "effort_none" and effort != "none"):
        for name in ("temperature", "top_p", "top_logprobs"):
            if body.get(name) is not None and body[name] != 1:
                raise _unsupported(name)
    text = body.get("text") or {}
    if text.get("verbosity") is not None:
        _check_verbosity(text["verbosity"], "text.verbosity", model)
    text_format = text.get("format") or {}
    if text_format.get("type") == "json_schema":
        _check_schema(text_format, "response_format", "text.format")


def _effort(value: Any, endpoint: Endpoint, model: Model) -> str | None:
    """The effort in force. Raises ApiError for one the model does not take."""
    if value is None:
        return model.effort
    accepted = model.efforts_at(endpoint)
    on_chat = endpoint == "chat"
    name = "reasoning_effort" if on_chat else "reasoning.effort"
    if not accepted:
        raise _unsupported(name)
    if value not in accepted:
        what = (
            f"'reasoning_effort' does not support '{value}' with this model."
            if on_chat
            else f"'{value}' is not supported with the '{model.name}' model."
        )
        raise _unsupported_value(name, f"Unsupported value: {what} Supported values are: {quoted_list(accepted)}.")
    return str(value)


# Embeddings and context


def _check_embeddings(body: dict[str, Any], model: Model) -> None:
    inputs = embedding_inputs(body["input"])
    if not inputs or any(not text for text in inputs):
        raise ApiError(400, "Invalid 'input': input cannot be an empty string or array.", param="input")
    if len(inputs) > EMBEDDING_INPUTS_MAX:
        message = f"Invalid 'input': array too long. Expected an array with maximum length {EMBEDDING_INPUTS_MAX}."
        raise ApiError(400, message, param="input", code="array_above_max_length")
    encoding = body.get("encoding_format")
    if encoding not in {None, "float", "base64"}:
        raise invalid_value("encoding_format", encoding, ("float", "base64"))
    dimensions = body.get("dimensions")
    if dimensions is None:
        return
    if model.dimensions_fixed:
        raise ApiError(400, "This model does not support specifying dimensions.", param="dimensions")
    _check_count("dimensions", dimensions, 1)
    if dimensions > model.dimensions:
        message = f"Invalid value for 'dimensions' = {dimensions}. Must be less than or equal to {model.dimensions}."
        raise ApiError(400, message, param="dimensions")


def embedding_inputs(value: Any) -> list[Any]:
    """The single inputs of an embeddings request: texts, or lists of tokens."""
    if not isinstance(value, list):
        return [value]
    return [value] if value and isinstance(value[0], int) else value


def _check_context(body: dict[str, Any], endpoint: Endpoint, model: Model) -> None:
    tokens = count_body(body, endpoint)
    limit = EMBEDDING_TOKENS_MAX if endpoint == "embeddings" else model.context_tokens
    if tokens > limit:
        message = (
            f"This model's maximum context length is {limit} tokens. However, your messages resulted in"
            f" {tokens} tokens. Please reduce the length of the messages."
        )
        raise ApiError(400, message, param=REQUIRED[endpoint], code="context_length_exceeded")


def _unsupported(name: str, advice: str = "") -> ApiError:
    message = f"Unsupported parameter: '{name}' is not supported with this model. {advice}".strip()
    return ApiError(400, message, param=name, code="unsupported_parameter")


def _unsupported_value(name: str, message: str) -> ApiError:
    return ApiError(400, message, param=name, code="unsupported_value")
