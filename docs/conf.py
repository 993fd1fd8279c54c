"""How the documentation is built: `make docs`."""

import importlib.metadata

# Autodoc would import it as if types were being checked, which the packages below it do not take.
import hierax  # noqa: F401

project = "hierax"
author = "the authors of hierax"
copyright = author
release = importlib.metadata.version("hierax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = "hierax"
html_static_path = ["_static"]
html_css_files = ["wrap.css"]
exclude_patterns = ["build"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2

# Pages of the guide are run when they have changed; an error in one of them ends the build.
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# Shapes in annotations are written for people; they are no names to be linked.
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["References"]
# A docstring may use names and marks that only mean something in its own text.
suppress_warnings = ["docutils", "ref", "myst.header"]
