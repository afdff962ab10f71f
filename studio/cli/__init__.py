"""The commands and their printed texts."""
