import math

import numpy as np
import pytest
import torch
from misuse import expect

from diffot import errors


@pytest.mark.parametrize("good", [30, np.int64(30), np.array(30), torch.tensor(30), np.uint8(30)])
def test_whole_numbers_of_other_libraries_are_whole_numbers(good):
    number = errors.as_whole_number(good, "steps", least=1, most=30)
    assert type(number) is int and number == 30


@pytest.mark.parametrize(
    "bad", [2.0, 2.5, True, np.True_, "2", None, [2], math.nan, torch.tensor(2.0), torch.ones(2)]
)
def test_what_is_no_whole_number_is_refused(bad):
    with pytest.raises(TypeError, match=r"^steps is .*; expected a whole number of at least 1$"):
        errors.as_whole_number(bad, "steps", least=1)


def test_whole_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"^n is 0; expected a whole number of at least 1$"):
        errors.as_whole_number(0, "n", least=1)
    with pytest.raises(ValueError, match=r"^n is 9; expected a whole number from 1 to 8$"):
        errors.as_whole_number(9, "n", least=1, most=8)


@pytest.mark.parametrize("good", [1, 1.0, np.float32(1), np.int8(1), torch.tensor(1.0)])
def test_numbers_of_other_libraries_are_numbers(good):
    number = errors.as_number(good, "eta", at_least=0, at_most=1)
    assert type(number) is float and number == 1


@pytest.mark.parametrize("bad", ["1", None, True, 1j, [1.0], torch.ones(2), np.ones(1)])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(TypeError, match=r"^eta is .*; expected a number from 0 to 1$"):
        errors.as_number(bad, "eta", at_least=0, at_most=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0, -1, 1, 2])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=r"^tolerance is .*above 0 and below 1$"):
        errors.as_number(bad, "tolerance", above=0, below=1)


def test_probabilities_may_be_rounded_in_their_own_type(generator):
    for components in (2, 7, 100, 1000):
        for _ in range(50):
            logits = torch.randn(components, generator=generator)
            weights = errors.as_probabilities(torch.softmax(logits, 0), "weights")
            assert weights.dtype == torch.float64
            assert abs(float(weights.sum()) - 1) < 1e-15 * components


def test_probabilities_in_a_list_are_as_exact_as_its_numbers():
    assert errors.as_probabilities([0.2, 0.3, 0.5], "weights").tolist() == [0.2, 0.3, 0.5]


@pytest.mark.parametrize(
    "bad",
    [
        torch.tensor([0.5, 0.49], dtype=torch.float64),
        torch.tensor([0.5, 0.5 + 1e-6], dtype=torch.float64),
        torch.tensor([0.5, 0.501]),
        torch.tensor([1.5, -0.5]),
        torch.tensor([1.0, 0.0]),
        torch.tensor([math.nan, 1.0]),
        torch.ones(1, 1),
        torch.ones(0),
        "abc",
        None,
        1j,
    ],
)
def test_what_is_no_probability_is_refused(bad):
    expect(lambda: errors.as_probabilities(bad, "weights"), "weights")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.ones(2, 3), "shape"),
        (torch.tensor([[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "eigenvalue -1"),
        (torch.zeros(2, 2), "eigenvalue 0"),
        (torch.full((2, 2), math.nan), "NaN"),
        (torch.ones(2, 2, dtype=torch.int64), "floating-point"),
        (np.eye(2), "torch.from_numpy"),
        ([[1.0]], "list"),
    ],
)
def test_what_is_no_covariance_is_refused(bad, says):
    expect(lambda: errors.require_covariance(bad, "cov_a"), says)
    expect(lambda: errors.require_covariance(bad, "cov_a"), "cov_a")


def test_truth_values_are_classes():
    found = errors.as_classes(torch.tensor([True, False]), "smile", 2)
    assert found.dtype == torch.int64 and found.tolist() == [1, 0]
    expect(lambda: errors.as_classes(torch.tensor([0.0, 1.0]), "smile"), "smile")
    expect(lambda: errors.as_classes(torch.tensor([0, 2]), "smile", 2), "0 to 1, its 2 classes")


def test_large_numbers_are_finite_though_their_sum_is_not():
    errors.require_finite(torch.full((9,), 3e38), "x")
    errors.require_finite(torch.full((9,), 6e4, dtype=torch.float16), "x")
    opposite = torch.tensor([math.inf, -math.inf, 1.0])
    expect(lambda: errors.require_finite(opposite, "x"), "x holds 2 values that are NaN or inf")


def test_messages_about_objects_are_short():
    with pytest.raises(TypeError) as raised:
        errors.require_points(list(range(10_000)), name="z")
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("dtype", [None, torch.float64])
@pytest.mark.parametrize("bad", [1j, [1.0, 2j], np.array([1j]), torch.tensor([1j])])
def test_imaginary_parts_are_not_dropped(bad, dtype):
    expect(lambda: errors.as_tensor(bad, "means", dtype), "means is")


@pytest.mark.parametrize("bad", [object(), [object()], [[1.0], [1.0, 2.0]], {"a": 1}, "1", True])
def test_what_makes_no_tensor_is_refused(bad):
    expect(lambda: errors.as_tensor(bad, "means"), "means is")


def test_tensors_keep_their_gradients():
    x = torch.ones(2, requires_grad=True)
    assert errors.as_tensor(x, "x", torch.float64).requires_grad
