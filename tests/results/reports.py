"""Reports of outputs that tests write, with images that need no decoder's process."""

from contextlib import contextmanager

from PIL import Image

from tests.results.runs import FIRST, Outputs
from vision_pipeline.core.columns import Scalar
from vision_pipeline.results.pictures import draw_here
from vision_pipeline.results.report import Choice, Sources, write_report

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u202egnp.exe \' " & %N'
RECEIPT = (
    ("merchant", Scalar.STRING),
    ("total", Scalar.NUMBER),
    ("kind", Scalar.CHOICE),
    ("paid", Scalar.BOOLEAN),
)


@contextmanager
def drawing_here(settings):
    yield lambda ref: draw_here(ref, settings)


def no_prompt(_run):
    return None


def prompt(_run):
    return {"name": "caption", "version": "3", "system": None, "text": HOSTILE, "schema": None}


def sources(find_prompt=no_prompt):
    return Sources(drawing_here, find_prompt)


def receipts(folder, count=30):
    """An output of receipts: each seventh an error, the fifth one hostile, one image missing."""
    images = folder / "images"
    images.mkdir()
    answers = {}
    for number in range(count):
        name = f"{number:04}.png"
        shape = (2000, 1400) if number == 1 else (60 + number, 40)
        Image.new("RGB", shape, (8 * number % 256, 120, 90)).save(images / name)
        answers[name] = "timeout" if number % 7 == 6 else receipt(number)
    (images / "0002.png").unlink()
    answers["0004.png"] = receipt(4) | {"merchant": HOSTILE}
    answers[HOSTILE] = "source_missing"
    outputs = Outputs(str(folder / "out"))
    outputs.images = str(images)
    paid = {"prompt_tokens": 100, "completion_tokens": 10, "cost_usd": 0.25, "latency_s": 0.5}
    outputs.run(FIRST, answers, columns=RECEIPT, finished=True, reply_text=HOSTILE, **paid)
    return outputs.root


def receipt(number):
    kind = ("Food", "Travel", "Hotel")[number % 3]
    return {"merchant": f"Shop {number}", "total": 1.5 * number, "kind": kind, "paid": True}


def write(output, out, *, find_prompt=no_prompt, **choice):
    return write_report(output, out, sources(find_prompt), Choice(**choice))
