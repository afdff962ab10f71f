"""All benchmarks: prints a table and writes `out/bench.json`, one flat object of figures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench_compute import figures as compute
from bench_render import figures as render

from studio.files import write_json


def main() -> None:
    found = {}
    for bench in (compute, render):
        for name, value in bench().items():
            found[name] = round(value, 3)
            print(f"{name:40} {value:12.2f}", flush=True)
    write_json("out/bench.json", found)


if __name__ == "__main__":
    main()
