"""Densities of fourth order against the formula of the paper, written out and integrated."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from diffot.laws.densities import FAMILIES, QuarticMixture, random_density
from diffot.laws.mixtures import GaussianMixture


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def skew():
    """Three components without any symmetry; the second has two modes."""
    return QuarticMixture(
        a1=tensor([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]]),
        a2=tensor([[0.2, -0.6], [1.5, -1.0], [0.0, 2.0]]),
        q1=tensor(
            [[[1.2, 0.5], [0.5, 0.6]], [[0.1, -0.05], [-0.05, 0.2]], [[2, 0.2], [0.2, 0.5]]]
        ),
        q2=tensor([[[0.1, 0.05], [0.05, 0.3]], [[0.5, -0.1], [-0.1, 0.02]], [[0, 0], [0, 0.4]]]),
    )


def gaussian_pair():
    """The same law twice: with Q2 = 0, and as a mixture of Gaussians."""
    means = tensor([[1.0, 0.5], [-1.0, 0.8], [0.3, -1.2]])
    q1 = tensor([[[1.2, 0.5], [0.5, 0.6]], [[0.8, -0.3], [-0.3, 1.5]], [[2, 0.2], [0.2, 0.5]]])
    covariances = torch.linalg.inv(2 * q1)
    law = QuarticMixture(means, torch.full((3, 2), 7.0), q1, torch.zeros(3, 2, 2))
    return law, GaussianMixture([1 / 3] * 3, means, (covariances + covariances.mT) / 2)


def unnormalized(law, k, x, y):
    """Component k by the formula, x and y being arrays of any shape."""
    point = np.stack([x, y], -1)
    u = point - law.a1[k].numpy()
    v = (point - law.a2[k].numpy()) ** 2
    q1, q2 = law.q1[k].numpy(), law.q2[k].numpy()
    return np.exp(-np.einsum("...i,ij,...j", u, q1, u) - np.einsum("...i,ij,...j", v, q2, v))


def gauss_legendre(low, high, panels, order=8):
    """Nodes and weights of a composite rule."""
    points, weights = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(low, high, panels + 1)
    half = np.diff(edges)[:, None] / 2
    nodes = edges[:-1, None] + half * (1 + points)
    return nodes.ravel(), (half * weights).ravel()


def on_a_grid(law, low=-12.0, high=12.0, panels=60):
    """Nodes (P, 2), and by the formula alone the mass at each."""
    line, weights = gauss_legendre(low, high, panels)
    x, y = np.meshgrid(line, line, indexing="ij")
    area = np.outer(weights, weights)
    total = 0
    for k in range(len(law.a1)):
        mass = unnormalized(law, k, x, y) * area
        total = total + mass / mass.sum() / len(law.a1)
    return np.stack([x.ravel(), y.ravel()], 1), total.ravel(), area.ravel()


LAWS = {
    "skew": skew,
    "compact": lambda: random_density("compact", seeded(3)),
    "separated": lambda: random_density("separated", seeded(5)),
}


@pytest.fixture(scope="module", params=LAWS)
def law(request):
    return LAWS[request.param]()


def test_density_is_the_formula_normalized(law):
    points, mass, area = on_a_grid(law)
    found = law.log_prob(torch.from_numpy(points)).numpy()
    near = mass > 1e-30
    assert np.abs(found[near] - np.log(mass[near] / area[near])).max() < 1e-9
    assert abs(np.exp(found) @ area - 1) < 1e-10


def test_moments_are_integrals(law):
    points, mass, _ = on_a_grid(law)
    mean = mass @ points
    covariance = np.einsum("p,pi,pj->ij", mass, points - mean, points - mean)
    assert np.abs(law.mean.numpy() - mean).max() < 1e-9
    assert np.abs(law.covariance.numpy() - covariance).max() < 1e-9


def test_score_is_the_gradient(law):
    x = law.mean + 2 * torch.randn(300, 2, dtype=torch.float64, generator=seeded(1))
    h = 1e-3
    columns = []
    for step in h * torch.eye(2, dtype=torch.float64):
        near = (law.log_prob(x + step) - law.log_prob(x - step)) / (2 * h)
        wide = (law.log_prob(x + 2 * step) - law.log_prob(x - 2 * step)) / (4 * h)
        columns.append((4 * near - wide) / 3)
    score = law.score(x)
    assert float(((torch.stack(columns, 1) - score) / (1 + score.abs())).abs().max()) < 1e-8


def test_without_a_fourth_order_it_is_a_gaussian_mixture():
    law, twin = gaussian_pair()
    x = 3 * torch.randn(500, 2, dtype=torch.float64, generator=seeded(2))
    assert float((law.log_prob(x) - twin.log_prob(x)).abs().max()) < 1e-10
    assert float((law.mean - twin.mean).abs().max()) < 1e-12
    assert float((law.covariance - twin.covariance).abs().max()) < 1e-12


def test_box_holds_what_matters_and_little_else(law):
    """By the formula: no component reaches e^-50 of its peak on the edge, and all that lies
    around it is less than e^-40; a box drawn in by a quarter on both sides cuts into one."""
    low, high = law.box.numpy()
    inner = np.meshgrid(*(np.linspace(*ends, 600) for ends in zip(low, high)))
    peaks = [unnormalized(law, k, *inner).max() for k in range(len(law.a1))]

    def highest_on_edge(low, high):
        """The greatest of the components, as a share of its peak."""
        x, y = (np.linspace(*ends, 2001) for ends in zip(low, high))
        one = np.ones_like(x)
        edge = (
            np.concatenate([x, x, low[0] * one, high[0] * one]),
            np.concatenate([low[1] * one, high[1] * one, y, y]),
        )
        return max(unnormalized(law, k, *edge).max() / peak for k, peak in enumerate(peaks))

    assert highest_on_edge(low, high) < math.exp(-49.9)
    quarter = (high - low) / 4
    assert highest_on_edge(low + quarter, high - quarter) > math.exp(-50)
    reach = np.abs(law.box.numpy()).max() + 10
    points, mass, _ = on_a_grid(law, -reach, reach, 100)
    outside = ((points < low) | (points > high)).any(1)
    assert mass[outside].sum() < math.exp(-40)


# --- Samples ------------------------------------------------------------------------------------


def cell_p_value(law, x):
    """Chi-square test of samples against masses of square cells by quadrature; cells in which
    few are expected count as one."""
    cells, order = 60, 8
    _, mass, _ = on_a_grid(law, -12, 12, cells)
    expected = len(x) * mass.reshape(cells, order, cells, order).sum((1, 3))
    counts = np.histogram2d(*x.T, bins=cells, range=[(-12, 12)] * 2)[0]
    large = expected > 20
    observed = np.append(counts[large], len(x) - counts[large].sum())
    expected = np.append(expected[large], len(x) - expected[large].sum())
    return stats.chisquare(observed, expected).pvalue


def test_samples_follow_the_density(law):
    n = 40_000
    x = law.sample(n, seeded(4))
    assert x.shape == (n, 2) and x.dtype == torch.float64
    assert cell_p_value(law, x.numpy()) > 1e-3
    off = x - law.mean
    products = torch.einsum("ni,nj->nij", off, off)
    for values, expected in ((off, 0), (products, law.covariance)):
        errors = (values.mean(0) - expected) / (values.std(0) / math.sqrt(n))
        assert float(errors.abs().max()) < 4.5


def test_the_test_of_samples_tells_laws_apart():
    law = skew()
    x = law.sample(40_000, seeded(4))
    other = QuarticMixture(law.a1, law.a2, law.q1, 1.2 * law.q2)
    assert cell_p_value(other, x.numpy()) < 1e-6


def test_a_point_of_a_small_sample_has_the_law_of_a_large_one():
    """Components are drawn for each point, not in blocks or in equal numbers."""
    law = QuarticMixture(
        tensor([[-5.0, 0.0], [5.0, 0.0]]),
        torch.zeros(2, 2),
        torch.eye(2).expand(2, 2, 2),
        torch.zeros(2, 2, 2),
    )
    generator = seeded(6)
    right = torch.stack([law.sample(4, generator)[:, 0] > 0 for _ in range(300)])
    counts = np.bincount(right.sum(1).numpy(), minlength=5)
    assert stats.chisquare(counts, 300 * stats.binom(4, 0.5).pmf(range(5))).pvalue > 1e-3
    assert stats.binomtest(int(right[:, 0].sum()), 300).pvalue > 1e-3


# --- Random densities ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    generator = seeded(7)
    return request.param, [random_density(request.param, generator) for _ in range(40)]


def uniform_p_value(values, low, high):
    return stats.kstest(np.ravel(values), stats.uniform(low, high - low).cdf).pvalue


def test_parameters_have_the_stated_laws(family):
    reach, q1, q2 = {
        "compact": (2, (0.1, 2), (0.02, 0.5)),
        "separated": (3, (0.1, 4), (0.02, 1)),
    }[family[0]]
    laws = family[1]
    assert {len(law.a1) for law in laws} == {1, 2, 3, 4, 5}
    for centers in (torch.cat([law.a1 for law in laws]), torch.cat([law.a2 for law in laws])):
        assert uniform_p_value(centers, -reach, reach) > 1e-3
    for matrices, bounds in (([a.q1 for a in laws], q1), ([a.q2 for a in laws], q2)):
        spectrum, axes = torch.linalg.eigh(torch.cat(matrices))
        assert bounds[0] <= float(spectrum.min()) and float(spectrum.max()) <= bounds[1]
        assert uniform_p_value(spectrum.log(), *np.log(bounds)) > 1e-3
        angle = torch.atan2(axes[:, 1, 0], axes[:, 0, 0]) % math.pi
        assert uniform_p_value(angle, 0, math.pi) > 1e-3


def test_the_generator_decides(family):
    name, laws = family
    again = random_density(name, seeded(7))
    for key in ("a1", "a2", "q1", "q2", "mean", "covariance", "box"):
        assert torch.equal(getattr(again, key), getattr(laws[0], key))
    assert not torch.equal(laws[0].mean, laws[1].mean)


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"a1": torch.zeros(3)}, r"a1 has shape \(3,\); expected \(B, 2\)"),
        ({"a1": torch.zeros(0, 2)}, "no components"),
        ({"a1": torch.full((1, 2), math.nan)}, "a1 holds 2 values that are NaN"),
        ({"a2": torch.full((1, 2), math.nan)}, "a2 holds 2 values that are NaN"),
        ({"a2": torch.zeros(2, 2)}, r"\(2, 2\).*expected \(1, 2\) twice and \(1, 2, 2\) twice"),
        ({"q1": torch.eye(2)}, r"expected \(1, 2\) twice and \(1, 2, 2\) twice"),
        ({"q1": tensor([[[1.0, 0.5], [0.4, 1.0]]])}, "q1 .*not symmetric and positive definite"),
        ({"q1": tensor([[[1.0, 2.0], [2.0, 1.0]]])}, "q1 .*smallest eigenvalue -1"),
        ({"q1": torch.full((1, 2, 2), math.inf)}, "q1 holds 4 values"),
        ({"q2": tensor([[[1.0, 2.0], [2.0, 1.0]]])}, "q2 .*positive semi-definite"),
    ],
)
def test_bad_parameters_are_named(changed, message):
    good = {
        "a1": torch.zeros(1, 2),
        "a2": torch.zeros(1, 2),
        "q1": torch.eye(2)[None],
        "q2": torch.zeros(1, 2, 2),
    }
    with pytest.raises(ValueError, match=message):
        QuarticMixture(**{**good, **changed})


@pytest.mark.parametrize(("unit", "offset"), [(1e-8, 0.0), (1e8, 0.0), (1.0, 1e6)])
def test_moments_have_neither_unit_nor_origin(unit, offset):
    law = skew()
    moved = QuarticMixture(
        unit * (law.a1 + offset), unit * (law.a2 + offset), law.q1 / unit**2, law.q2 / unit**4
    )
    assert (moved.mean / unit - offset - law.mean).abs().max() < 1e-7
    assert (moved.covariance / unit**2 - law.covariance).abs().max() < 1e-7


def test_other_bad_input_is_named():
    law = skew()
    for function in (law.log_prob, law.score):
        with pytest.raises(ValueError, match=r"x has shape \(3, 1\); expected \(B, 2\)"):
            function(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="n is 0; expected a whole number of at least 1"):
        law.sample(0, seeded(0))
    with pytest.raises(ValueError, match=r"unknown family of densities 'seperated'.*separated"):
        random_density("seperated", seeded(0))
