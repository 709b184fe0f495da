"""The course as a site: `make site` builds it from a source that tools/website.py lays out in build/site-source."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # Python 3.10 has no tomllib

project = "attn-lessons"
author = "the authors of attn-lessons"
copyright = "the authors of attn-lessons. Code: MIT, text and figures: CC BY 4.0"
release = re.search(r'^version = "(.*)"', settings, re.M)[1]
repository = re.search(r'^Repository = "(.*)"', settings, re.M)[1]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the lessons as committed
nb_ipywidgets_js = {}  # their images are ordinary outputs: no page needs a script for widgets
nb_mime_priority_overrides = [("html", "image/gif", 0), ("html", "image/png", 0)]

autodoc_default_options = {"members": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "groupwise"
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "sphinx_book_theme"
html_title = "attn-lessons"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
mathjax_path = "tex-svg.js"  # beside the style sheet, from build/vendor
html_theme_options = {
    "repository_url": repository,
    "repository_branch": "main",
    "path_to_docs": "",  # a lesson lies at notebooks/ in the repository as on the site
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "launch_buttons": {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"},
    "show_toc_level": 2,
    "home_page_in_toc": False,
    "footer_content_items": ["copyright.html"],
    "navbar_persistent": [],  # the sidebar has a search field already
}
