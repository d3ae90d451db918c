"""Labels of images in words."""

import torch

from chapters.image_models.figures import label_words

CLASSES = {"hair_color": ("black", "red"), "smile": ("no", "yes"), "beard": ("no", "yes")}


def test_the_words_are_those_of_the_classes_and_no_is_silent():
    labels = {
        "hair_color": torch.tensor([1, 0]),
        "smile": torch.tensor([0, 1]),
        "beard": torch.tensor([0, 1]),
    }
    assert label_words(CLASSES, labels, width=80) == [
        "hair:\u00a0red",
        "hair:\u00a0black, smile, beard",
    ]


def test_lines_are_no_longer_than_asked():
    labels = {label: torch.tensor([1]) for label in CLASSES}
    (caption,) = label_words(CLASSES, labels, width=10)
    assert caption.split("\n") == ["hair:\u00a0red,", "smile,", "beard"]
