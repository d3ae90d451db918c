import pytest
import torch
from scipy import stats

from diffot.laws import toy


def test_the_mixture_is_the_law_of_the_curve(generator):
    drawn, law = toy.s_curve(20_000, generator), toy.s_curve_mixture()
    modelled = law.sample(20_000, generator)
    for direction in ([1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.7, -0.7]):
        line = torch.tensor(direction, dtype=torch.float64)
        assert stats.ks_2samp((drawn @ line).numpy(), (modelled @ line).numpy()).pvalue > 1e-3
    surprise = [law.log_prob(x) for x in (drawn, modelled)]
    error = (surprise[0].var() / 20_000 + surprise[1].var() / 20_000).sqrt()
    assert abs(surprise[0].mean() - surprise[1].mean()) < 4 * error


def test_components_are_close_enough(generator):
    x = toy.s_curve(5000, generator)
    coarse, fine = toy.s_curve_mixture(400).log_prob(x), toy.s_curve_mixture(1600).log_prob(x)
    assert (coarse - fine).abs().quantile(0.99) < 2e-3
    assert (coarse.mean() - fine.mean()).abs() < 1e-4


def test_draws_follow_the_generator():
    first, again, other = (toy.s_curve(5, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_bad_sizes_are_refused(generator):
    with pytest.raises(ValueError, match="n is 0; expected a whole number of at least 1"):
        toy.s_curve(0, generator)
    with pytest.raises(ValueError, match="at least 1"):
        toy.s_curve_mixture(0)
