"""The claims' figures by name. Imports nothing, so that planning can read it."""

# Claim -> the figure that draws its parts (figures/<study>/<name>.{pdf,png}).
FIGURES = {
    "K1": "layers",
    "K2": "shift",
    "K3": "accuracy",
    "K4": "distances",
    "K5": "objectives",
    "L1": "layer_types",
    "L2": "families",
    "L3": "finite",
    "M1": "blends",
    "M2": "published",
    "M3": "spectrum",
    "P31": "factors",
    "P32": "perturbations",
}
