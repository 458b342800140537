import typer


def test_a_report_is_written_beside_the_table_and_opened_if_asked(
    command, recipe_file, recipe, pictures, monkeypatch
):
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    command("run", recipe_file)
    opened = []
    monkeypatch.setattr(typer, "launch", opened.append)
    ended = command("report", recipe.output.path, "--open")
    assert (ended.code, ended.out) == (0, f"{recipe.output.path}/report.html\n")
    assert opened == [f"{recipe.output.path}/report.html"]
    page = (pictures.parent / "out" / "report.html").read_text("utf-8")
    assert page.count('id="b') - page.count('id="bar"') - page.count('id="before"') == 4
    assert "unreadable_image" in page
    assert "Describe" in page  # the prompt's text


def test_what_is_left_out_is_told(command, recipe_file, recipe, tmp_path):
    command("run", recipe_file)
    folder = tmp_path / "shown"
    folder.mkdir()
    ended = command("report", recipe.output.path, "--limit", "1", "--out", folder)
    assert ended.out == f"{folder}/report.html\n"
    assert "3 of 4 items are not in it" in ended.err


def test_a_place_that_is_no_html_file_is_refused(command, tmp_path):
    for out in ("report.pdf", "s3://bucket/report.html"):
        ended = command("report", tmp_path, "--out", out)
        assert ended.code == 2
        assert "--out: " in ended.err


def test_an_unknown_run_and_no_output_exit_2(command, recipe_file, recipe, tmp_path):
    assert "no results here" in command("report", tmp_path).err
    command("run", recipe_file)
    ended = command("report", recipe.output.path, "--run", "r9")
    assert (ended.code, "'r9' is no run" in ended.err) == (2, True)
