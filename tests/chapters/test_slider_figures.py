"""Frames of sliders show what they are given, where they say, at the same place in each frame."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from bookkit.plots import EXACT, MAPS, MODES
from chapters.foundations import figures as foundations
from chapters.premise import figures as premise
from chapters.transport_methods import figures as transport_methods
from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.exact import ExactFlow
from diffot.laws import examples
from diffot.processes import schedules
from diffot.samplers.ddim import ddim_path


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def dots(ax):
    """Offsets and colors of the scattered points, in the order in which they were drawn."""
    drawn = [c for c in ax.collections if len(c.get_offsets()) > 1 or c.get_offsets().any()]
    return [(np.asarray(c.get_offsets()), [to_hex(f) for f in c.get_facecolors()]) for c in drawn]


def test_carried_points_have_the_color_of_their_quarter_and_tracks_end_at_dots():
    x = torch.tensor([[1.0, 1.0], [-1.0, 2.0], [-1.0, -1.0], [2.0, -1.0]], dtype=torch.float64)
    tracks = torch.tensor([[[0.5, 0.0], [0.0, 0.5]], [[0.6, 0.1], [0.1, 0.9]]]).double()
    line = torch.linspace(-3, 3, 31, dtype=torch.float64)
    density = (-(line[:, None] - 1).square() - line.square()).exp()  # its center is at (1, 0)
    (ax,) = foundations.carried(x, torch.arange(4), tracks, line, density).axes
    points, ends = dots(ax)
    assert np.allclose(points[0], x) and points[1] == MODES
    assert np.allclose(ends[0], tracks[-1])
    curves = [curve.get_xydata() for curve in ax.lines if len(set(curve.get_xdata())) == 2]
    assert any(np.allclose(curve, tracks[:, 0]) for curve in curves)
    assert any(np.allclose(curve, tracks[:, 1]) for curve in curves)
    darkest = ax.collections[0].get_paths()[-1].vertices
    assert np.allclose(darkest.mean(0), (1, 0), atol=0.1)
    assert ax.get_xlim() == ax.get_ylim() == (-3, 3)


def test_an_entropic_frame_is_a_net_with_dots_where_latents_are_near_the_origin():
    line = torch.linspace(-2, 2, 5, dtype=torch.float64)
    latents = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    images = latents / 2 + 0.1
    sample = torch.tensor([[0.3, 0.2], [1.0, -1.0]], dtype=torch.float64)
    for color in (MAPS["flow"], "#123456"):
        figure = transport_methods.entropic_frame(latents, images, sample, "ε = 1", color)
        (ax,) = figure.axes
        net = [c for c in ax.lines if len(c.get_xdata()) == 5]
        assert len(net) == 10 and {c.get_color() for c in net} == {color}
        assert all(any(np.allclose(c.get_xydata(), row) for c in net) for row in images)
        cloud, near = dots(ax)
        assert np.allclose(cloud[0], sample)
        assert np.allclose(near[0], [[0.1, 0.1]])  # the only latent within one of the origin
        assert ax.get_title(loc="left") == "ε = 1"
        assert ax.get_xlim() == ax.get_ylim() == (-3, 3)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_dot_of_an_opening_pair_is_in_the_middle_of_its_bracket(at):
    angles, lower, upper = [0.0, 50.0, 90.0], [0.0, 2.0, 0.1], [0.02, 2.4, 0.3]
    sample = torch.tensor([[1.0, 0.5], [-1.0, 0.5]], dtype=torch.float64)
    axes = torch.tensor([[[0.5, -1.0], [1.5, 1.0]], [[-0.5, -1.0], [-1.5, 1.0]]]).double()
    above, below = premise.opening(sample, axes, angles, lower, upper, at).axes
    (dot,) = [c for c in below.lines if c.get_marker() == "o"]
    assert np.allclose(dot.get_xydata(), [[angles[at], (lower[at] + upper[at]) / 2]])
    assert below.get_title(loc="left") == f"{lower[at]:.2f} to {upper[at]:.2f} percent"
    assert below.get_xlim()[0] < 0 and below.get_xlim()[1] > 90 and below.get_ylim()[0] == 0
    assert np.allclose(dots(above)[0][0], sample)
    (centers,) = [c for c in above.lines if c.get_color() == EXACT]
    assert np.allclose(centers.get_xydata(), [[1, 0], [-1, 0]])
    for axis in axes:
        assert any(np.allclose(c.get_xydata(), axis) for c in above.lines if c.get_lw() == 2)
    assert above.get_xlim() == (-3.9, 3.9)


def test_the_flow_to_a_noisy_law_is_the_first_part_of_the_flow_to_the_data():
    """As chapter F.5 draws it; by DDIM, which comes nearer in proportion to its steps."""
    law = examples.bent_pair()
    z = torch.tensor([[1.0, 0.5], [-0.7, 1.2], [0.3, -1.5]], dtype=torch.float64)
    denoiser = ExactDenoiser(law, schedules.Rectified())
    coarse, fine = (ddim_path(denoiser, z, steps) for steps in (400, 800))
    for share in (0.25, 0.5, 0.8):  # of the way
        x = ExactFlow(law.marginal(share, 1 - share), 1e-9).decode(z)
        errors = [float((path[round(share * (len(path) - 1))] - x).abs().max())
                  for path in (coarse, fine)]  # fmt: skip
        assert errors[1] < 0.01 and 1.8 < errors[0] / errors[1] < 2.2
