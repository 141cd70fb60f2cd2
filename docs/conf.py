"""Sphinx's configuration of the documentation site; `make docs` builds it into `build/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from s1crets import __version__

project = "s1crets"
author = "The s1crets developers"
copyright = "the s1crets developers"  # noqa: A001  # Sphinx's name
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "reference",
]
exclude_patterns = ["_ext"]
suppress_warnings = ["misc.highlighting_failure"]  # blocks of output are not a language

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    # Public only for the rest of the package.
    "exclude-members": "answer, cached_value, forget_failures, get_local, get_by_path_local, hit,"
    " key_of, open_cache, read, registered_as, service, spawn_with, start_afresh",
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
toc_object_entries_show_parents = "hide"
default_role = "py:obj"  # docstrings write code and names in single backticks

copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = "s1crets"
html_static_path = ["_static"]
html_css_files = ["s1crets.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/s1crets/s1crets/",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#1d6b5a", "color-brand-content": "#1d6b5a"},
    "dark_css_variables": {"color-brand-primary": "#5fc9ac", "color-brand-content": "#5fc9ac"},
}
