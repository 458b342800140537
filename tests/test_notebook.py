"""The notebook that ships."""

import warnings
from pathlib import Path

import pytest

from tests.results.reports import receipts

NOTEBOOK = Path(__file__).parent.parent / "data" / "notebooks" / "explore_results.ipynb"


def test_the_notebook_runs_on_an_output_and_ships_without_results(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("VISION_PIPELINE_OUTPUT", receipts(tmp_path, 9))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    with warnings.catch_warnings():  # those of Jupyter's own parts
        warnings.simplefilter("ignore")
        client.execute()
    shown = [output.data for cell in cells for output in cell.outputs if "data" in output]
    assert "10 items" in shown[0]["text/html"]
    assert any("image/jpeg" in data for data in shown)
    assert any("source_missing" in data["text/plain"] for data in shown)
