"""One line per event, for people or for machines."""

from __future__ import annotations

import json
import logging
import sys

from loopwright.app.logs import JsonLines, TextLines


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "loopwright.app", "levelno": 20, "levelname": "INFO", "msg": message, "created": 0}
    )
    vars(made).update(extra)
    return made


def failed() -> logging.LogRecord:
    try:
        raise ValueError("broken")
    except ValueError:
        return record("request failed", exc_info=sys.exc_info())


def test_a_line_for_people_ends_with_its_fields() -> None:
    line = TextLines().format(record("serving", url="http://x", port=1))
    assert line == "1970-01-01T00:00:00.000+00:00 info    serving url=http://x port=1"


def test_a_line_for_machines_has_its_fields_as_members() -> None:
    line = json.loads(JsonLines().format(record("serving", url="http://x")))
    assert line == {
        "at": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "loopwright.app",
        "event": "serving",
        "url": "http://x",
    }


def test_what_json_has_no_form_for_is_written_as_text() -> None:
    assert (
        json.loads(JsonLines().format(record("x", path={1}.__class__)))["path"] == "<class 'set'>"
    )


def test_an_error_brings_its_trace() -> None:
    assert "ValueError: broken" in json.loads(JsonLines().format(failed()))["trace"]
    assert TextLines().format(failed()).splitlines()[-1] == "ValueError: broken"
