"""Transport maps against independent routes, and certificates that maps are not optimal."""

import math
from functools import partial

import numpy as np
import ot
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import integrate, linalg, optimize, stats

from diffot.laws.examples import bent_pair
from diffot.laws.mixtures import GaussianMixture, equal_mixture, thesis_mixture
from diffot.transport.assignment import relative_excess_cost
from diffot.transport.certificates import cycle_certificate, find_certificate, jacobian_asymmetry
from diffot.transport.gaussian import AffineMap, composition_excess, gaussian_monge_map
from diffot.transport.one_dimension import QuantileMap
from diffot.transport.triangular import knothe_rosenblatt_map

STANDARD_1D = equal_mixture([[0.0]], 1.0)
UNEVEN_1D = GaussianMixture(
    torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64),
    torch.tensor([[-1.0], [0.5], [2.0]]),
    torch.tensor([[[0.3]], [[0.09]], [[1.5]]]),
)
BENT_2D = bent_pair()


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def covariance(d: int, seed: int) -> torch.Tensor:
    root = normal(d, d, seed)
    return root @ root.T + 0.1 * torch.eye(d)


def differences(transport, x: torch.Tensor, h: float = 1e-5) -> torch.Tensor:
    """Jacobians by central differences, (B, d, d); the last index is that of x."""
    columns = [
        (transport(x + h * e) - transport(x - h * e)) / (2 * h)
        for e in torch.eye(x.shape[1], dtype=x.dtype)
    ]
    return torch.stack(columns, dim=2)


def rotation(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


# --- The quantile map ---------------------------------------------------------------------------


def scipy_cdf(mixture, x):
    spreads = mixture.covariances[:, 0, 0].sqrt()
    parts = zip(mixture.weights.tolist(), mixture.means[:, 0].tolist(), spreads.tolist())
    return sum(w * stats.norm.cdf(x, m, s) for w, m, s in parts)


@pytest.mark.parametrize("target", [UNEVEN_1D, thesis_mixture("Low1DMix")])
def test_quantile_map_inverts_the_distribution_function(target):
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)
    y = QuantileMap(STANDARD_1D, target).decode(z[:, None])[:, 0]
    for latent, found in zip(z.tolist(), y.tolist()):
        p = stats.norm.cdf(latent)
        root = optimize.brentq(lambda v, p=p: scipy_cdf(target, v) - p, -9, 9, xtol=1e-14)
        assert found == pytest.approx(root, abs=1e-12)


def test_quantile_map_agrees_with_quadrature_of_the_density():
    z = torch.tensor([[-1.7], [0.4], [1.1]], dtype=torch.float64)

    def density(v: float) -> float:
        return float(UNEVEN_1D.log_prob(torch.tensor([[v]], dtype=torch.float64)).exp())

    for latent, found in zip(z, QuantileMap(STANDARD_1D, UNEVEN_1D).decode(z)):
        mass, _ = integrate.quad(density, -12, float(found), epsabs=1e-12, limit=200)
        assert mass == pytest.approx(stats.norm.cdf(float(latent)), abs=1e-10)


def test_quantile_map_between_gaussians_is_affine_far_into_both_tails():
    a, b = equal_mixture([[1.0]], 4.0), equal_mixture([[-3.0]], 0.25)
    z = torch.linspace(-30, 30, 601, dtype=torch.float64)[:, None]
    assert (QuantileMap(a, b).decode(1 + 2 * z) - (-3 + 0.5 * z)).abs().max() < 1e-12


def test_quantile_map_there_and_back():
    """Also at 9 sigma, where 1 - F is 1e-19 and lost to a map that works with F."""
    separated = equal_mixture([[-5.0], [5.0]], 0.1)
    for law in (UNEVEN_1D, thesis_mixture("Low1DMix"), separated):
        z = torch.linspace(-9, 9, 501, dtype=torch.float64)[:, None]
        there = QuantileMap(STANDARD_1D, law).decode(z)
        assert (QuantileMap(law, STANDARD_1D).decode(there) - z).abs().max() < 1e-12
        assert bool((there.diff(dim=0) > 0).all())


def test_quantile_map_respects_the_mirror():
    mirrored = GaussianMixture(UNEVEN_1D.weights, -UNEVEN_1D.means, UNEVEN_1D.covariances)
    z = torch.linspace(-8, 8, 161, dtype=torch.float64)[:, None]
    left = QuantileMap(STANDARD_1D, UNEVEN_1D).decode(z)
    right = QuantileMap(STANDARD_1D, mirrored).decode(-z)
    assert (left + right).abs().max() < 1e-13


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.01, 1), st.floats(-20, 20), st.floats(1e-3, 5)),
        min_size=1,
        max_size=6,
    ),
    st.floats(-12, 12),
)
def test_quantile_map_solves_its_equation_for_any_mixture(parts, latent):
    w, m, s = torch.tensor(parts, dtype=torch.float64).T
    law = GaussianMixture(w / w.sum(), m[:, None], (s**2)[:, None, None])
    z = torch.tensor([[latent]], dtype=torch.float64)
    y = float(QuantileMap(STANDARD_1D, law).decode(z))
    # F must pass the level between the neighbors of y.
    below, above = y - 1e-12 * (1 + abs(y)), y + 1e-12 * (1 + abs(y))
    side = 1 if latent <= 0 else -1  # the smaller tail
    tails = [
        float(
            torch.logsumexp((w / w.sum()).log() + torch.special.log_ndtr(side * (v - m) / s), 0)
        )
        for v in (below, above)
    ]
    level = float(torch.special.log_ndtr(-z.abs()))
    slack = 1e-13 * (1 + abs(level))
    assert min(tails) - slack <= level <= max(tails) + slack


def test_quantile_map_wants_one_dimension():
    with pytest.raises(ValueError, match="target has dimension 2; the quantile map expects"):
        QuantileMap(STANDARD_1D, BENT_2D)
    with pytest.raises(ValueError, match=r"expected \(B, 1\)"):
        QuantileMap(STANDARD_1D, UNEVEN_1D).decode(torch.zeros(3))


# --- The map between Gaussians ------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 5])
def test_gaussian_monge_map_transports_with_a_symmetric_positive_jacobian(d):
    """Only the optimal map does (Brenier 1991)."""
    mean_a, mean_b = normal(2, d, 1)
    cov_a, cov_b = covariance(d, 5), covariance(d, 6)
    transport = gaussian_monge_map(mean_a, cov_a, mean_b, cov_b)
    assert torch.allclose(transport.decode(mean_a[None]), mean_b, atol=1e-12)
    jacobian = transport.jacobian(normal(4, d))
    assert jacobian_asymmetry(jacobian).max() < 1e-12
    assert torch.linalg.eigvalsh((jacobian + jacobian.mT) / 2).min() > 0
    assert torch.allclose(jacobian @ cov_a @ jacobian.mT, cov_b.expand(4, d, d), atol=1e-11)


@pytest.mark.parametrize(
    "transport",
    [
        AffineMap(torch.tensor([[2.0, 1.0], [-0.5, 3.0]]).double(), torch.ones(2).double()),
        QuantileMap(STANDARD_1D, UNEVEN_1D),
        QuantileMap(UNEVEN_1D, thesis_mixture("Low1DMix")),
    ],
    ids=["affine", "from noise", "between mixtures"],
)
def test_encode_and_jacobian_belong_to_decode(transport):
    z = normal(20, 2 if isinstance(transport, AffineMap) else 1, 3)
    assert (transport.encode(transport.decode(z)) - z).abs().max() < 1e-11
    expected = differences(transport.decode, z)
    assert torch.allclose(transport.jacobian(z), expected, rtol=1e-5, atol=1e-8)


def test_a_turned_monge_map_transports_too_but_is_not_optimal():
    cov_a, cov_b = covariance(2, 7), covariance(2, 8)
    mean = torch.zeros(2)
    whiten = gaussian_monge_map(mean, cov_a, mean, torch.eye(2))
    color = gaussian_monge_map(mean, torch.eye(2), mean, cov_b)
    x = normal(300, 2) @ torch.linalg.cholesky(cov_a).T
    best = gaussian_monge_map(mean, cov_a, mean, cov_b).decode(x)
    assert abs(relative_excess_cost(x, best)) < 1e-12
    turned = color.decode(whiten.decode(x) @ rotation(0.5).T)
    assert relative_excess_cost(x, turned) > 0.01


def test_gaussian_monge_map_names_what_is_wrong():
    eye, zero = torch.eye(2), torch.zeros(2)
    with pytest.raises(ValueError, match="not symmetric"):
        gaussian_monge_map(zero, torch.tensor([[1.0, 0.5], [0.0, 1.0]]), zero, eye)
    with pytest.raises(ValueError, match="cov_b has the eigenvalue -1; expected a positive"):
        gaussian_monge_map(zero, eye, zero, -eye)
    with pytest.raises(ValueError, match="two Gaussians in the same dimension"):
        gaussian_monge_map(zero, eye, torch.zeros(3), torch.eye(3))


# --- The Knothe-Rosenblatt map ------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_knothe_rosenblatt_map_inverts_the_conditional_laws(order):
    """By quadrature of the joint density: marginal and conditional probabilities are the
    latents'."""
    first, second = order
    z = torch.tensor([[0.7, -1.2], [-0.3, 0.8], [1.9, 1.1]], dtype=torch.float64)
    y = knothe_rosenblatt_map(BENT_2D, order)(z)
    line = torch.linspace(-8, 8, 1601, dtype=torch.float64)
    for latent, point in zip(z, y):
        grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
        density = BENT_2D.log_prob(grid).exp().reshape(len(line), -1)
        density = density if first == 0 else density.T
        marginal = integrate.simpson(density.numpy(), x=line.numpy(), axis=1)
        below = integrate.cumulative_simpson(marginal, x=line.numpy(), initial=0)
        found = np.interp(float(point[first]), line.numpy(), below)
        assert found == pytest.approx(stats.norm.cdf(float(latent[first])), abs=2e-5)

        def along(v, point=point):
            at = point.clone()
            at[second] = v
            return float(BENT_2D.log_prob(at[None]).exp())

        share = integrate.quad(along, -10, float(point[second]), epsabs=1e-13, limit=200)[0]
        whole = (
            share + integrate.quad(along, float(point[second]), 10, epsabs=1e-13, limit=200)[0]
        )
        assert share / whole == pytest.approx(stats.norm.cdf(float(latent[second])), abs=1e-9)


def test_knothe_rosenblatt_map_of_one_gaussian_is_its_cholesky_factor():
    mean, cov = normal(1, 4, 1)[0], covariance(4, 2)
    law = GaussianMixture(torch.ones(1), mean[None], cov[None])
    z = normal(50, 4, 3)
    assert (
        knothe_rosenblatt_map(law)(z) - (mean + z @ torch.linalg.cholesky(cov).T)
    ).abs().max() < 1e-12
    order = [2, 0, 3, 1]
    factor = torch.linalg.cholesky(cov[order][:, order])
    permuted = knothe_rosenblatt_map(law, order)(z)[:, order]
    assert (permuted - mean[order] - z[:, order] @ factor.T).abs().max() < 1e-12


def test_knothe_rosenblatt_map_of_a_product_is_the_quantile_map_in_each_coordinate():
    product = thesis_mixture("Low2DSymMix")  # a product of two equal laws
    factor = equal_mixture([[5.0], [-5.0]], 0.1)
    z = normal(200, 2)
    expected = torch.cat(
        [QuantileMap(STANDARD_1D, factor).decode(z[:, i : i + 1]) for i in (0, 1)], 1
    )
    for order in ((0, 1), (1, 0)):
        assert (knothe_rosenblatt_map(product, order)(z) - expected).abs().max() < 1e-11


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_knothe_rosenblatt_map_is_triangular_and_preserves_mass(order):
    z = normal(20, 2, 1)
    transport = knothe_rosenblatt_map(BENT_2D, order)
    jacobian = differences(transport, z)
    assert jacobian[:, order[0], order[1]].abs().max() < 1e-9
    log_normal = -0.5 * (z**2).sum(1) - math.log(2 * math.pi)
    change = torch.linalg.det(jacobian).log()
    assert torch.allclose(BENT_2D.log_prob(transport(z)) + change, log_normal, atol=1e-6)
    assert jacobian_asymmetry(jacobian).median() > 0.05  # not optimal


def test_knothe_rosenblatt_map_with_many_components_and_in_pieces():
    """400 components: more points than fit in one piece give what each gives alone."""
    generator = torch.Generator().manual_seed(0)
    angle = 6 * torch.rand(400, generator=generator, dtype=torch.float64)
    law = equal_mixture(torch.stack([2 * angle.sin(), angle - 3], 1).tolist(), 0.05)
    transport, z = knothe_rosenblatt_map(law), normal(3000, 2)
    y = transport(z)
    assert (transport(z[2900:2950]) - y[2900:2950]).abs().max() < 1e-12
    # The images are distributed as the law is: first two moments, at 5 standard errors
    assert ((y.mean(0) - law.mean).abs() < 5 * (law.covariance.diag() / 3000).sqrt()).all()
    first = GaussianMixture(law.weights, law.means[:, :1], law.covariances[:, :1, :1])
    score = QuantileMap(first, STANDARD_1D).decode(y[:, :1])
    assert (score[:, 0] - z[:, 0]).abs().max() < 1e-10


def test_knothe_rosenblatt_map_wants_a_permutation():
    with pytest.raises(ValueError, match=r"order is \[0, 0\]; expected each of the coordinates"):
        knothe_rosenblatt_map(BENT_2D, (0, 0))


def test_maps_return_the_type_of_their_points():
    z = normal(5, 2)
    mean, eye = torch.zeros(2), torch.eye(2)
    for transport in (
        knothe_rosenblatt_map(BENT_2D),
        gaussian_monge_map(mean, eye, mean, 2 * eye).decode,
    ):
        single = transport(z.float())
        assert single.dtype == torch.float32
        assert (single - transport(z)).abs().max() < 1e-5


# --- Asymmetry and certificates -----------------------------------------------------------------


def test_jacobian_asymmetry_of_a_turn():
    """R - R^T has the norm 2 sqrt(2) |sin|, R the norm sqrt(2)."""
    angles = [0.0, 0.3, math.pi / 2]
    found = jacobian_asymmetry(torch.stack([rotation(a) for a in angles]))
    assert torch.allclose(found, 2 * torch.tensor(angles).double().sin(), atol=1e-15)
    with pytest.raises(ValueError, match=r"expected \(B, d, d\)"):
        jacobian_asymmetry(torch.eye(2))
    with pytest.raises(ValueError, match="holds a matrix of zeros; leave such points out"):
        jacobian_asymmetry(torch.zeros(1, 2, 2))


def linear_map(matrix):
    return lambda x: x @ matrix.T.to(x)


SYMMETRIC = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)


def with_turn(b: float) -> torch.Tensor:
    """S + A with S^{-1/2} A S^{-1/2} = b times the quarter turn."""
    return SYMMETRIC + b * SYMMETRIC.det().sqrt() * rotation(math.pi / 2)


@pytest.mark.parametrize("b", [0.5, -0.1, 0.01])
def test_certificate_has_the_gain_of_the_formula_and_the_shortest_cycle(b):
    """The gain is positive if and only if tan(pi / L) < b."""
    matrix, center = with_turn(b), torch.tensor([3.0, -1.0]).double()
    shortest = math.pi / math.atan(abs(b))
    for points in (math.floor(shortest), math.floor(shortest) + 1, 4 * math.ceil(shortest)):
        found = cycle_certificate(linear_map(matrix), center, matrix, 0.2, points)
        step = 2 * math.pi / points
        expected = abs(b) * math.sin(step) - 1 + math.cos(step)
        assert found.gain / found.covariance == pytest.approx(expected, rel=1e-6, abs=1e-13)
        assert found.accepted == (points > shortest)
    chosen = cycle_certificate(linear_map(matrix), center, matrix, 0.2)
    assert chosen.accepted
    assert len(chosen.points) == math.ceil(math.pi / math.atan(abs(b) / 2))
    assert float((chosen.points - center).norm(dim=1).max()) == pytest.approx(0.2, rel=0.01)


def test_the_gain_is_the_difference_of_two_costs():
    found = cycle_certificate(linear_map(with_turn(0.3)), normal(1, 2)[0], with_turn(0.3))
    x, y = found.points, found.images
    paired, shifted = ((x - v).square().sum(1).mean() for v in (y, y.roll(-1, 0)))
    assert found.gain == pytest.approx(float(paired - shifted), rel=1e-9)
    # so that the discrete optimum is cheaper than the map as well, and at least by so much
    assert relative_excess_cost(x, y) >= found.gain / float(shifted) * (1 - 1e-9)


def test_certificate_of_a_map_that_turns_back():
    """A symmetric Jacobian with a negative eigenvalue: two points are enough."""
    matrix = torch.diag(torch.tensor([1.0, -0.1]).double())
    found = cycle_certificate(linear_map(matrix), torch.zeros(2), matrix, 0.1)
    assert len(found.points) == 2 and found.accepted
    assert found.gain == pytest.approx(4 * 0.1 * 0.1**2)  # |x_1 - x_2|^2 = 4 r^2, times 0.1


@pytest.mark.parametrize("d", [3, 6])
def test_certificate_finds_the_plane_in_which_the_map_turns(d):
    symmetric = covariance(d, 1)
    noise = 0.05 * normal(d, d, 2)
    matrix = symmetric + noise - noise.T
    found = cycle_certificate(linear_map(matrix), normal(1, d)[0], matrix)
    spectrum, axes = torch.linalg.eigh(symmetric)
    root = (axes * spectrum**-0.5) @ axes.T
    b = float(torch.linalg.svdvals(root @ (noise - noise.T) @ root)[0])
    step = 2 * math.pi / len(found.points)
    assert found.accepted
    assert found.gain / found.covariance == pytest.approx(b * math.sin(step) - 1 + math.cos(step))


@pytest.mark.parametrize("angle", [1.0, 0.1, 0.01])
def test_certificate_of_a_turned_monge_map(angle):
    """x -> T(Q x) with Q a rotation transports N(0, I) as T does, at a higher cost."""
    mean = torch.zeros(2)
    color = gaussian_monge_map(mean, torch.eye(2), mean, SYMMETRIC)
    center = normal(1, 2)
    for turn, expected in ((0.0, False), (angle, True)):

        def transport(x, turn=turn):
            return color.decode(x @ rotation(turn).T)

        jacobian = differences(transport, center)[0]
        found = cycle_certificate(transport, center[0], jacobian)
        assert found.accepted is expected


def test_certificate_of_the_knothe_rosenblatt_map():
    transport, z = knothe_rosenblatt_map(BENT_2D), normal(5, 2)
    for center, jacobian in zip(z, differences(transport, z)):
        assert cycle_certificate(transport, center, jacobian, 0.05).accepted
    product = knothe_rosenblatt_map(thesis_mixture("Low2DSymMix"))
    for center, jacobian in zip(z, differences(product, z)):
        assert not cycle_certificate(product, center, jacobian, 0.05).accepted


def test_certificates_are_looked_for_where_the_map_turns_most():
    """The map turns beyond a radius only: around the five best centers out of many, and with
    smaller ellipses, until one is accepted."""

    def transport(x, sign=1.0):
        outside = (x.norm(dim=1, keepdim=True) - 2).clamp(min=0)
        return 2 * x + sign * outside * torch.stack([-x[:, 1], x[:, 0]], 1)

    centers = torch.cat([0.5 * normal(50, 2), torch.tensor([[2.03, 0.0]]).double()])
    jacobians = differences(transport, centers)
    found = find_certificate(transport, transport, centers, jacobians)
    assert found.accepted
    assert float((found.points - centers[-1]).norm(dim=1).max()) < 0.11
    straight = partial(transport, sign=0.0)
    refuted = find_certificate(transport, straight, centers, jacobians)
    assert not refuted.accepted and refuted.gain <= 0
    product = knothe_rosenblatt_map(thesis_mixture("Low2DSymMix"))
    z = normal(5, 2)
    last = find_certificate(product, product, z, differences(product, z), most_points=100)
    assert not last.accepted and len(last.points) == 100


def test_refinement_decides_where_the_coarse_map_is_wrong():
    """A coarse map that turns is no proof if the refined one does not; and the reverse."""
    turned, straight = linear_map(with_turn(0.2)), linear_map(SYMMETRIC)
    jacobian, center = with_turn(0.2), torch.ones(2).double()
    assert cycle_certificate(turned, center, jacobian).accepted
    doubted = cycle_certificate(turned, center, jacobian, refined=straight)
    assert doubted.gain < 0 and not doubted.accepted
    assert not cycle_certificate(straight, center, jacobian, refined=turned).accepted
    nearly = linear_map(with_turn(0.2 + 1e-6))
    assert cycle_certificate(turned, center, jacobian, refined=nearly).accepted


@pytest.mark.parametrize("seed", range(5))
def test_the_error_bounds_the_effect_of_any_error_of_the_map(seed):
    noise = 1e-3 * normal(100, 2, seed)
    exact = linear_map(with_turn(0.2))
    arguments = torch.zeros(2).double(), with_turn(0.2), 0.1, 100
    true = cycle_certificate(exact, *arguments)
    found = cycle_certificate(lambda x: exact(x) + noise, *arguments, refined=exact)
    spoiled = cycle_certificate(lambda x: exact(x) + noise, *arguments)
    assert abs(spoiled.gain - true.gain) <= found.error
    assert true.error < 1e-3 * found.error


def test_single_precision_is_not_taken_for_exact():
    """In float32 the rounding of distant images hides a small gain."""
    matrix = with_turn(0.01)

    def single(x):
        return (x @ matrix.T + 1e4).float()

    exact = cycle_certificate(lambda x: x @ matrix.T + 1e4, torch.zeros(2), matrix)
    assert exact.accepted
    assert not cycle_certificate(single, torch.zeros(2), matrix).accepted


finite = st.floats(-2, 2)


@settings(max_examples=150, deadline=None)
@given(
    ridges=st.lists(st.tuples(st.floats(0, 3), finite, finite, finite), min_size=0, max_size=5),
    curvature=st.floats(0.01, 2),
    center=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    guess=st.tuples(*[finite] * 4),
    right_guess=st.booleans(),
    radius=st.floats(0.01, 1),
    points=st.one_of(st.none(), st.integers(2, 500)),
)
@example(  # turns by the smallest of numbers, whose half is zero
    ridges=[(0.0625, 2.0, 2.225073858507203e-309, 0.0)] * 2,
    curvature=1.0,
    center=(0.0, 0.0),
    guess=(0.0,) * 4,
    right_guess=True,
    radius=1.0,
    points=None,
)
def test_certificate_never_accepts_a_gradient_of_a_convex_function(
    ridges, curvature, center, guess, right_guess, radius, points
):
    """Whatever the Jacobian is said to be, and with the true one: the gradient of
    |x|^2 c/2 + sum a log cosh(w x + b), an optimal map."""

    def potential(x):
        value = curvature / 2 * (x**2).sum()
        for a, v, w, b in ridges:
            value = value + a * torch.log(torch.cosh(x @ x.new_tensor([v, w]) + b)).sum()
        return value

    def transport(x):
        gradient = curvature * x
        for a, v, w, b in ridges:
            direction = x.new_tensor([v, w])
            gradient = gradient + a * torch.tanh(x @ direction + b)[:, None] * direction
        return gradient

    at = torch.tensor(center, dtype=torch.float64)
    jacobian = torch.tensor(guess, dtype=torch.float64).reshape(2, 2)
    if right_guess:
        jacobian = torch.func.jacrev(lambda v: transport(v[None])[0])(at)
        if at.abs().max() < 5:  # where log cosh does not overflow
            hessian = torch.autograd.functional.hessian(lambda v: potential(v[None]), at)
            assert torch.allclose(jacobian, hessian, atol=1e-9)
    assert not cycle_certificate(transport, at, jacobian, radius, points).accepted


@settings(max_examples=50, deadline=None)
@given(angle=st.floats(1e-3, 3), seed=st.integers(0, 1000), d=st.integers(2, 4))
def test_certificate_accepts_each_turned_gaussian_map(angle, seed, d):
    mean = torch.zeros(d)
    color = gaussian_monge_map(mean, torch.eye(d), mean, covariance(d, seed))
    turn = torch.eye(d, dtype=torch.float64)
    turn[:2, :2] = rotation(angle)

    def transport(x):
        return color.decode(x @ turn.T)

    center = normal(1, d, seed)
    jacobian = differences(transport, center, 1e-3)[0]
    assert cycle_certificate(transport, center[0], jacobian).accepted


def test_certificate_names_what_is_wrong():
    matrix, center = torch.eye(2), torch.zeros(2)
    with pytest.raises(ValueError, match=r"expected \(d,\) and \(d, d\) with d at least 2"):
        cycle_certificate(linear_map(matrix), center, torch.eye(3))
    with pytest.raises(ValueError, match="radius is 0; expected a number above 0"):
        cycle_certificate(linear_map(matrix), center, matrix, 0)
    with pytest.raises(ValueError, match="points is 1; expected a whole number of at least 2"):
        cycle_certificate(linear_map(matrix), center, matrix, points=1)
    with pytest.raises(ValueError, match="jacobian holds 1 values that are NaN"):
        cycle_certificate(linear_map(matrix), center, torch.tensor([[1.0, math.nan], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"what transport_map returns .*; expected the same"):
        cycle_certificate(lambda x: x[:1], center, matrix)


def test_excess_of_composed_gaussian_maps_against_pot_and_scipy():
    generator = torch.Generator().manual_seed(12)
    for _ in range(5):
        roots = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
        a, b = (roots @ roots.mT + 0.1 * torch.eye(3)).numpy()
        composed = linalg.sqrtm(b) @ np.linalg.inv(linalg.sqrtm(a))
        moved = np.eye(3) - composed
        paired = np.trace(moved @ a @ moved.T)
        zero = np.zeros(3)
        optimal = ot.gaussian.bures_wasserstein_distance(zero, zero, a, b) ** 2
        found = composition_excess(torch.from_numpy(a), torch.from_numpy(b))
        assert found == pytest.approx(paired / optimal - 1, rel=1e-8)
    assert composition_excess(torch.eye(2), 4 * torch.eye(2)) == pytest.approx(0, abs=1e-12)
    for unit in (1e-200, 1e-24, 1e24, 1e200):
        scaled = composition_excess(unit * torch.from_numpy(a), unit * torch.from_numpy(b))
        assert scaled == pytest.approx(found, rel=1e-12)
    with pytest.raises(ValueError, match="nothing to move"):
        composition_excess(torch.eye(2), torch.eye(2))
