"""The error tree: what each error does to a run, and what users filter tables by."""

import inspect

import pytest

from vision_pipeline.core import errors
from vision_pipeline.core.errors import ErrorCode, ItemError, RetryableError, RunError


def test_error_codes_are_the_documented_ones():
    assert {str(code) for code in ErrorCode} == {
        "source_missing",
        "unreadable_image",
        "unsupported_format",
        "image_too_large",
        "image_count",
        "unrendered_prompt",
        "blocked_url",
        "refused_request",
        "content_filtered",
        "truncated_answer",
        "invalid_answer",
        "rate_limited",
        "model_unavailable",
        "timeout",
    }


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_a_meaning_in_one_line(code):
    assert code.meaning
    assert "\n" not in code.meaning


def test_only_what_may_pass_by_itself_is_tried_again():
    assert {code for code in ErrorCode if code.is_transient} == {
        ErrorCode.SOURCE_MISSING,
        ErrorCode.RATE_LIMITED,
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.TIMEOUT,
    }


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (errors.ConfigError, 2),
        (errors.SourceError, 2),
        (errors.OutputError, 2),
        (errors.StorageError, 3),
        (errors.StoppedError, 3),
        (errors.BudgetError, 3),
        (errors.AccessError, 3),
        (errors.EndpointError, 3),
        (errors.QueueError, 3),
        (errors.GoneError, 3),
        (errors.RefusedFileError, 3),
    ],
)
def test_an_error_that_stops_the_run_knows_its_exit_code(error, exit_code):
    assert issubclass(error, RunError)
    assert error.exit_code == exit_code


def test_an_item_error_stops_no_run_and_keeps_its_code():
    error = ItemError(ErrorCode.UNREADABLE_IMAGE, "cut after 10 bytes")
    assert not isinstance(error, RunError)
    assert (error.code, error.detail, str(error)) == (
        "unreadable_image",
        "cut after 10 bytes",
        "cut after 10 bytes",
    )


def test_a_retryable_error_names_no_wait_unless_it_is_told_one():
    error = RetryableError(ErrorCode.TIMEOUT, "no reply")
    assert (error.code, error.detail) == ("timeout", "no reply")
    assert error.retry_after_s is None
    assert not error.is_rate_limit


def test_the_drawn_tree_names_every_error():
    kinds = inspect.getmembers(errors, inspect.isclass)
    classes = {name for name, kind in kinds if issubclass(kind, Exception)}
    assert {name for name in classes if name not in errors.__doc__} == set()


def test_only_what_tells_of_an_images_bytes_may_change_with_them():
    found = {code for code in ErrorCode if code.is_of_image}
    assert found == {"unreadable_image", "unsupported_format", "image_too_large"}
