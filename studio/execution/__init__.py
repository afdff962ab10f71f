"""Where tasks run, and how progress is shown; all other rooms only name tasks."""
