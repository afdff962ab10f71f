"""All benchmarks: prints a table and writes `out/bench.json`, one flat object of figures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench_film import figures as film
from bench_grid import figures as grid
from bench_hessian import figures as hessian
from bench_preview import figures as preview
from bench_recorder import figures as recorder
from bench_render import figures as render

from studio.storage.files import write_json


def main() -> None:
    found = {}
    for bench in (grid, preview, hessian, film, render, recorder):
        for name, value in bench().items():
            found[name] = float(f"{value:.4g}")
            print(f"{name:40} {value:12.4g}", flush=True)
    write_json("out/bench.json", found)


if __name__ == "__main__":
    main()
