"""How the documentation is built: Markdown by MyST, pages by Furo."""

from __future__ import annotations

import loopwright

project = "Loopwright"
author = "The Loopwright authors"
project_copyright = "2026, The Loopwright authors"
version = release = loopwright.__version__

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build", "decisions/0000-template.md"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Loopwright {version}"
html_show_sphinx = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
