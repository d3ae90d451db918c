import torch

from diffot.learning.attributes import AttributeProbe
from diffot.learning.classifiers import probe_log_probability

IMAGES = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def probe():
    torch.manual_seed(1)
    made = AttributeProbe(
        {"smile": ("no", "yes"), "hair": ("a", "b", "c")}, size=16, widths=(8, 16)
    )
    made.temperatures.copy_(torch.tensor([0.5, 2.0]))
    return made.requires_grad_(False)


def test_it_is_the_log_of_the_calibrated_probabilities():
    made = probe()
    probabilities = made(IMAGES)
    both = probe_log_probability(made, {"smile": 1, "hair": 2})(IMAGES)
    expected = (probabilities["smile"][:, 1] * probabilities["hair"][:, 2]).log()
    assert torch.allclose(both, expected, atol=1e-5)


def test_it_is_finite_where_a_probability_is_zero():
    made = probe()
    made.heads["smile"].bias.copy_(torch.tensor([500.0, -500.0]))
    assert torch.isfinite(probe_log_probability(made, {"smile": 1})(IMAGES)).all()


def test_its_gradient_is_that_of_differences():
    made, x = probe().double(), IMAGES[:1].double()
    read = probe_log_probability(made, {"hair": 0})
    gradient = torch.func.grad(lambda x: read(x).sum())(x)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()
    step = 1e-5
    slope = (read(x + step * direction) - read(x - step * direction)) / (2 * step)
    assert torch.allclose((gradient * direction).sum(), slope, rtol=1e-5)
