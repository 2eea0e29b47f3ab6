"""Blocks of code in a document."""

import re

FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
"""Indentation, language with title, content."""
