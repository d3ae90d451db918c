"""Rows on the asymmetry of maps to images, on maps whose asymmetry is known."""

import pytest
import torch

from chapters.image_transport import controls, measurements
from chapters.image_transport.measurements import AsymmetryTask, Network
from diffot.denoisers.exact import ExactDenoiser
from diffot.flows.jacobian import SymmetricPart
from diffot.laws.mixtures import GaussianMixture
from diffot.learning import checkpoints, registry
from diffot.learning.maps import AutoencoderMap
from diffot.processes.schedules import VarianceExploding
from diffot.samplers.ddim import ddim
from diffot.transport.symmetry import random_signs

SHAPE = (3, 2, 2)


@pytest.fixture
def parts(generator):
    """A mixture in three dimensions, a mean image and axes to put it on."""
    roots = torch.randn(4, 3, 3, generator=generator, dtype=torch.float64)
    law = GaussianMixture(
        torch.full((4,), 0.25),
        2 * torch.randn(4, 3, generator=generator, dtype=torch.float64),
        roots @ roots.mT + 0.1 * torch.eye(3),
    )
    axes = torch.linalg.qr(torch.randn(12, 3, generator=generator, dtype=torch.float64))[0]
    return law, torch.randn(SHAPE, generator=generator, dtype=torch.float64), axes


def whole_law(parts, rest):
    """The same law, with matrices in all 12 dimensions."""
    law, mean, axes = parts
    outside = rest * (torch.eye(12) - axes @ axes.T)
    covariances = axes @ law.covariances @ axes.T + outside
    return GaussianMixture(law.weights, mean.flatten() + law.means @ axes.T, covariances)


def test_the_denoiser_of_a_mixture_on_axes_is_that_of_the_whole_law(parts, schedule, generator):
    denoiser = controls.mixture_denoiser(*parts, 0.3, schedule)
    exact = ExactDenoiser(whole_law(parts, 0.3), schedule)
    for t in (1, 37, 400, 1000):
        x = 2 * torch.randn(9, *SHAPE, generator=generator, dtype=torch.float64)
        expected = exact.denoise(x.flatten(1), t).reshape(x.shape)
        assert torch.allclose(denoiser.denoise(x, t), expected, rtol=1e-11, atol=1e-12)


def test_asymmetry_of_an_exact_denoiser_comes_from_its_steps_together(parts, schedule, generator):
    denoiser = controls.mixture_denoiser(*parts, 0.3, schedule)
    z = torch.randn(1, *SHAPE, generator=generator, dtype=torch.float64)
    v = random_signs(30, z, generator)
    factors = measurements.path_jacobians(denoiser, 12, z)
    row = measurements.asymmetry_columns(factors, v)
    halves = measurements.asymmetry_columns([SymmetricPart(f) for f in factors], v)
    assert row == pytest.approx(halves, rel=1e-9) and row["squared"] > 1e-4
    of_denoiser = measurements.denoiser_jacobians(denoiser, 12, factors)
    path = measurements.path_columns(factors, of_denoiser, v, every=4)
    assert {name for name in path if not name.endswith("error")} == {
        f"{kind}_{k}" for kind in ("map", "step", "denoiser") for k in (4, 8, 12)
    }
    assert path["map_12"] == pytest.approx(row["squared"]) and path["map_12"] > path["map_4"]
    assert all(path[f"{kind}_{k}"] < 1e-20 for kind in ("step", "denoiser") for k in (4, 8, 12))


def test_the_path_of_jacobians_is_that_of_ddim(parts, generator):
    """Under a schedule whose first noise is not of variance 1."""
    schedule = VarianceExploding(20.0, 0.02)
    denoiser = controls.mixture_denoiser(*parts, 0.3, schedule)
    z = torch.randn(1, *SHAPE, generator=generator, dtype=torch.float64)
    factors = measurements.path_jacobians(denoiser, 6, z)
    last = factors[-1]
    assert (last.function(last.points) == ddim(denoiser, schedule.prior_scale * z, 6)).all()
    asked = measurements.denoiser_jacobians(denoiser, 6, factors)
    start = asked[0]
    expected = denoiser.denoise(schedule.prior_scale * z, schedule.T)
    assert torch.allclose(start.function(start.points), expected, rtol=1e-12)
    assert (asked[3].points == factors[3].points).all()


def test_a_network_is_measured_at_its_latent():
    """Rows of a trained network: the same again, of the latent that is named, and less
    asymmetric where each step is made symmetric."""
    name = "Digits28"
    tasks = [AsymmetryTask(Network(name, checkpoints.hashes(name), 2), k, 8) for k in (1, 2)]
    rows = [measurements.measure_asymmetry(task) for task in (*tasks, tasks[0])]
    assert rows[0] == rows[2] and rows[0]["whole"] != rows[1]["whole"]
    half = measurements.measure_symmetrized(tasks[0])
    assert 0 < half["squared"] < rows[0]["squared"] < 4


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="weights"):
        Network("Digits28", "0000000", 2)


def test_a_decoder_is_laid_where_it_is_most_symmetric(generator):
    """A linear decoder is optimal from latents in the right place; one that turns is not."""
    matrix = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    embedding = controls.favorable_embedding(matrix[None])
    assert torch.allclose(embedding.T @ embedding, torch.eye(4).double())
    row = measurements.decoder_columns(matrix.repeat(5, 1, 1), matrix.repeat(6, 1, 1))
    assert row["asymmetry"] < 1e-12 and row["lowest"] > 0
    # turned by a quarter of a turn in a plane of latents, Q^T D turns as much; there the
    # symmetric part is zero, and 1 along the other two axes
    turn = torch.eye(4).double()
    turn[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    orthonormal = torch.linalg.qr(matrix)[0]
    for turned, asymmetry, lowest in ((turn, 2**0.5, 0), (turn @ turn, 0, -1)):
        jacobians = (orthonormal @ turned).repeat(3, 1, 1)
        row = measurements.decoder_columns(orthonormal[None], jacobians)
        assert row["asymmetry"] == pytest.approx(asymmetry, abs=1e-12)
        assert row["lowest"] == pytest.approx(lowest, abs=1e-12)


def test_the_jacobian_of_an_autoencoder_is_that_of_its_decoder():
    network = registry.load("FacesVAE32").to(memory_format=torch.contiguous_format)
    decoder = AutoencoderMap(network, dict.fromkeys(network.labels, 0))
    z = torch.randn(3, network.latents, generator=torch.Generator().manual_seed(4))
    found, h = measurements.decoder_jacobian(decoder, z), 1e-2
    for j in (0, 17):
        shift = h * torch.eye(network.latents)[j]
        column = (decoder.decode(z + shift) - decoder.decode(z - shift)).flatten(1) / (2 * h)
        assert (found[:, :, j] - column).norm() < 0.01 * column.norm()
