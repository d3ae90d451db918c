"""Bad input to maps, flows, laws and their measures."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from misuse import Case, Use, check, expect, misuses

from chapters.memorization import basins
from chapters.random_densities import discretized, visibility
from chapters.transport_methods.measurements import law_distance
from chapters.transport_methods.methods import MethodTask
from chapters.transport_methods.paths import crossing, own_time
from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.density import DensityFlow
from diffot.flows.exact import ExactFlow
from diffot.flows.probability import ProbabilityFlow
from diffot.laws import densities, mixtures, toy
from diffot.laws.quasi_random import quasi_normal
from diffot.measures import evaluation
from diffot.processes import schedules
from diffot.transport import rearrangement
from diffot.transport.assignment import optimal_assignment, relative_excess_cost, transport_cost
from diffot.transport.bridges import EntropicMap, entropic_map, gaussian_bridge
from diffot.transport.certificates import cycle_certificate, find_certificate, jacobian_asymmetry
from diffot.transport.couplings import GaussianCoupling, gradient_rectified, rectified
from diffot.transport.gaussian import affine_fit, composition_excess, gaussian_monge_map
from diffot.transport.one_dimension import QuantileMap
from diffot.transport.semidiscrete import (
    LaguerreDiagram,
    approximate_diagram,
    optimal_diagram,
)
from diffot.transport.triangular import empirical_cdf_map, knothe_rosenblatt_map

X = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
Y = X.flip(0) + 1
EYE = torch.eye(2, dtype=torch.float64)
BENT = torch.tensor([[1.0, 0.5], [-0.5, 1.0]], dtype=torch.float64)
WIDE = torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
LAW = mixtures.equal_mixture([[1.0, 0.0], [-1.0, 0.0]], 0.5)
LINE = mixtures.equal_mixture([[1.0], [-1.0]], 0.5)
MONGE = gaussian_monge_map(X[0], EYE, X[1], WIDE)
DIAGRAM = LaguerreDiagram(X[:2], X[:2, 0])
DENSITY = densities.QuarticMixture(X[:1], X[:1], EYE[None], EYE[None])
GENERATOR = torch.Generator().manual_seed(2)
EXACT = ExactDenoiser(LAW, schedules.linear(100))
WEIGHTS = torch.full((2,), 0.5, dtype=torch.float64)
NUMBERS = {"array", "list"}  # where numbers in any form are taken
LOOSE = NUMBERS | {"integers"}
FOLDED = GaussianCoupling.of_map(EYE, -WIDE)
LEVELS = {"alpha": {"list", "array", "vector"}, "sigma": {"list", "array", "vector"}}


def linear(x):
    return x @ BENT.T


def with_jacobian(z):
    return z.double() @ BENT.T, BENT.expand(len(z), 2, 2)


def still(x, t):
    return -x


USES = [
    Use(transport_cost, {"x": X, "y": Y, "order": 1}),
    Use(
        optimal_assignment,
        {"x": X, "y": Y, "order": 2, "guess": torch.arange(6)},
        {"guess": {"None"}},
    ),
    Use(relative_excess_cost, {"x": X, "y": Y, "optimal": Y}, {"optimal": {"None"}}),
    Use(QuantileMap, {"source": LINE, "target": LINE}),
    Use(QuantileMap(LINE, LINE).decode, {"z": X[:, :1]}),
    Use(QuantileMap(LINE, LINE).encode, {"x": X[:, :1]}),
    Use(MONGE.decode, {"z": X}),
    Use(MONGE.encode, {"x": X}),
    Use(MONGE.jacobian, {"z": X}),
    Use(
        gaussian_monge_map,
        {"mean_a": X[0], "cov_a": EYE, "mean_b": X[1], "cov_b": WIDE},
    ),
    Use(composition_excess, {"cov_a": EYE, "cov_b": WIDE}),
    Use(knothe_rosenblatt_map, {"mixture": LAW, "order": (1, 0)}, {"order": {"None"}}),
    Use(
        empirical_cdf_map,
        {"points": X, "tolerance": 0.1, "order": (1, 0)},
        {"order": {"None"}},
    ),
    Use(affine_fit, {"x": X, "y": Y}),
    Use(jacobian_asymmetry, {"jacobian": BENT[None]}),
    Use(
        cycle_certificate,
        {
            "transport_map": linear,
            "center": X[0],
            "jacobian": BENT,
            "radius": 0.1,
            "points": 9,
            "refined": linear,
            "most_points": 50,
        },
        {"points": {"None"}, "refined": {"None"}},
    ),
    Use(
        find_certificate,
        {
            "transport_map": linear,
            "refined": linear,
            "centers": X[:1],
            "jacobians": BENT[None],
            "radii": (0.1,),
            "most_points": 50,
        },
    ),
    Use(LaguerreDiagram, {"points": X[:2], "weights": WEIGHTS}),
    Use(DIAGRAM.cells, {"z": X}),
    Use(DIAGRAM.decode, {"z": X}),
    Use(DIAGRAM.surplus, {"z": X, "chosen": torch.zeros(6).long()}),
    Use(DIAGRAM.jacobian, {"z": X}),
    Use(DIAGRAM.polygon, {"k": 0}),
    Use(
        optimal_diagram,
        {"points": X[:2], "masses": WEIGHTS, "tolerance": 1e-9},
        {"masses": NUMBERS},
    ),
    Use(
        approximate_diagram,
        {
            "points": X[:2],
            "masses": WEIGHTS,
            "generator": GENERATOR,
            "steps": 2,
            "batch": 2,
        },
        {"masses": NUMBERS},
    ),
    Use(entropic_map, {"z": X, "x": X, "epsilon": 0.5, "tolerance": 1e-3, "most_rounds": 500}),
    Use(EntropicMap, {"points": X, "potentials": X[:, 0], "epsilon": 0.5}),
    Use(gaussian_bridge, {"source": EYE, "target": WIDE, "epsilon": 0.5}, {}),
    Use(GaussianCoupling, {"source": EYE, "target": WIDE, "cross": BENT / 9}, {}),
    Use(basins.flow_cells, {"points": X[:2], "z": X, "tolerance": 1e-3}),
    Use(basins.span_of, {"points": X}),
    Use(basins.optimal, {"points": X, "draws": GENERATOR}),
    Use(basins.compare, {"points": X, "latents": 5, "draws": GENERATOR}),
    Use(
        basins.PointsTask,
        {"law": "normal", "dim": 2, "n": 3, "index": 0, "latents": 9, "seed": 0},
    ),
    Use(basins.FacesTask, {"n": 3, "index": 0, "latents": 9, "seed": 0}),
    Use(basins.measure_points, {"task": basins.PointsTask("normal", 2, 3, 0, 9)}),
    Use(basins.measure_faces, {"task": basins.FacesTask(3, 0, 9)}),
    Use(
        rearrangement.rearrange,
        {
            "decode_with_jacobian": with_jacobian,
            "degree": 1,
            "rounds": 1,
            "spacing": 0.5,
            "reach": 3.0,
        },
    ),
    Use(
        mixtures.GaussianMixture,
        {"weights": WEIGHTS, "means": X[:2], "covariances": torch.stack([EYE, WIDE])},
        {"weights": NUMBERS, "means": LOOSE, "covariances": LOOSE},
    ),
    Use(LAW.sample, {"n": 3, "generator": GENERATOR}),
    Use(LAW.marginal, {"alpha": 0.8, "sigma": 0.6}),
    Use(LAW.log_prob, {"x": X, "alpha": 0.8, "sigma": 0.6}, LEVELS),
    Use(LAW.score, {"x": X, "alpha": 0.8, "sigma": 0.6}, LEVELS),
    Use(LAW.mode, {"x": X}),
    Use(LAW.responsibilities, {"x": X, "alpha": 0.8, "sigma": 0.6}, LEVELS),
    Use(LAW.posterior_mean, {"x": X, "alpha": 0.8, "sigma": 0.6}, LEVELS),
    Use(LAW.posterior_covariance, {"x": X, "alpha": 0.8, "sigma": 0.6}, LEVELS),
    Use(LAW.posterior, {"x": X[0], "alpha": 0.8, "sigma": 0.6}),
    Use(quasi_normal, {"n": 4, "dim": 2, "generator": GENERATOR}),
    Use(
        mixtures.equal_mixture,
        {"means": X[:2], "variances": 0.5},
        {"means": LOOSE, "variances": {"list", "vector"}},
    ),
    Use(mixtures.thesis_mixture, {"name": "Low1DMix"}, named={"name": "mixture"}),
    Use(ExactFlow, {"law": LAW, "tolerance": 1e-6}),
    *(
        Use(getattr(flow, method), {name: X})
        for flow in (ExactFlow(LAW, 1e-6), DensityFlow(DENSITY, 0.5, 1e-4, 32))
        for method, name in (("decode", "z"), ("encode", "x"), ("jacobian", "z"))
    ),
    Use(ExactFlow(LAW, 1e-6).log_likelihood, {"x": X}),
    Use(
        ProbabilityFlow,
        {"denoiser": EXACT, "tolerance": 1e-3, "prior": LAW},
        {"prior": {"None"}},
    ),
    *(
        Use(getattr(ProbabilityFlow(EXACT, 1e-3), method), {name: X})
        for method, name in (
            ("decode", "z"),
            ("encode", "x"),
            ("jacobian", "z"),
            ("log_likelihood", "x"),
        )
    ),
    Use(
        ProbabilityFlow(EXACT, 1e-3).estimate_log_likelihood,
        {"x": X, "probes": 2, "generator": GENERATOR},
    ),
    Use(
        DensityFlow,
        {"density": DENSITY, "time": 0.5, "tolerance": 1e-4, "nodes": 32},
        {"time": {"infinity"}},
    ),
    Use(DensityFlow(DENSITY, nodes=32).score, {"x": X, "time": 0.5}, {"time": {"infinity"}}),
    Use(discretized.runge_kutta, {"score": still, "x": X, "times": (0.0, 0.1)}),
    Use(discretized.linear_in_time, {"score": still, "times": (0.0, 0.1)}),
    Use(discretized.linear_in_time(still, (0.0, 1.0)), {"x": X, "t": 0.5}, {"x": {"all"}}),
    Use(discretized.tabulated, {"density": DENSITY, "nodes": 32, "reach": 6.0}),
    Use(discretized.tabulated(DENSITY, 32), {"x": X, "t": 0.5}),
    Use(
        densities.QuarticMixture,
        {"a1": X[:1], "a2": X[:1], "q1": EYE[None], "q2": EYE[None]},
    ),
    Use(DENSITY.log_prob, {"x": X}),
    Use(DENSITY.score, {"x": X}),
    Use(DENSITY.sample, {"n": 3, "generator": GENERATOR}),
    Use(densities.random_density, {"family": "compact", "generator": GENERATOR}),
    Use(visibility.DensityTask, {"family": "compact", "index": 0, "seed": 0}),
    Use(visibility.MixtureTask, {"dim": 2, "index": 0, "seed": 0}),
    Use(
        visibility.PopulationTask,
        {"family": "compact", "index": 0, "seed": 0, "spacing": 0.5},
    ),
    Use(visibility.random_gaussian_mixture, {"dim": 2, "draws": GENERATOR}),
    Use(
        evaluation.noise_errors,
        {"denoiser": EXACT, "exact": EXACT, "n": 5, "generator": GENERATOR},
    ),
    Use(evaluation.map_errors, {"exact": EXACT, "reference": X, "other": Y}),
    Use(toy.s_curve, {"n": 5, "generator": GENERATOR}),
    Use(toy.s_curve_mixture, {"components": 5}),
]


@pytest.mark.parametrize(("use", "argument", "value"), misuses(USES))
def test_spoilt_arguments_are_named(use, argument, value):
    check(use, argument, value)


SLANTED = torch.tensor([[1.0, 0.5], [0.0, 1.0]], dtype=torch.float64)
INDEFINITE = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
SINGULAR = torch.ones(2, 2, dtype=torch.float64)
FAR = torch.full((2, 2), 1e200, dtype=torch.float64)
PAIRS = {
    "transport_cost": transport_cost,
    "optimal_assignment": optimal_assignment,
    "relative_excess_cost": relative_excess_cost,
    "affine_fit": affine_fit,
    "map_errors": partial(evaluation.map_errors, EXACT),
}
COVARIANCES = {"slanted": SLANTED, "indefinite": INDEFINITE, "singular": SINGULAR, "one": EYE[0]}

CASES = [
    *(
        Case(partial(function, x, y), says, f"{name}-{label}")
        for name, function in PAIRS.items()
        for label, x, y, says in (
            ("one-row", X[:1], Y, "(1, 2)"),
            ("one-row-second", X, Y[:1], "(1, 2)"),
            ("column", X, Y[:, :1], "(6, 1)"),
            ("line", X[0], Y[0], "(2,)"),
            ("empty", X[:0], Y[:0], "expected at least one point"),
        )
    ),
    *(
        Case(partial(function, *arguments), says, f"{function.__name__}-{label}")
        for label, bad in COVARIANCES.items()
        for function, arguments, says in (
            (composition_excess, (bad, WIDE), "cov_a"),
            (composition_excess, (WIDE, bad), "cov_b"),
            (gaussian_monge_map, (X[0], bad, X[0], WIDE), "cov_a"),
            (gaussian_monge_map, (X[0], WIDE, X[0], bad), "cov_b"),
            (mixtures.GaussianMixture, ([1.0], X[:1], bad[None]), "covariances"),
        )
    ),
    Case(partial(composition_excess, EYE, torch.eye(3)), "(3, 3)"),
    Case(partial(GaussianCoupling, EYE, WIDE, 9 * EYE), "cross is too large"),
    Case(partial(GaussianCoupling, EYE, torch.eye(3).double(), EYE), "(3, 3)"),
    Case(partial(rectified, FOLDED), "singular covariance", "folded"),
    Case(partial(gradient_rectified, FOLDED), "singular covariance", "folded-gradient"),
    Case(partial(rectified, FOLDED, -1.0), "epsilon", "negative-noise"),
    Case(partial(entropic_map, X, Y, 0.0), "epsilon", "no-noise"),
    Case(partial(entropic_map, X, Y, -1.0), "epsilon", "negative"),
    Case(partial(entropic_map, X, Y[:, :1], 1.0), "same dimension", "other-dimension"),
    Case(partial(gaussian_bridge, EYE, WIDE, 0.0), "epsilon", "bridge-without-noise"),
    Case(partial(law_distance, X, Y[:3]), "(3, 2)", "unequal-samples"),
    Case(partial(MethodTask, "V", "entropic", 0, 0), "above 0", "task-epsilon"),
    Case(partial(MethodTask, "V", "minibatch", 1024, 0), "divides", "task-batch"),
    Case(partial(MethodTask, "V", "reflow", 1.5, 0), "whole number", "task-rounds"),
    Case(partial(crossing, LAW, 0.5), "flow", "crossing-law"),
    Case(partial(own_time, EXACT, X, 0.1, 0.05), "last", "backwards"),
    Case(partial(transport_cost, X, Y, 0), "order is 0"),
    Case(partial(transport_cost, FAR, -FAR), "larger unit of length"),
    Case(partial(relative_excess_cost, X, Y, Y[:1]), "optimal (1, 2)"),
    Case(partial(optimal_assignment, X, Y, guess=torch.zeros(6).long()), "guess"),
    Case(partial(jacobian_asymmetry, torch.zeros(1, 2, 2)), "zeros"),
    Case(partial(jacobian_asymmetry, torch.ones(1, 2, 3)), "(1, 2, 3)"),
    Case(partial(empirical_cdf_map, X, -0.1), "tolerance is -0.1"),
    Case(partial(empirical_cdf_map, X, 0.1, "ab"), "order"),
    Case(partial(empirical_cdf_map, X, 0.1, (0, 1.0)), "order"),
    Case(partial(find_certificate, linear, linear, X[:0], BENT[None][:0]), "centers"),
    Case(partial(find_certificate, linear, linear, X, BENT[None]), "jacobians"),
    Case(
        partial(find_certificate, linear, linear, X[:1], BENT[None], ()),
        "radii",
    ),
    Case(partial(cycle_certificate, lambda x: x * math.nan, X[0], BENT), "transport_map"),
    Case(partial(LaguerreDiagram, X[:2], WEIGHTS[:1]), "weights"),
    Case(partial(DIAGRAM.polygon, 2), "k is 2"),
    Case(partial(LaguerreDiagram, X[:0], WEIGHTS[:0]), "points"),
    Case(partial(MONGE.decode, X[:, :1]), "z has shape (6, 1)"),
    Case(partial(optimal_diagram, X[:2], torch.ones(2) / 3), "masses"),
    Case(partial(optimal_diagram, X[:3], WEIGHTS), "masses has 2 numbers"),
    Case(partial(optimal_diagram, X[:2], [1.0, 0.0]), "masses"),
    Case(partial(approximate_diagram, X[:3], WEIGHTS, GENERATOR), "masses has 2 numbers"),
    Case(partial(approximate_diagram, X[[0, 0]], WEIGHTS, GENERATOR), "coincide"),
    Case(partial(DIAGRAM.surplus, X, torch.tensor([0, 1])), "chosen has 2 indices for 6"),
    Case(partial(DIAGRAM.surplus, X, torch.full((6,), 2)), "chosen has values outside"),
    Case(partial(DIAGRAM.cells, X[:, :1]), "z has shape (6, 1); expected (B, 2)"),
    Case(partial(basins.compare, X[[0, 0, 1]], 9, GENERATOR), "coincide"),
    Case(partial(basins.compare, X[:1], 9, GENERATOR), "expected (n, d), both at least 2"),
    Case(partial(basins.PointsTask, "Low2DASymMix", 3, 9, 0, 9), "dim is 3; expected 2"),
    Case(partial(basins.PointsTask, "normal", 2, 1, 0, 9), "n is 1"),
    Case(partial(basins.PointsTask, "Low2DAsymMix", 2, 9, 0, 9), "did you mean Low2DASymMix"),
    Case(partial(rearrangement.rearrange, lambda z: (z, EYE)), "decode_with_jacobian"),
    Case(partial(rearrangement.rearrange, lambda z: (z[:1], EYE[None])), "decode_with_jacobian"),
    Case(partial(rearrangement.rearrange, with_jacobian, reach=-6.0), "reach is -6"),
    Case(partial(discretized.tabulated, DENSITY, 32, 0.0), "reach is 0"),
    Case(partial(discretized.tabulated, DENSITY, 32, -1.0), "reach is -1"),
    Case(lambda: discretized.tabulated(DENSITY, 32)(X, -0.1), "t is -0.1"),
    Case(partial(discretized.runge_kutta, still, X, (0.0, math.nan)), "times"),
    Case(partial(discretized.runge_kutta, still, X, (0.0, 1.0, 0.5)), "times"),
    Case(partial(discretized.linear_in_time, still, (1.0, 0.0)), "times decrease"),
    Case(partial(LAW.responsibilities, X, WEIGHTS), "alpha"),
    Case(partial(LAW.responsibilities, X, WEIGHTS[:0]), "alpha"),
    Case(partial(LAW.posterior_mean, X, 0.0, 0.0), "alpha and sigma are both 0"),
    Case(partial(LAW.posterior, X[0], 1.0, 0.0), "sigma is 0"),
    Case(partial(mixtures.equal_mixture, [[0.0], [1.0]], [1.0, 2.0, 3.0]), "variances"),
    Case(partial(mixtures.equal_mixture, [[0.0], [1.0]], -1.0), "variances"),
    Case(partial(mixtures.equal_mixture, [[0.0], [1.0, 2.0]], 1.0), "means"),
    Case(partial(mixtures.GaussianMixture, [0.5, 0.5], X[:1], EYE[None]), "weights"),
    Case(partial(visibility.DensityTask, "compct", 0, 0), "did you mean compact"),
    Case(partial(evaluation.noise_errors, EXACT, EXACT, 1, GENERATOR), "n is 1"),
    Case(
        lambda: evaluation.noise_errors(
            EXACT, ExactDenoiser(LAW, schedules.linear(50)), 5, GENERATOR
        ),
        "different schedules",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name or case.says)
def test_bad_calls_say_what_is_wrong(case):
    expect(case.call, case.says)


def test_whole_numbers_of_other_libraries_serve():
    assert len(LAW.sample(np.int64(3), GENERATOR)) == 3
    assert len(quasi_normal(torch.tensor(4), np.int32(2), GENERATOR)) == 4
    assert transport_cost(X, Y, np.int64(2)) == transport_cost(X, Y)
    assert len(DensityFlow(DENSITY, 0.1, 1e-4, np.int64(64)).encode(X)) == 6
