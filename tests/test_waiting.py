"""Which paid replies no row holds yet."""

from vision_pipeline.adapters.ledger.rows import Payment
from vision_pipeline.wiring.waiting import Waiting, _without_row, waiting_replies


def payment(key: int, item: str) -> Payment:
    return Payment(bytes([key]) * 32, f"run-1/{item}", 0.5)


def test_a_repair_turn_belongs_to_the_row_of_its_item():
    first, repair, other = payment(1, "a.png"), payment(2, "a.png"), payment(3, "b.png")
    keys = {first.key.hex()}
    assert _without_row([first, repair, other], keys) == [other]
    assert _without_row([first, repair, other], ()) == [first, repair, other]


def test_without_unfinished_runs_no_ledger_is_looked_at(tmp_path):
    assert waiting_replies(str(tmp_path / "none"), []) == Waiting()
