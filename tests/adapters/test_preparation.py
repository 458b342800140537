"""Worker processes: what crashes, hangs or eats memory in them costs one image and nothing else."""

import asyncio
import os
import sys
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from vision_pipeline.adapters.preparation import Preparer, WorkerLimits
from vision_pipeline.adapters.preparation.frames import read_frame, write_frame
from vision_pipeline.adapters.preparation.worker import serve
from vision_pipeline.adapters.preparation.workers import Workers, _Worker
from vision_pipeline.core.errors import ErrorCode, ItemError, RunError, StoppedError
from vision_pipeline.core.image_settings import ImageSettings
from vision_pipeline.core.records import SourceImage

MOST = 10 * 1024 * 1024
PREPARE = {"do": "prepare", "page": None, "max_sent_bytes": MOST}
posix = pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")


def encoded(kind="PNG", size=(60, 40), **options):
    written = BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(written, kind, **options)
    return written.getvalue()


@pytest.fixture
def workers():
    """A maker of workers that run a real worker, or one with something changed in it."""
    made = []

    def make(change=None, *, settings=None, limits=None, count=1):
        command = ("-m", "vision_pipeline.adapters.preparation.worker")
        if change is not None:
            module = "import vision_pipeline.adapters.preparation.worker as worker"
            command = ("-c", f"{module}, os, signal, time\n{change}\nworker.main()")
        pool = Workers(
            settings or ImageSettings(), limits or WorkerLimits(), count=count, command=command
        )
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def preparer():
    """A maker of preparers."""
    made = []

    def make(settings=None, limits=None, workers=1):
        made.append(Preparer(settings or ImageSettings(), limits, workers=workers))
        return made[-1]

    yield make
    for each in made:
        each.close()


def code_of(call):
    with pytest.raises(ItemError) as caught:
        call()
    return caught.value.code, caught.value.detail


async def test_an_image_that_has_to_change_is_prepared_in_another_process(preparer):
    source = SourceImage(encoded("BMP"), version="v1")
    prepared = await preparer().prepare(source, page=None, max_sent_bytes=MOST)
    assert prepared.source_format == "BMP"
    assert prepared.version == "v1"
    assert Image.open(BytesIO(prepared.data)).size == (60, 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("verify", ["full", "structure"])
async def test_an_image_that_may_stay_goes_out_byte_for_byte(preparer, kind, verify):
    source = encoded(kind)
    ours = preparer(ImageSettings(verify=verify))
    prepared = await ours.prepare(SourceImage(source), page=None, max_sent_bytes=MOST)
    assert prepared.data == source


async def test_a_damaged_file_that_would_stay_is_found_by_a_worker_before_it_is_sent(preparer):
    noise = BytesIO()
    Image.effect_noise((400, 300), 90).save(noise, "PNG")
    bent = bytearray(noise.getvalue())
    bent[len(bent) // 2] ^= 0xFF
    source = SourceImage(bytes(bent))
    with pytest.raises(ItemError) as caught:
        await preparer().prepare(source, page=None, max_sent_bytes=MOST)
    assert caught.value.code == ErrorCode.UNREADABLE_IMAGE
    hasty = preparer(ImageSettings(verify="structure"))
    sent = await hasty.prepare(source, page=None, max_sent_bytes=MOST)
    assert sent.data == source.data


async def test_a_smaller_share_of_the_request_makes_a_smaller_image(preparer):
    noise = BytesIO()
    Image.effect_noise((600, 600), 90).save(noise, "JPEG", quality=95)
    source = SourceImage(noise.getvalue())
    prepared = await preparer().prepare(source, page=None, max_sent_bytes=40_000)
    assert len(prepared.data) <= 40_000


async def test_pages_are_prepared_one_by_one(preparer):
    pages = [Image.new("L", (30 + n, 20), 40 * n) for n in range(3)]
    document = BytesIO()
    pages[0].save(document, "TIFF", save_all=True, append_images=pages[1:])
    ours = preparer()
    for number in (1, 2, 3):
        source = SourceImage(document.getvalue())
        prepared = await ours.prepare(source, page=number, max_sent_bytes=MOST)
        assert (prepared.page, prepared.source_width_px) == (number, 29 + number)


def test_pages_of_a_pdf_are_counted(preparer):
    pytest.importorskip("pypdfium2")
    document = BytesIO()
    page = Image.new("L", (30, 20))
    page.save(document, "PDF", save_all=True, append_images=[page, page])
    assert preparer().count_pages(document.getvalue()) == 3


@posix
def test_a_decoder_that_crashes_costs_its_image_only(workers):
    pool = workers(
        "real = worker.prepare\n"
        "def crash(source, *rest, **more):\n"
        "    if source == b'evil': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return real(source, *rest, **more)\n"
        "worker.prepare = crash"
    )
    code, detail = code_of(lambda: pool.call(PREPARE, b"evil"))
    assert (code, detail) == (ErrorCode.UNREADABLE_IMAGE, "the decoder crashed (SIGSEGV)")
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"


@posix
def test_a_worker_that_somebody_kills_is_replaced_and_its_image_done_again(workers, tmp_path):
    flag = tmp_path / "killed"
    pool = workers(
        "real = worker.prepare\n"
        "def once(*given, **more):\n"
        f"    if not os.path.exists({str(flag)!r}):\n"
        f"        open({str(flag)!r}, 'w').close(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*given, **more)\n"
        "worker.prepare = once"
    )
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"
    assert flag.exists()


@posix
def test_a_worker_that_is_killed_again_and_again_calls_no_image_damaged(workers, tmp_path):
    kills = tmp_path / "kills"
    pool = workers(
        "real = worker.prepare\n"
        "def often(source, *given, **more):\n"
        f"    with open({str(kills)!r}, 'a') as file: print(file=file)\n"
        f"    if source == b'evil' or len(open({str(kills)!r}).read()) <= 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(source, *given, **more)\n"
        "worker.prepare = often"
    )
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"
    code, detail = code_of(lambda: pool.call(PREPARE, b"evil"))
    assert code == ErrorCode.TIMEOUT
    assert code.is_transient
    assert "killed from outside" in detail


@posix
def test_a_worker_that_somebody_stopped_is_killed_and_its_image_done_again(workers, tmp_path):
    flag = tmp_path / "stopped"
    pool = workers(
        "real = worker.prepare\n"
        "def stop(source, *rest, **more):\n"
        f"    if source == b'evil' or not os.path.exists({str(flag)!r}):\n"
        f"        open({str(flag)!r}, 'w').close(); os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    return real(source, *rest, **more)\n"
        "worker.prepare = stop",
        limits=WorkerLimits(max_s=5, grace_s=-4),  # the run is sooner than the alarm
    )
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"
    code, detail = code_of(lambda: pool.call(PREPARE, b"evil"))
    assert code == ErrorCode.IMAGE_TOO_LARGE
    assert "image.max_decode_s" in detail


@posix
def test_a_worker_that_is_killed_while_it_starts_is_started_again(workers, tmp_path):
    flag = tmp_path / "killed"
    pool = workers(
        f"if not os.path.exists({str(flag)!r}):\n"
        f"    open({str(flag)!r}, 'w').close(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"
    assert flag.exists()


@posix
def test_a_decoder_that_ends_as_some_do_without_memory_names_the_limit(workers):
    pool = workers("worker.prepare = lambda *_, **__: os.abort()")
    code, detail = code_of(lambda: pool.call(PREPARE, b"any"))
    assert code == ErrorCode.UNREADABLE_IMAGE
    assert "image.max_decode_bytes" in detail


@posix
def test_a_decoder_that_hangs_is_stopped_by_the_clock(workers):
    pool = workers(
        "real = worker.prepare\n"
        "def hang(source, *rest, **more):\n"
        "    if source == b'evil': time.sleep(600)\n"
        "    return real(source, *rest, **more)\n"
        "worker.prepare = hang",
        limits=WorkerLimits(max_s=0.3),
    )
    code, detail = code_of(lambda: pool.call(PREPARE, b"evil"))
    assert code == ErrorCode.IMAGE_TOO_LARGE
    assert detail == "decoding took longer than image.max_decode_s (0.3 s)"
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"


@linux
def test_an_image_that_needs_more_memory_than_allowed_is_too_large(workers):
    bomb = BytesIO()
    Image.new("RGB", (8_000, 8_000)).save(bomb, "PNG", compress_level=1)
    pool = workers(limits=WorkerLimits(max_bytes=128 * 1024 * 1024))
    code, detail = code_of(lambda: pool.call(PREPARE, bomb.getvalue()))
    assert code == ErrorCode.IMAGE_TOO_LARGE
    assert "max_decode_bytes" in detail
    head, _ = pool.call(PREPARE, encoded())
    assert head["source_format"] == "PNG"


@linux
@pytest.mark.parametrize("kind", ["WEBP", "BMP"])
async def test_a_decoder_that_fails_for_want_of_memory_calls_no_healthy_file_damaged(
    preparer, kind
):
    source = SourceImage(encoded(kind, (8_000, 6_000)))
    settings = ImageSettings(max_source_bytes=200_000_000)
    ours = preparer(settings, WorkerLimits(max_bytes=128 * 1024 * 1024))
    with pytest.raises(ItemError, match=r"image\.max_decode_bytes") as caught:
        await ours.prepare(source, page=None, max_sent_bytes=MOST)
    assert caught.value.code == ErrorCode.IMAGE_TOO_LARGE
    damaged = SourceImage(encoded(kind)[:60])
    with pytest.raises(ItemError) as caught:
        await ours.prepare(damaged, page=None, max_sent_bytes=MOST)
    assert caught.value.code == ErrorCode.UNREADABLE_IMAGE


def test_a_picture_inside_of_a_picture_is_bound_by_the_same_limit(workers):
    inner = BytesIO()
    Image.new("1", (3000, 3000)).save(inner, "PNG")
    icon = b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00"
    icon += len(inner.getvalue()).to_bytes(4, "little") + (22).to_bytes(4, "little")
    pool = workers(settings=ImageSettings(max_source_pixels=1_000_000))
    code, _ = code_of(lambda: pool.call(PREPARE, icon + inner.getvalue()))
    assert code == ErrorCode.IMAGE_TOO_LARGE


def test_a_bug_of_the_worker_stops_the_run_and_names_itself(workers):
    pool = workers("worker.prepare = lambda *_, **__: 1 / 0")
    with pytest.raises(RunError, match="ZeroDivisionError: division by zero"):
        pool.call(PREPARE, b"any")


def test_a_worker_that_cannot_start_stops_the_run_and_says_why(workers):
    pool = workers("raise SystemExit('no such library')")
    with pytest.raises(RunError, match="no such library"):
        pool.call(PREPARE, b"any")
    pool = workers("os._exit(3)")
    with pytest.raises(RunError, match="exit code 3"):
        pool.call(PREPARE, b"any")


def test_a_worker_sees_no_key(workers, monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "secret")
    monkeypatch.setenv("LANG", "C.UTF-8")
    pool = workers(
        "from vision_pipeline.core.errors import ErrorCode\n"
        "def tell(*_, **__):\n"
        "    raise worker.ItemError(ErrorCode.TIMEOUT, str(dict(os.environ)))\n"
        "worker.prepare = tell"
    )
    _, environment = code_of(lambda: pool.call(PREPARE, b"any"))
    assert "secret" not in environment
    assert "C.UTF-8" in environment


def test_what_libraries_print_does_not_land_between_the_replies(workers):
    pool = workers(
        "real = worker.prepare\n"
        "def noisy(*given, **more):\n"
        "    os.write(1, b'noise'); os.write(2, b'noise'); print('noise', flush=True)\n"
        "    return real(*given, **more)\n"
        "worker.prepare = noisy"
    )
    for _ in range(3):
        head, _ = pool.call(PREPARE, encoded())
        assert head["source_format"] == "PNG"


def test_closing_ends_calls_in_progress_and_those_that_wait(workers):
    pool = workers("worker.prepare = lambda *_, **__: time.sleep(600)")
    outcomes = []

    def call():
        try:
            pool.call(PREPARE, b"any")
        except StoppedError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not pool._running:
        threading.Event().wait(0.01)
    pool.close()
    for thread in threads:
        thread.join(timeout=20)
    assert len(outcomes) == 3
    with pytest.raises(StoppedError):
        pool.call(PREPARE, b"any")


async def test_many_images_at_once_come_back_as_themselves(preparer):
    ours = preparer(workers=2)
    sources = [encoded("BMP", (20 + n, 10)) for n in range(24)]
    prepared = await asyncio.gather(
        *(ours.prepare(SourceImage(each), page=None, max_sent_bytes=MOST) for each in sources)
    )
    assert [each.source_width_px for each in prepared] == list(range(20, 44))


def test_a_pool_that_is_closed_between_a_reply_and_the_next_task_leaves_no_process(
    workers, monkeypatch
):
    pool = workers()
    used = []

    def exchange_and_close(worker, *task):
        reply = exchange(worker, *task)
        used.append(worker)
        pool.close()
        return reply

    exchange = _Worker.exchange
    monkeypatch.setattr(_Worker, "exchange", exchange_and_close)
    pool.call(PREPARE, encoded())
    [worker] = used
    assert worker._process.returncode is not None
    assert worker._replies.closed
    with pytest.raises(StoppedError):
        pool.call(PREPARE, encoded())


def test_a_worker_in_this_process_answers_every_kind_of_task():
    tasks, replies, alarms = BytesIO(), BytesIO(), []
    write_frame(tasks, PREPARE, encoded("BMP"))
    write_frame(tasks, {"do": "check"}, encoded("JPEG"))
    write_frame(tasks, {"do": "check"}, b"no image at all")
    write_frame(tasks, {"do": "unknown"}, b"")
    tasks.seek(0)
    serve(tasks, replies, ImageSettings(), alarm=alarms.append)
    replies.seek(0)
    prepared, data = read_frame(replies)
    assert (prepared["source_format"], data[:4]) == ("BMP", b"\x89PNG")
    assert read_frame(replies) == ({"note": ""}, b"")
    assert read_frame(replies)[0]["error"] == "unreadable_image"
    assert read_frame(replies)[0]["bug"].startswith("KeyError")
    assert read_frame(replies) is None
    assert alarms == [1, 0] * 4


@pytest.mark.parametrize("cut", [3, 13, 30])
def test_a_message_that_breaks_off_is_an_end(cut):
    stream = BytesIO()
    write_frame(stream, {"do": "check"}, b"x" * 50)
    assert read_frame(BytesIO(stream.getvalue()[:cut])) is None


@posix
async def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    program = (
        "import sys, time\n"
        "from vision_pipeline.adapters.preparation.workers import WorkerLimits, Workers\n"
        "from vision_pipeline.core.image_settings import ImageSettings\n"
        "pool = Workers(ImageSettings(), WorkerLimits(), count=1)\n"
        "try: pool.call({'do': 'check'}, b'')\n"
        "except Exception: pass\n"
        "[worker] = pool._running\n"
        "print(worker._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    worker_pid = int(await process.stdout.readline())
    process.kill()
    await process.wait()
    assert await asyncio.to_thread(has_ended, worker_pid, within_s=20)


def has_ended(pid, within_s):
    end = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < end:
        threading.Event().wait(0.02)
    return not is_alive(pid)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a zombie has ended: nobody has asked for its exit code
    return not (status.exists() and status.read_text().split(") ")[1].startswith("Z"))


@linux
@pytest.mark.parametrize("side", [7270, 7290, 7310, 7330])
def test_an_image_near_the_limit_of_memory_is_an_image_or_a_row_and_no_bug(workers, side):
    picture = BytesIO()
    noise = Image.effect_noise((1540, 1540), 90)
    noise.resize((side, side), Image.Resampling.NEAREST).save(picture, "TIFF")
    pool = workers(limits=WorkerLimits(max_bytes=128 * 1024 * 1024))
    assert error_of(pool, picture.getvalue()) in {None, ErrorCode.IMAGE_TOO_LARGE}


def error_of(pool, source):
    try:
        pool.call(PREPARE, source)
    except ItemError as error:
        return error.code
    return None


@pytest.mark.parametrize("deed", ["prepare", "check"])
def test_whatever_runs_out_of_memory_in_a_worker_makes_the_image_too_large(workers, deed):
    pool = workers(
        "def exhaust(*_, **__): raise MemoryError\nworker.prepare = worker.check = exhaust"
    )
    code, detail = code_of(lambda: pool.call({**PREPARE, "do": deed}, b"any"))
    assert code == ErrorCode.IMAGE_TOO_LARGE
    assert "image.max_decode_bytes" in detail


@linux
def test_a_file_that_a_worker_cannot_even_take_is_too_large(workers):
    pool = workers(limits=WorkerLimits(max_bytes=128 * 1024 * 1024))
    code, detail = code_of(lambda: pool.call(PREPARE, bytes(300 * 1024 * 1024)))
    assert code == ErrorCode.IMAGE_TOO_LARGE
    assert "image.max_decode_bytes (134217728)" in detail
