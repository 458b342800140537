"""The table of what can go wrong: one kind for each row of what was seen on the wire.

Texts without a capture behind them are marked as inferred.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson

from vision_pipeline.core.tokens import text_tokens
from vision_pipeline.emulator.effects import (
    Effect,
    Forbid,
    Garble,
    Refuse,
    Reply,
    Slow,
    Spoil,
    Wire,
)
from vision_pipeline.emulator.problems import (
    api_error,
    capacity_exceeded,
    detail_error,
    edge_page,
    gateway_error,
    gateway_text,
    invalid_file,
    invalid_request,
    no_route,
    object_error,
    rate_limited,
    too_large,
    unauthorized,
    unknown_model,
)

_EDGE_UNKNOWN_ERROR = 520  # Cloudflare's "web server is returning an unknown error"
_USED_UP = "Inactive subscription or usage limit reached"
_LONGEST_LOOP_TOKENS = 8192
_LOOP = "142857"
_NUMBER = re.compile(r"(?<=[:\[,])\s*-?\d+")

_EXTRA_FIELD = {
    "type": "extra_forbidden",
    "loc": ["body", "store"],
    "msg": "Extra inputs are not permitted",
    "input": False,
}
_BAD_IMAGE_STRING = {
    "type": "value_error",
    "loc": ["body"],
    "msg": "Value error, Image content must be a URL (starting with 'https') or base64 encoded "
    "image (starting with 'data:image/<format>;base64,<image-base64>')",
}


def _as_chunks(text: str, _: int) -> Reply:
    thought = {"type": "text", "text": "First look at the image, then answer."}
    thinking: dict[str, Any] = {"type": "thinking", "thinking": [thought]}
    return Reply([thinking, {"type": "text", "text": text}])


def _off_schema(text: str, _: int) -> Reply:
    # An array where an object was asked for is the violation that was seen on the wire.
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        answer = text
    wrong = [answer] if isinstance(answer, dict) else {"unexpected": answer}
    return Reply(orjson.dumps(wrong).decode())


def _digit_loop(text: str, most_tokens: int) -> Reply:
    """The answer up to its first number (without one, half of it), which then has no end."""
    number = _NUMBER.search(text)
    beginning = text[: number.end() if number else len(text) // 2]
    # A digit is a token.
    digits = min(most_tokens, _LONGEST_LOOP_TOKENS) - text_tokens(beginning)
    loop = (_LOOP * (digits // len(_LOOP) + 1))[: max(0, digits)]
    return Reply(beginning + loop, finish_reason="length")


FAULTS: Mapping[str, Effect] = {
    # The server, its gateway and the edge of the network.
    "http_500": Refuse(
        partial(api_error, 500, "Internal server error", "internal_server_error", "1000")
    ),
    "http_502": Refuse(
        partial(gateway_text, 502, "An invalid response was received from the upstream server")
    ),
    # 503 and 504 are documented without a body: inferred from the gateway's other answers.
    "http_503": Refuse(partial(gateway_error, 503, "Service unavailable")),
    "http_504": Refuse(partial(gateway_text, 504, "The upstream server is timing out")),
    "http_520": Refuse(
        partial(edge_page, _EDGE_UNKNOWN_ERROR, "Web server is returning an unknown error")
    ),
    # Limits.
    "rate_limited": Refuse(rate_limited),
    "rate_limited_old": Refuse(partial(object_error, 429, message="Requests rate limit exceeded")),
    "capacity": Refuse(capacity_exceeded),
    "limit_zero": Forbid(),
    # The key and the plan.
    "unauthorized": Refuse(unauthorized),
    "unauthorized_old": Refuse(partial(detail_error, 401, "Unauthorized")),
    "unauthorized_gateway": Refuse(partial(gateway_error, 401, "Unauthorized")),
    "plan_used_up": Refuse(partial(gateway_error, 401, _USED_UP)),
    "plan_used_up_old": Refuse(partial(gateway_error, 403, _USED_UP)),
    "labs_only": Refuse(  # the status and the code were seen, the words are inferred
        partial(api_error, 403, "This model needs access to Labs", "forbidden", "1913")
    ),
    "guardrail": Refuse(  # the status is documented, the body is inferred
        partial(api_error, 403, "Content blocked by guardrail", "guardrail_violation", None)
    ),
    # The address and the model.
    "unknown_model": Refuse(partial(unknown_model, HTTPStatus.BAD_REQUEST, "nobody")),
    "retired_model": Refuse(partial(unknown_model, HTTPStatus.NOT_FOUND, "nobody")),
    "model_not_found": Refuse(
        partial(api_error, 404, "Model not found", "model_not_found", "3040")
    ),
    "no_route": Refuse(no_route),
    "not_found": Refuse(partial(detail_error, 404, "Not Found")),
    # The request.
    "too_long": Refuse(
        partial(
            api_error,
            400,
            "Prompt 264620 > 262144 maximum context length",
            "invalid_request_prompt_too_long",
            "3059",
        )
    ),
    "message_order": Refuse(
        partial(
            invalid_request,
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got "
            "assistant",
            kind="invalid_request_message_order",
        )
    ),
    "bad_image": Refuse(partial(invalid_file, "Image data could not be decoded")),  # inferred
    "unfetchable_image": Refuse(
        partial(invalid_file, "File could not be fetched from url 'https://example.com/a.png'")
    ),
    "unfetchable_document": Refuse(partial(invalid_request, "Failed to fetch document")),
    "bad_image_string": Refuse(partial(detail_error, 422, [_BAD_IMAGE_STRING])),
    "bad_schema": Refuse(
        partial(invalid_request, "Grammar error: at 3(11): failed to compile JSON schema")
    ),
    "body_too_large": Refuse(too_large),
    "invalid_422": Refuse(partial(detail_error, 422, [_EXTRA_FIELD])),
    "invalid_422_old": Refuse(
        partial(
            object_error,
            422,
            object="error",
            message={"detail": [_EXTRA_FIELD]},
            type="invalid_request_error",
            param=None,
            code=None,
        )
    ),
    "invalid_422_conversations": Refuse(
        partial(
            object_error,
            422,
            object="Error",
            detail=[_EXTRA_FIELD],
            message=[_EXTRA_FIELD],
            type="invalid_request_error",
            code=3001,
        )
    ),
    # The connection.
    "reset": Wire("reset"),
    "stall": Wire("stall"),
    "slow": Slow(),
    # Status 200.
    "empty_body": Garble(lambda _: b""),
    "cut_body": Garble(lambda body: body[: len(body) // 2]),
    "null_content": Spoil(lambda _text, _most: Reply(None)),
    "chunk_list": Spoil(_as_chunks),
    "fenced": Spoil(lambda text, _: Reply(f"```json\n{text}\n```")),
    "invalid_json": Spoil(lambda text, _: Reply(f"Here is the answer: {text[:-1]}")),
    "off_schema": Spoil(_off_schema),
    "length": Spoil(lambda text, _: Reply(text[: len(text) // 2], finish_reason="length")),
    "digit_loop": Spoil(_digit_loop),
}
