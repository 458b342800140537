import orjson
import pytest

from vision_pipeline.core.batch_refusals import Call, batch_refusal, check_has_batches
from vision_pipeline.core.errors import (
    AccessError,
    ConfigError,
    EndpointError,
    ErrorCode,
    GoneError,
    NoBatchApiError,
    QueueError,
    RefusedFileError,
    RetryableError,
)
from vision_pipeline.core.rate_headers import RateHeaders

SILENT = RateHeaders()


def error(call, status, body=b"", rate=SILENT):
    return batch_refusal(call, status, body, rate=rate)


def told(message, **fields):
    return orjson.dumps({"error": {"message": message, **fields}})


@pytest.mark.parametrize(
    ("call", "status", "body", "kind", "words"),
    [
        (Call.LIST, 401, b'{"detail":"Invalid API Key"}', AccessError, "the key"),
        (Call.UPLOAD, 403, b"", AccessError, "the key"),
        (Call.CREATE, 429, told("no", code="insufficient_quota"), AccessError, "used up"),
        (Call.CREATE, 429, told("Too many pending requests"), QueueError, "later"),
        (Call.CREATE, 422, told("Limit of 1000000 queued requests"), QueueError, "later"),
        (Call.CREATE, 503, told("queue limit"), RetryableError, "503"),
        (Call.UPLOAD, 404, b"", NoBatchApiError, "no Batch API"),
        (Call.LIST, 405, b"", NoBatchApiError, "no Batch API"),
        (Call.CREATE, 404, b'{"message":"no Route matched"}', NoBatchApiError, "no Batch API"),
        (Call.LOOK, 404, b"", GoneError, "or no longer"),
        (Call.CREATE, 404, b'{"detail":"File x not found"}', GoneError, "File x"),
        (Call.LOOK, 502, b"<html>", RetryableError, "HTTP 502: <html>"),
        (Call.UPLOAD, 408, b"", RetryableError, "HTTP 408"),
        (Call.UPLOAD, 413, b"", RefusedFileError, "of that size"),
        (Call.UPLOAD, 422, b'{"detail":"Invalid file format."}', RefusedFileError, "no such file"),
        (Call.UPLOAD, 422, b'{"detail":"x","errors":[{"a":1}]}', RefusedFileError, "no such file"),
        (Call.CREATE, 422, b'{"detail":"Model m is not accessible"}', EndpointError, "model.name"),
        (Call.CREATE, 400, told("no", code="model_not_found"), EndpointError, "model.name"),
        (Call.CREATE, 422, b'{"detail":"timeout_hours"}', EndpointError, "refuses the request"),
        (Call.LIST, 301, b"", EndpointError, "refuses the request"),
    ],
)
def test_the_table(call, status, body, kind, words):
    raised = error(call, status, body)
    assert type(raised) is kind
    assert words in str(raised)
    assert str(call) in str(raised)


def test_a_limit_tells_how_long_to_wait():
    limited = error(Call.LOOK, 429, b"", RateHeaders(retry_after_s=7))
    assert (limited.code, limited.retry_after_s) == (ErrorCode.RATE_LIMITED, 7)
    assert limited.is_rate_limit
    assert not error(Call.LOOK, 500).is_rate_limit


def test_a_refused_file_names_the_lines_at_fault():
    errors = [{"message": f"wrong {n}", "line_number": n} for n in range(1, 3)]
    refused = error(Call.UPLOAD, 422, orjson.dumps({"detail": "Invalid", "errors": errors}))
    assert str(refused).endswith("2 of its lines: line 1: wrong 1; line 2: wrong 2")
    assert [fault.number for fault in refused.faults] == [1, 2]


@pytest.mark.parametrize("host", ["api.eu.mistral.ai", "api.us.mistral.ai"])
def test_regional_endpoints_are_refused(host):
    with pytest.raises(ConfigError, match="regional"):
        check_has_batches(f"https://{host}/v1")
    check_has_batches("https://api.mistral.ai/v1")
