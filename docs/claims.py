"""The table of claims: the numbers of the films in `scenes`, measured, beside what was published; for `make claims`.

What the films' shelf holds is not measured again, so it goes on after a stop; --draft measures a rough one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from studio.execution.devices import usable_cores
from studio.execution.progress import show
from studio.pipeline.numbers import MeasuredNumber, measure_numbers
from studio.pipeline.project import Project
from studio.scene.numbers import OF_CHECKPOINT

HEAD = """\
# Claims

What the films in `scenes` say, measured by `make claims`; `studio numbers SCENE` measures those of one. In brackets:
the smallest and the largest over random subsets, or planes; of a correlation, the 95 % interval of its bootstrap over
the runs. Published numbers are of other networks and data: they say what to expect, not what is right. Trainings take
another course on another processor, and the numbers move with it. Made with torch {version} on one with {capability}.
"""


def main(folder: Path, draft: bool) -> str:
    """The page, as Markdown."""
    parts = [HEAD.format(version=torch.__version__, capability=torch.backends.cpu.get_cpu_capability())]
    for path in sorted(folder.glob("*.yaml")):
        project = Project.open(path, draft=draft, workers=usable_cores(), progress=show)
        if project.scene.numbers:
            rows = [_row(name, number, project) for name, number in measure_numbers(project).items()]
            head = f"## {project.scene.title}\n\n`studio numbers {path.as_posix()}`\n"
            columns = ["| number | what is measured | ours | published |", "|---|---|---|---|"]
            parts.append("\n".join([head, *columns, *rows, ""]))
    return "\n".join(parts)


def _row(name: str, measured: MeasuredNumber, project: Project) -> str:
    number = measured.number
    words = f"{number.measure}, {number.take}" + (f" with {number.against}" if number.against else "")
    scene = project.scene.probe(number, number.measure, 0)
    sweep = getattr(scene.sweep, "of", scene.sweep)
    details = [words, sweep.kind + ", matched" * getattr(sweep, "match", False)]
    if not {*number.measures} <= {*OF_CHECKPOINT}:
        kinds = {"subset": "subsets", "directions": "planes"}
        details += [f"{scene.loss.subset} images, {scene.loss.mode} mode"]
        details += [f"{number.times} {kinds[number.vary]}"] * (number.times > 1)
    return f"| {name} | {'; '.join(details)} | {measured} | {number.published or ''} |"


if __name__ == "__main__":
    print(main(Path("scenes"), "--draft" in sys.argv), end="")
