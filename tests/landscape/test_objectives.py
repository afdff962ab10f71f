import math

import pytest
import torch
from torch.nn import functional as F

from studio.landscape.objectives import accuracy, cross_entropy, entropy


def test_entropy_is_log_2_for_two_equal_classes_and_zero_for_certainty():
    outputs = torch.tensor([[0.0, 0.0], [1e4, 0.0]])
    assert entropy(outputs, torch.tensor([0, 0])).tolist() == pytest.approx([math.log(2), 0.0])


def test_a_sequence_has_the_mean_of_its_elements():
    outputs = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(1))
    expected = torch.stack([F.cross_entropy(o.T.double(), t) for o, t in zip(outputs, y, strict=True)])
    torch.testing.assert_close(cross_entropy(outputs, y), expected)
    assert accuracy(outputs, y).shape == entropy(outputs, y).shape == (4,)


def test_there_is_no_accuracy_without_classes():
    assert accuracy(torch.zeros(3, 1), torch.zeros(3, 1)).isnan().all()
