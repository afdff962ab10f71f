"""The scene language: YAML text becomes frozen records, and every mistake keeps its place in the file."""
