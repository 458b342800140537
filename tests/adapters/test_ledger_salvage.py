"""Damaged ledgers, salvaged: what is saved was there, and what is lost is counted."""

import asyncio
import io
import struct
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.ledgers import (
    FORMAT_1,
    PAGE,
    bodies,
    cut,
    files,
    fill,
    first_format,
    key,
    killed,
    leaves,
    overwrite,
    plainly,
    row,
    rows,
)
from vision_pipeline.adapters.ledger.opening import connect
from vision_pipeline.adapters.ledger.pages import Reader, values
from vision_pipeline.adapters.ledger.salvage import UNKNOWN_RUN, salvage
from vision_pipeline.adapters.ledger.schema import INSERT, SCHEMA_VERSION, TABLE
from vision_pipeline.adapters.ledger.snapshot import Snapshot
from vision_pipeline.adapters.ledger.verification import is_sound, verify
from vision_pipeline.adapters.ledger.writer import SqliteLedger
from vision_pipeline.core.errors import OutputError, StorageError

NOW = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
KEPT = "ledger.damaged-20261201T093000Z.sqlite"
COUNT = 400


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "ledger.sqlite"


@pytest.fixture
def whole(path):
    """A ledger, and what is in it by number."""
    fill(path, rows(COUNT))
    return bodies(path)


def salvaged(path, whole):
    """What salvage reports; the new file is sound, and what it holds was there."""
    found = salvage(path, now=NOW)
    saved = bodies(path)
    assert saved.items() <= whole.items()
    assert len(saved) == found.replies
    assert verify(path, now=NOW).findings == []
    return found


# --- what is saved


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_of_a_ledger_that_was_cut_all_replies_before_the_cut_are_saved(path, whole, share):
    cut(path, share)
    left = share * len(whole)
    found = salvaged(path, whole)
    assert found.replies > 0.7 * left
    assert found.missing_pages > 0
    assert 0 < sum(found.lost.values()) <= COUNT - found.replies


def test_a_page_that_was_overwritten_costs_its_own_replies_only(path, whole):
    overwrite(path, leaves(path)[20:25])
    found = salvaged(path, whole)
    assert COUNT - 5 * 40 < found.replies < COUNT
    assert sum(found.lost.values()) == COUNT - found.replies
    assert set(found.lost) == {"run-1"}


def test_the_first_pages_are_needed_by_no_reply_on_the_others(path, whole):
    overwrite(path, range(1, 5))
    assert salvaged(path, whole).replies > 0.95 * COUNT


def test_replies_without_an_index_entry_are_of_an_unknown_run(path, whole):
    data = path.read_bytes()
    kinds = {page: data[(page - 1) * PAGE] for page in range(2, len(data) // PAGE + 1)}
    overwrite(path, [page for page, kind in kinds.items() if kind in {0x02, 0x05, 0x0A}])
    overflow = next(page for page, kind in kinds.items() if kind == 0)
    overwrite(path, [overflow])
    assert salvaged(path, whole).lost == {UNKNOWN_RUN: 1}


@pytest.mark.parametrize("lost", [True, False])
def test_replies_that_are_only_in_the_log_are_saved_with_or_without_the_file(path, lost):
    killed(path, rows(COUNT))
    if lost:
        path.unlink()
    found = salvage(path, now=NOW)
    assert (found.replies, found.lost) == (COUNT, {})
    assert bodies(path) == {n + 1: each[2] for n, each in enumerate(rows(COUNT))}


def test_the_log_stands_in_for_damaged_pages_of_the_file(path):
    killed(path, rows(COUNT))
    log = path.with_name("ledger.sqlite-wal").read_bytes()
    with plainly(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(path, leaves(path))
    path.with_name("ledger.sqlite-wal").write_bytes(log)
    assert salvage(path, now=NOW).replies == COUNT


def test_a_ledger_that_lost_its_log_keeps_what_was_in_the_file(path):
    killed(path, rows(40, seed=1), checkpointed=rows(COUNT))
    path.with_name("ledger.sqlite-wal").unlink()
    overwrite(path, [1])
    assert salvage(path, now=NOW).replies == COUNT


def test_a_damaged_log_hides_no_commits_behind_the_damage(path):
    killed(path, rows(5))
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(50):
            connection.execute(INSERT, row(f"late {number}"))
        log = bytearray(path.with_name("ledger.sqlite-wal").read_bytes())
        file = path.read_bytes()
    log[10 * (PAGE + 24) + 500] ^= 0xFF
    path.write_bytes(file)
    path.with_name("ledger.sqlite-wal").write_bytes(log)
    with pytest.raises(OutputError, match="commits behind the damage"):
        connect(path)
    assert salvage(path, now=NOW).replies == 55


def test_the_newest_reply_of_a_question_stays_the_newest(path):
    fill(path, [row("a", run_id="run-1"), *rows(50), row("a", run_id="run-9")])
    overwrite(path, [1])
    salvage(path, now=NOW)
    with closing(SqliteLedger(path)) as ledger:
        assert asyncio.run(ledger.recall(key("a"))).paid_by == "run-9/a.png"


def test_replies_that_were_pruned_do_not_come_back(path, whole):
    with plainly(path) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM replies WHERE number > 200")
    overwrite(path, leaves(path)[:1])
    salvage(path, now=NOW)
    assert max(bodies(path)) == 200


@pytest.mark.parametrize(
    "nonsense",
    [
        {"key": b"short"},
        {"body": "text"},
        {"body": b"no completion"},
        {"run_id": b"5"},
        {"attempts": 0},
        {"latency_s": -1.0},
        {"cost_usd": "much"},
        {"answered_at": "soon"},
    ],
)
def test_rows_that_no_run_can_use_are_left_behind_and_counted(path, nonsense):
    fill(path, [row("a"), row("b", **nonsense)])
    found = salvage(path, now=NOW)
    assert found.replies == 1
    assert sum(found.lost.values()) == 1


@pytest.mark.parametrize("page_size", [512, 1024, 65536])
def test_pages_may_have_any_size(path, page_size):
    with plainly(path) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        for statement in FORMAT_1:
            connection.execute(statement)
    fill(path, rows(100))
    assert salvage(path, now=NOW).replies == 100


def test_rows_of_before_columns_were_added_are_read_beside_later_ones(path):
    first_format(path, [row("a")])
    with plainly(path) as connection:
        for statement in TABLE[1:]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    fill(path, [row("b", mode="batch", tokens=7)])
    assert salvage(path, now=NOW).replies == 2
    with plainly(path) as connection:
        found = connection.execute("SELECT mode, tokens FROM replies").fetchall()
    assert found == [("realtime", 110), ("batch", 7)]


# --- pages


def page(*cells, kind=0x0D, count=None, size=512):
    """A page with these cells at its end; `count` is what its header claims."""
    content, pointers = bytearray(size), []
    at = size
    for cell in cells:
        at -= len(cell)
        content[at : at + len(cell)] = cell
        pointers.append(at)
    head = struct.pack(">BHHHB", kind, 0, len(cells) if count is None else count, at, 0)
    head += struct.pack(f">{len(pointers)}H", *pointers)
    content[: len(head)] = head
    return bytes(content)


ROW = b"\x03\x07\x02\x01\x2a"  # 3 bytes, row 7: a header of 2 bytes, an integer of 1 byte, 42
MOST = b"\xff" * 9  # the largest varint


def records(content, pages=()):
    reader = Reader(512, dict(enumerate(pages, 1)).get, max(1, len(pages)))
    return [(each.number, each.values) for each in reader.records(content, is_first=False)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (page(ROW), [(7, (42,))]),
        (page(ROW, kind=0x77), []),
        (page(ROW, count=300), []),
        (page(ROW, MOST + MOST, ROW), [(7, (42,)), (7, (42,))]),
        (page(MOST + b"\x07"), [(7, None)]),
        (page(b"\x03\x07\x02\x0a\x2a"), [(7, None)]),
        (page(b"\x04\x07\x02\x01\x2a\x00"), [(7, None)]),
        (page(b"\x7f\x07\x02\x01\x2a"), [(7, None)]),
    ],
)
def test_a_page_gives_the_records_that_can_be_read(content, found):
    assert records(content) == found


def test_a_list_of_free_pages_ends_where_it_is_broken():
    trunk = struct.pack(">4I", 2, 2, 5, 6).ljust(512, b"\0")
    broken = struct.pack(">2I", 1, 60_000).ljust(512, b"\0")
    reader = Reader(512, {1: trunk, 2: broken}.get, 9)
    assert reader.free_pages(1) == {1, 2, 5, 6}
    assert reader.free_pages(9) == set()


class BadSector(io.BytesIO):
    """A file of which the disk does not give page 9."""

    def read(self, *size):
        if self.tell() == 8 * PAGE:
            raise OSError(5, "Input/output error")
        return super().read(*size)


def test_a_page_that_the_disk_does_not_give_is_missing_and_no_other(path, whole):
    pages = Snapshot(BadSector(path.read_bytes()), None, None)
    numbers = {each.number for each in pages.records() if each.values and len(each.values) == 12}
    assert 0.9 * COUNT < len(numbers) < COUNT
    assert pages.missing_pages == 1


@pytest.mark.parametrize("log", [b"nonsense" * 1000, b"short"])
def test_a_log_that_is_none_is_passed_over(path, whole, log):
    overwrite(path, [1])
    path.with_name("ledger.sqlite-wal").write_bytes(log)
    assert salvage(path, now=NOW).replies == COUNT


def test_a_log_without_a_commit_is_passed_over(path):
    killed(path, rows(1), checkpointed=rows(COUNT))
    log = path.with_name("ledger.sqlite-wal")
    log.write_bytes(log.read_bytes()[: 32 + 24 + PAGE])
    overwrite(path, [1])
    assert salvage(path, now=NOW).replies == COUNT


def test_a_header_that_is_none_is_not_believed(path, whole):
    with path.open("r+b") as file:
        file.seek(16)
        file.write(struct.pack(">H", 999))
    assert salvage(path, now=NOW).replies == COUNT


# --- the damaged file


def test_the_damaged_file_is_kept_byte_for_byte_with_its_log(path):
    killed(path, rows(40, seed=1), checkpointed=rows(COUNT))
    cut(path, 0.5)
    before = files(path.parent)
    found = salvage(path, now=NOW)
    after = files(path.parent)
    assert found.kept == str(path.with_name(KEPT))
    assert after.pop("ledger.sqlite")
    assert after == {KEPT: before["ledger.sqlite"], f"{KEPT}-wal": before["ledger.sqlite-wal"]}


def test_a_second_damaged_file_of_the_same_second_gets_a_name_of_its_own(path, whole):
    path.with_name(KEPT).write_bytes(b"the first one")
    cut(path, 0.5)
    found = salvage(path, now=NOW)
    assert Path(found.kept).name == "ledger.damaged-20261201T093000Z-2.sqlite"
    assert path.with_name(KEPT).read_bytes() == b"the first one"


def test_a_file_system_without_links_keeps_it_as_well(path, whole, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    cut(path, 0.5)
    damaged = path.read_bytes()
    salvage(path, now=NOW)
    assert path.with_name(KEPT).read_bytes() == damaged


# --- what is refused, and changes nothing


@pytest.mark.parametrize("content", [b"", b"image,total\n" * 1000, bytes(40_000)])
def test_a_file_without_any_reply_is_left_as_it_is(path, content):
    path.write_bytes(content)
    with pytest.raises(OutputError, match="no reply in it can be read"):
        salvage(path, now=NOW)
    assert files(path.parent) == {"ledger.sqlite": content}


def test_a_file_that_is_not_there_is_told(path):
    with pytest.raises(OutputError, match="no such file"):
        salvage(path, now=NOW)


def test_a_file_of_a_newer_format_is_left_to_a_newer_version(path, whole):
    with plainly(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(OutputError, match="upgrade vision-pipeline"):
        salvage(path, now=NOW)


def test_a_folder_is_no_ledger(tmp_path):
    with pytest.raises(OutputError, match="directory"):
        salvage(tmp_path, now=NOW)


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM replies").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_that_a_run_has_open_is_not_taken_from_it(path, whole):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], **pipes) as process:
        process.stdout.readline()
        with pytest.raises(OutputError, match="another process has it open"):
            salvage(path, now=NOW)
        process.stdin.close()
    assert bodies(path) == whole


def test_a_disk_without_room_is_told_and_leaves_no_draft(path, whole, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vision_pipeline.adapters.ledger.salvage.os.fsync", full)
    cut(path, 0.5)
    before = files(path.parent)
    with pytest.raises(StorageError, match="No space left"):
        salvage(path, now=NOW)
    assert files(path.parent) == before


# --- laws


def nonsense():
    return st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=200, max_size=5000)), min_size=1)


@given(stretches=nonsense())
def test_whatever_bytes_are_overwritten_the_outcome_is_a_sound_ledger_or_none(
    tmp_path_factory, stretches
):
    path = tmp_path_factory.mktemp("law") / "ledger.sqlite"
    fill(path, rows(30))
    content = bytearray(path.read_bytes())
    for where, stretch in stretches:
        at = int(where * (len(content) - len(stretch)))
        content[at : at + len(stretch)] = stretch
    path.write_bytes(content)
    with suppress(OutputError):
        salvage(path, now=NOW)
        content = b""
        assert is_sound(path, now=NOW)
    assert not content or path.read_bytes() == content


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_refused(payload):
    with suppress(ValueError, IndexError, struct.error):
        assert isinstance(values(payload), tuple)
