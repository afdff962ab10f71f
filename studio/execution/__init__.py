"""Where tasks run and how progress is shown; nothing else in studio knows."""
