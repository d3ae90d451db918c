import torch

from diffot.laws.quasi_random import quasi_normal


def test_quasi_normal_points_are_more_even_than_random_ones(generator):
    error = [abs(float((quasi_normal(1024, 2, generator) ** 2).mean()) - 1) for _ in range(5)]
    assert max(error) < 0.3 * (2 / 2048) ** 0.5  # a third of one standard error of random draws
    first, second = (quasi_normal(8, 2, generator) for _ in range(2))
    assert not torch.equal(first, second)
