"""Three nodes of a Ray cluster on this machine, on loopback, with separate folders: `make test-cluster` runs these."""

import filecmp
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]
PROGRAM = """
import os, sys
from ray.cluster_utils import Cluster
cluster = Cluster()
for folder in sys.argv[1:]:
    os.environ["TMPDIR"] = folder
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", include_dashboard=False, object_store_memory=10**8)
print(cluster.address, flush=True)
for line in sys.stdin:
    node = list(cluster.worker_nodes)[0]
    node.kill_raylet(check_alive=False)
    print("killed", flush=True)
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A process that holds three nodes, and kills one for each line that it reads; and its environment."""
    folders = [tmp_path_factory.mktemp(f"node{i}") for i in range(3)]
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, "-W", "ignore", "-c", PROGRAM, *map(str, folders)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(arguments, env=env, **pipes) as process:
        address = process.stdout.readline().strip()
        assert address.startswith("127.0.0.1:")
        yield process, env | {"RAY_ADDRESS": address}
        process.stdin.close()


def studio(env, *words):
    command = [sys.executable, "-W", "ignore", "-m", "studio.cli", *map(str, words)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def differences(one: Path, other: Path) -> list[str]:
    names = [sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) for root in (one, other)]
    assert names[0] == names[1]
    return filecmp.cmpfiles(one, other, names[0], shallow=False)[1]


def test_all_that_the_nodes_listen_on_is_loopback(nodes):
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in listening if "ray" in line or "gcs_server" in line]
    assert ours
    assert all(place.removeprefix("[::ffff:").startswith("127.0.0.1") for place in ours)


def test_a_film_measured_on_nodes_one_of_which_is_killed_is_byte_for_byte_the_local_one(nodes, finished, tiny):
    process, env = nodes
    shelf = tiny.parent / ".studio"
    shutil.copytree(finished.shelf.root / "runs", shelf / "runs")
    running = studio(env, "film", tiny, "--on", "ray", "--out", tiny.parent / "out")
    deadline = time.monotonic() + 120
    while not list(shelf.glob("planes/*")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.stdin.write("kill\n")
    process.stdin.flush()
    assert process.stdout.readline() == "killed\n"
    _, errors = running.communicate(timeout=180)
    assert running.returncode == 0, errors
    for room in ("slices", "planes"):
        assert differences(finished.shelf.root / room, shelf / room) == []
    assert filecmp.cmp(finished.out / "tiny.mp4", tiny.parent / "out" / "tiny.mp4", shallow=False)


def test_a_task_that_always_kills_its_worker_names_itself(nodes, tmp_path):
    code = """
import os, signal
from studio.errors import MachineError
from studio.execution.cluster import RayExecutor
from studio.execution.tasks import run_tasks
from pathlib import Path
from studio.execution.devices import usable_cores
with RayExecutor(Path("absent"), usable_cores, gpus=False, environment={}) as workers:
    print(dict(run_tasks(workers, [(os.getenv, ("OMP_NUM_THREADS",))] * 3, 8)))
    try:
        list(run_tasks(workers, [(signal.raise_signal, (9,))], 2))
    except MachineError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=nodes[1], capture_output=True, text=True, timeout=180
    )
    assert "{0: '1', 1: '1', 2: '1'}" in done.stdout
    assert "each of the 3 times it ran raise_signal(9,)" in done.stdout


def test_without_a_cluster_the_way_out_is_said(tiny):
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = studio(env | {"RAY_TMPDIR": str(tiny.parent)}, "compute", tiny, "--on", "nowhere")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "write local or ray" in errors
