"""Sphinx's settings. Sphinx with furo and MyST: kept well, reads the same Markdown as people do in the repository, makes the reference of
the library from its docstrings, and needs no network when it is read."""

from pyteamd import __version__

project = "pyteamd"
author = "The pyteamd authors"
copyright = "2026, The pyteamd authors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.graphviz"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"pyteamd {__version__}"
html_copy_source = False
html_show_sphinx = False
graphviz_output_format = "svg"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]  # scripts of scenarios have no colours
