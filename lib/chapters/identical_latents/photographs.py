"""Maps of models of photographs that are compared: the tasks, by their names in the text."""

from __future__ import annotations

from chapters.identical_latents.pairs import PairTask
from diffot.learning import latent_maps
from diffot.learning.latent_maps import AnyMap, GaussianMap, LatentMap

A, B, CATS = "Celeb32A", "Celeb32B", "Cats32"
HALVES = ("Celeb32N5000A", "Celeb32N5000B")
# Of drawn faces, none in common: the same network as those of the halves, with the training of
# the second.
DRAWN_HALVES = ("Faces32N10000A", "Faces32N10000B")
STEPS = 20  # of DDIM
N = 256  # latents


def maps(*models: str) -> tuple[LatentMap, ...]:
    """The maps of models, in :data:`STEPS` steps."""
    return tuple(LatentMap(model, STEPS) for model in models)


def pairs() -> dict[str, PairTask]:
    """Maps that are compared, image by image."""
    a, b, cats, first, second = maps(A, B, CATS, *HALVES)
    one, other = maps(*DRAWN_HALVES)
    both: dict[str, tuple[AnyMap, AnyMap]] = {
        "A and B": (a, b),
        "halves": (first, second),
        "faces A and cats": (a, cats),
        "faces B and cats": (b, cats),
        "A and its Gaussian map": (a, GaussianMap(A)),
        "cats and their Gaussian map": (cats, GaussianMap(CATS)),
        "Gaussian maps of faces and cats": (GaussianMap(A), GaussianMap(CATS)),
        "drawn halves": (one, other),
        "a half and its Gaussian map": (second, GaussianMap(HALVES[1])),
        "a drawn half and its Gaussian map": (one, GaussianMap(DRAWN_HALVES[0])),
    }
    return {name: _pair(*maps) for name, maps in both.items()}


def linear_pairs() -> dict[str, PairTask]:
    """Maps that are taken apart into linear and other parts."""
    a, b, cats = maps(A, B, CATS)
    return {
        "A and B": _pair(a, b),
        "faces A and cats": _pair(a, cats),
        "halves": _pair(*maps(*HALVES)),
        "drawn halves": _pair(*maps(*DRAWN_HALVES)),
    }


def _pair(first: AnyMap, second: AnyMap) -> PairTask:
    return PairTask(first, second, latent_maps.hashes(first, second), N)
