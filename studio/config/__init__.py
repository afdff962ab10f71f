"""Scenes as text: YAML becomes frozen records, and every mistake keeps its place in the file."""
