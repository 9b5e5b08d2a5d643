"""The notebooks tell the truth: each runs from top to bottom, and defines no model of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
# What takes a reader minutes: (as it is written there, as it is run here).
SHORTER = {
    "04_diffusion_from_scratch": ("MINUTES = 2.5", "MINUTES = 0.1"),
    "05_samplers_and_guidance": ("COUNT = 200", "COUNT = 20"),
    "06_text_to_picture": ("MINUTES = 4", "MINUTES = 0.02"),
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    if path.stem in SHORTER:
        long, short = SHORTER[path.stem]
        assert sum(cell.source.count(long) for cell in notebook.cells) == 1
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    # In an empty folder: a notebook must not lean on where it lies.
    NotebookClient(notebook, timeout=550, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_no_model(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert "import mmfm" in source
    assert "nn.Module" not in source and "class " not in source


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
