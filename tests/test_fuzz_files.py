"""A small part of the fuzz of hostile files; `make fuzz` runs all of it."""

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parent / "fuzz" / "files.py"


def test_hostile_files_are_refused_in_one_sentence_and_run_no_code():
    done = subprocess.run([sys.executable, FUZZ, "7", "700"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "35 hostile files" in done.stdout
