"""Bad input to products with Jacobians and what is measured with them."""

from functools import partial

import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from diffot.denoisers.exact import ExactDenoiser
from diffot.flows import jacobian as products
from diffot.laws import mixtures
from diffot.processes import schedules
from diffot.samplers.ddim import ddim_steps
from diffot.transport import symmetry

POINT = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
V = torch.randn(3, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
MATRIX = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
EXACT = ExactDenoiser(mixtures.equal_mixture([[1.0, 0.0]], 0.5), schedules.linear(100))


def linear(x):
    return x @ MATRIX.T


def tall(x):
    return x[:, :2]


JACOBIAN = products.FunctionJacobian(linear, POINT)
NORMS = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

USES = [
    Use(ddim_steps, {"denoiser": EXACT, "steps": 5}, {"steps": {"list"}}),
    Use(products.FunctionJacobian, {"function": linear, "points": POINT}),
    Use(JACOBIAN.product, {"v": V}),
    Use(JACOBIAN.transposed_product, {"u": V}),
    Use(products.SymmetricPart, {"whole": JACOBIAN}),
    Use(symmetry.random_signs, {"n": 3, "like": POINT, "generator": torch.Generator()}),
    Use(symmetry.skew_and_whole, {"jacobian": JACOBIAN, "v": V}),
    Use(symmetry.skew_and_whole_of, {"forward": V, "backward": V}),
    Use(symmetry.squared_asymmetry, {"skew": NORMS, "whole": NORMS}),
    Use(
        symmetry.symmetric_spectrum,
        {
            "jacobian": JACOBIAN,
            "point": POINT,
            "generator": torch.Generator(),
            "tolerance": 0.1,
        },
    ),
]
TALL = products.FunctionJacobian(tall, POINT)
CASES = [
    Case(partial(products.Composition, []), "factors is empty"),
    Case(partial(products.Composition, [linear]), "one of the factors"),
    Case(partial(symmetry.skew_and_whole, TALL, V), "(3, 1, 2); expected a square one"),
    Case(partial(symmetry.skew_and_whole_of, V, V[:2]), "backward"),
    Case(partial(symmetry.squared_asymmetry, NORMS[:1], NORMS), "skew has shape (1,)"),
    Case(partial(symmetry.squared_asymmetry, NORMS, 0 * NORMS), "does not move"),
    Case(
        partial(symmetry.symmetric_spectrum, JACOBIAN, POINT[:, :3], torch.Generator()),
        "point has shape (1, 3)",
    ),
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.function.__name__)
def test_good_calls_work(use):
    use.function(**use.arguments)


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_spoilt_arguments_are_named(use, argument, value):
    check(use, argument, value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name or case.says)
def test_bad_calls_say_what_is_wrong(case):
    expect(case.call, case.says)
