"""What a client is told when something is refused or fails: status, code, message, and nothing else."""

from __future__ import annotations

from typing import Any

from banyan.core.errors import (
    BanyanError,
    ConfigError,
    ContextLengthError,
    DataError,
    InputError,
    StoreError,
    UnknownLanguageError,
)


class ApiError(Exception):
    """A refusal in the OpenAI error shape; every 4xx and 5xx body of this server is made from one."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        details: dict[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = headers or {}
        self.details = details or {}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body: {"error": {message, type, param, code}}."""
        error = {"message": self.message, "type": error_type(self.status), "param": self.param, "code": self.code}
        return {"error": {**error, **self.details}}


def error_type(status: int) -> str:
    """Return the family of an error, in the words of the OpenAI protocol."""
    families = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return families.get(status, "server_error" if status >= 500 else "invalid_request_error")


def bad_request(code: str, message: str, *, param: str | None = None) -> ApiError:
    """Return a 400."""
    return ApiError(400, code, message, param=param)


def not_found(message: str = "not found", *, code: str = "not_found", param: str | None = None) -> ApiError:
    """Return a 404; the same one whether a thing is missing or belongs to somebody else."""
    return ApiError(404, code, message, param=param)


def unavailable(code: str, message: str, *, retry_after_seconds: int = 2) -> ApiError:
    """Return a 503 that says when to come back."""
    return ApiError(503, code, message, headers={"Retry-After": str(retry_after_seconds)})


def conflict(message: str, *, code: str = "conflict") -> ApiError:
    """Return a 409."""
    return ApiError(409, code, message)


def called_off() -> ApiError:
    """Return what is told to the client whose request somebody deleted; not one that a client tries again."""
    return ApiError(410, "request_cancelled", "this request was cancelled by DELETE /v1/outputs/{id}")


def internal_error(request_id: str) -> ApiError:
    """Return the 500 that tells nothing but where to look."""
    return ApiError(500, "internal_error", f"internal error; quote request id {request_id}")


def as_api_error(error: BaseException, *, request_id: str) -> ApiError:
    """Translate any exception; what a client may not know becomes a bare 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "timeout", "the answer took longer than this server allows")
    if isinstance(error, StoreError):
        return unavailable("storage_unavailable", "answers cannot be stored now; retry in 2 s")
    if isinstance(error, ContextLengthError):
        details = {"n_prompt_tokens": error.num_prompt_tokens, "n_ctx": error.max_seq_len}
        return ApiError(400, "context_length_exceeded", error.message, details=details)
    if isinstance(error, UnknownLanguageError):
        return bad_request("unsupported_language", _with_hint(error), param=error.field)
    if isinstance(error, InputError | DataError | ConfigError):
        return bad_request("invalid_value", _with_hint(error))
    return internal_error(request_id)


def where_raised(error: BaseException) -> str:
    """Name an exception and the place it was raised at, for the log; its message may hold what somebody wrote."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}{place}"


def _with_hint(error: BanyanError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
