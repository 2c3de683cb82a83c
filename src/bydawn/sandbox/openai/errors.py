"""OpenAI's error objects: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An error answer; raised anywhere while a request is handled."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": type, "param": param, "code": code}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {"error": self.error}


class FileFormatError(ApiError):
    """A batch input refused at upload; its body has an odd second part."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)

    @property
    def body(self) -> dict[str, Any]:
        message = self.error["message"]
        return {"error": self.error, "detail": {"message": message, "code": None}}


def missing_parameter(name: str) -> ApiError:
    """A required field is absent."""
    return ApiError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def invalid_value(name: str, value: object, supported: tuple[str, ...]) -> ApiError:
    """A field holds none of its possible values."""
    message = f"Invalid value: '{value}'. Supported values are: {quoted_list(supported)}."
    return ApiError(400, message, param=name, code="invalid_value")


def invalid_type(name: str, expected: str, value: object) -> ApiError:
    """A field holds another type than `expected` (such as ``a string``)."""
    message = f"Invalid type for '{name}': expected {expected}, but got {type_name(value)} instead."
    return ApiError(400, message, param=name, code="invalid_type")


QUOTA_CODES = frozenset(
    {
        "insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
    }
)  # fmt: skip
"""Codes of a 429 that waiting does not cure."""


def quota_exceeded(code: str = "insufficient_quota") -> ApiError:
    """The account has no money: waiting does not help."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return ApiError(429, message, type="insufficient_quota", code=code)


def error_of_status(status: int, code: str | None = None) -> ApiError:
    """A typical error for an HTTP status, with another code when one is given."""
    match status:
        case 401:
            return ApiError(401, "Incorrect API key provided.", code=code or "invalid_api_key")
        case 429 if code in QUOTA_CODES:
            return quota_exceeded(code)
        case 429:
            message = "Rate limit reached for requests. Please try again later."
            kind = "rate_limit_error" if code == "slow_down" else "requests"
            return ApiError(429, message, type=kind, code=code or "rate_limit_exceeded")
        case 503:
            message = "The server is overloaded. Please try again later."
            return ApiError(503, message, type="service_unavailable_error", code=code or "server_is_overloaded")
        case _ if status >= 500:
            message = "The server had an error while processing your request. Sorry about that!"
            return ApiError(status, message, type="server_error", code=code or "server_error")
        case _:
            return ApiError(status, f"The request was refused with status {status}.", code=code)


def quoted_list(values: tuple[str, ...]) -> str:
    """``'a', 'b', and 'c'``."""
    quoted = [f"'{value}'" for value in values]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def type_name(value: object) -> str:
    """How the service names a JSON value's type, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
