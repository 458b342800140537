import pytest

from vision_pipeline.core.errors import ConfigError
from vision_pipeline.results.evaluation.truth import UNKNOWN, read_truth


def written(tmp_path, name, text):
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


def test_a_csv_is_text_whatever_it_looks_like(tmp_path):
    file = written(tmp_path, "t.csv", "\ufeffitem_id,zip\na,0042\nNA,\n")
    assert read_truth(file).columns == {"item_id": ["a", "NA"], "zip": ["0042", ""]}


@pytest.mark.parametrize(("name", "mark"), [("t.csv", ";"), ("t.tsv", "\t")])
def test_other_marks_between_columns_are_told_by_the_head(tmp_path, name, mark):
    file = written(tmp_path, name, f'a{mark}b\n"1,5{mark}x"{mark}2\n')
    assert read_truth(file).columns == {"a": [f"1,5{mark}x"], "b": ["2"]}


def test_rows_that_end_early_stay_in_their_columns(tmp_path):
    file = written(tmp_path, "t.csv", "a,b\n1\n\n")
    assert read_truth(file).columns == {"a": ["1"], "b": [""]}


def test_parts_of_objects_have_dotted_names(tmp_path):
    file = written(tmp_path, "t.jsonl", '{"a": {"b": {"c": 1}}}\n\n{"d": null}\n')
    columns = read_truth(file).columns
    assert columns["a.b.c"] == [1, UNKNOWN]
    assert columns["d"] == [UNKNOWN, None]


def test_an_array_of_objects_is_a_truth_too(tmp_path):
    assert read_truth(written(tmp_path, "t.json", '[{"a": 1}]')).columns == {"a": [1]}


def test_only_checked_rows_count_unless_all_are_wanted(tmp_path):
    file = written(tmp_path, "t.csv", "a,checked\n1,x\n2,\n3,TRUE\n4,no\n")
    truth = read_truth(file)
    assert (truth.columns["a"], truth.unchecked) == (["1", "3"], 2)
    assert read_truth(file, unchecked=True).count == 4


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("t.txt", "a", "not a truth by its ending; allowed: .csv"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.csv", "", "no rows"),
        ("t.csv", "a,b,a\n1,2,3\n", "several columns are called 'a'"),
        ("t.csv", 'a,b\n"1,2\n', "cannot be read"),
        ("t.csv", b"a\n\xff\n", "cannot be read"),
        ("t.csv", "a,checked\n1,\n", "no row is checked; .*--unchecked"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "line 3: 3 cells, of 2 columns"),
        ("t.jsonl", '{"a": 1}\n{"a"\n', "line 2: not JSON"),
        ("t.jsonl", "[1]\n", "line 1: not an object"),
        ("t.json", '{"a": 1}', "not an array of objects"),
        ("t.json", "[1]", "not an array of objects"),
        ("t.parquet", "PAR1", "cannot be read"),
    ],
)
def test_what_is_no_truth_is_refused(tmp_path, name, text, told):
    with pytest.raises(ConfigError, match=told):
        read_truth(written(tmp_path, name, text))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="there is no such file, or its server"):
        read_truth("memory://nowhere/t.csv")
    with pytest.raises(ConfigError, match=r"/nowhere/t\.csv: there is no such file"):
        read_truth("/nowhere/t.csv")
