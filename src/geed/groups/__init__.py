"""Groups and their actions on images, feature maps and declared field types."""

from geed.groups.base import Group
from geed.groups.finite import dihedral, reflections, rotations, translations, trivial
from geed.groups.products import product
from geed.groups.sampled import sampled_rotations, sampled_translations
from geed.groups.specs import parse

__all__ = [
    "Group",
    "dihedral",
    "parse",
    "product",
    "reflections",
    "rotations",
    "sampled_rotations",
    "sampled_translations",
    "translations",
    "trivial",
]
