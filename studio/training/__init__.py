"""Training runs: what is trained (`recipe` and its records `models`, `data`, `optimizers`), and how (`recorder`).

The result is a folder of `checkpoints`, which `import_checkpoints` makes of the user's own files instead.
"""
