"""The guides: Markdown for mkdocs, and what makes some of it from the code."""
