import subprocess
import sys

import pytest
import torch

from studio.training.device import deterministic


def test_the_number_of_threads_is_one_inside_and_restored_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError), deterministic():
            assert torch.get_num_threads() == 1
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_asking_for_determinism_alone_loads_no_torch():
    code = "import sys, studio.training.device; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
