"""All fuzzing: `make fuzz`, with SEED=0 and COUNT=10000 if not given. Every file here with a `main` takes part.

main(seed, count) -> the number of failures; it prints a table.
"""

import importlib
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    sys.path.insert(0, str(HERE))
    seed, count, failures = int(os.environ.get("SEED") or 0), int(os.environ.get("COUNT") or 10000), 0
    for path in sorted(HERE.glob("*.py")):
        if path == Path(__file__) or not hasattr(module := importlib.import_module(path.stem), "main"):
            continue
        print(f"{path.stem}: seed {seed}, count {count}", flush=True)
        start = time.perf_counter()
        failures += module.main(seed, count)
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s\n", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
