"""How Sphinx builds this documentation.  Warnings are errors: see the ``docs`` target of the Makefile."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

with (HERE.parent / "pyproject.toml").open("rb") as _file:
    _metadata = tomllib.load(_file)["project"]

import ensemble  # noqa: E402  (the path was not set before)

project = "ensemble"
author = "the ensemble authors"
project_copyright = "the ensemble authors"
release = version = ensemble.__version__

extensions = ["chi_table", "sphinx.ext.doctest"]
exclude_patterns = ["_build", "_ext"]
highlight_language = "none"  # a literal block is bytes, a picture or a shell's; what is code says so
nitpicky = True
smartquotes_action = "qe"  # quotes and dots; two hyphens are those of an option

html_theme = "alabaster"
html_static_path = ["_static"]  # custom.css is the theme's own name for it
html_theme_options = {
    "description": _metadata["description"],
    "fixed_sidebar": True,
    "page_width": "1180px",
    "body_max_width": "none",
}
