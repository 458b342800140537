import pytest

from tests.results.evaluation.tables import COLUMNS, answer, write_lines
from tests.results.runs import FIRST, Outputs
from vision_pipeline.core.errors import ConfigError
from vision_pipeline.core.forecast import Interval
from vision_pipeline.core.models import Price
from vision_pipeline.results import evaluate
from vision_pipeline.results.evaluation.tuning import (
    Trial,
    folder_name,
    settings_of,
    told,
    trial_of,
    tuning_of,
)


def trial(name: str, accuracy: float, usd: float | None, *, tokens: float = 1.0) -> Trial:
    return Trial(
        setting={"model.name": name},
        output="out",
        rows=10,
        errors=0,
        accuracy=Interval(accuracy - 0.1, accuracy, accuracy + 0.1),
        usd_per_1000=usd,
        tokens_per_image=tokens,
        latency_s=1.0,
    )


def test_settings_are_all_combinations():
    over = {"a": ["1", "2"], "b": ["x", "y"]}
    assert [tuple(each.values()) for each in settings_of(over)] == [
        ("1", "x"),
        ("1", "y"),
        ("2", "x"),
        ("2", "y"),
    ]


def test_more_settings_than_anybody_reads_are_refused():
    with pytest.raises(ConfigError, match="101 combinations; at most 100"):
        settings_of({"a": [str(number) for number in range(101)]})


def test_names_of_folders_are_plain_and_differ():
    names = {folder_name({"model.name": name}) for name in ("a/b", "a_b", "a:b", "a b", "a2fb")}
    assert len(names) == 5
    assert not any(set(name) & set('/\\:*?"<>| ') for name in names)
    with pytest.raises(ConfigError, match="too long"):
        folder_name({"prompt": "x" * 300})


def test_the_frontier_is_what_nothing_beats():
    tuning = tuning_of(
        "total",
        [
            trial("dear", 0.9, 3.0),
            trial("cheap", 0.7, 1.0),
            trial("beaten", 0.7, 2.0),
            trial("worse", 0.6, 1.0),
            trial("twin", 0.9, 3.0),
        ],
    )
    names = [each.setting["model.name"] for each in tuning.frontier]
    assert names == ["cheap", "dear", "twin"]


def test_the_cheapest_that_is_good_enough_is_named():
    tuning = tuning_of("total", [trial("a", 0.9, 3.0), trial("b", 0.8, 1.0), trial("c", 0.95, 5.0)])
    assert tuning.cheapest(0.85).setting == {"model.name": "a"}
    assert tuning.cheapest(0.99) is None


def test_settings_without_a_price_are_ordered_by_tokens():
    tuning = tuning_of("t", [trial("a", 0.9, None, tokens=900), trial("b", 0.9, None, tokens=100)])
    assert [each.setting["model.name"] for each in tuning.frontier] == ["b"]


def test_a_trial_costs_what_its_tokens_do_whoever_has_paid(tmp_path):
    outputs = Outputs(str(tmp_path / "out"))
    rows = {"a.jpg": answer(), "b.jpg": answer(total=1.0), "c.jpg": "timeout"}
    outputs.run(FIRST, rows, columns=COLUMNS, cost_usd=0.0, latency_s=2.0)
    truth = [{"image": f"{name}.jpg", "total": 30.4} for name in "abc"]
    evaluation = evaluate(outputs.root, write_lines(tmp_path / "t.jsonl", truth))
    price = Price(input=1.0, output=1.0)
    found = trial_of({"a": "1"}, evaluation, price, field="total")
    assert found.accuracy.likely == pytest.approx(1 / 3)
    assert found.errors == 1
    assert found.usd_per_1000 == pytest.approx(2 * found.tokens_per_image / 3 / 1000)
    assert trial_of({}, evaluation, None, field=None).usd_per_1000 is None
    with pytest.raises(ConfigError, match="not judged"):
        trial_of({}, evaluation, price, field="vendor")


def test_a_tuning_is_a_table_and_a_drawing():
    tuning = tuning_of("total", [trial("<b>", 0.9, 3.0), trial("b", 0.8, 1.0)])
    assert list(tuning.to_pandas()["is_best"]) == [True, True]
    assert len(tuning.plot.points) == 2
    assert tuning.plot.frontier.count(",") == 2
    html = tuning._repr_html_()
    assert "model.name=&lt;b&gt;" in html
    assert "<svg" in html
    assert told({}) == "as in the recipe"
