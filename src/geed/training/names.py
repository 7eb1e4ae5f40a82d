"""The names that a study may use for augmentations and objectives. Imports nothing, so that planning can check them."""

# beside these, the spec of any group ("rotations:4") is an augmentation: a random element for each image
AUGMENTATIONS = ("crop", "noise", "intensity", "erase")

# "none" leaves the network untrained
OBJECTIVES = ("supervised", "contrastive", "vicreg", "rotation_prediction", "none")

# objectives that are a mapping in the config, with the options that each needs
OPTIONS = {
    "invariance": ("group", "distance", "weight"),
    "remul": ("group", "weight", "adaptive"),
    "augerino": ("weight",),
}

# objectives that see no labels; a linear probe on frozen features then fits the network's head
TWO_VIEWS = ("contrastive", "vicreg")
SELF_SUPERVISED = (*TWO_VIEWS, "rotation_prediction")
