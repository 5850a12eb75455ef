"""Configuration of Sphinx: `./bootstrap.sh docs` builds the documentation in docs/_build/html."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from release.man_pages import MAN_PAGES  # noqa: E402
from zsofs import __version__  # noqa: E402

project = "zsofs"
author = "the zsofs developers"
copyright = ""  # it would be a section of each man page
version = release = __version__
language = "en"
today_fmt = "%Y-%m-%d"  # the date of the man pages; SOURCE_DATE_EPOCH sets it

extensions = ["myst_parser", "release.reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True  # a reference without a target is a warning, and so an error
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3  # links to headings work as on GitHub

smartquotes = False  # two hyphens of an option stay two hyphens
highlight_language = "none"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["zsofs.css"]
html_title = f"zsofs {__version__}"
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d5fa8", "color-brand-content": "#1d5fa8"},
}

man_pages = MAN_PAGES
man_show_urls = True
