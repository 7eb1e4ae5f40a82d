"""What Moskalev et al. 2023 report, as printed: group -> arm -> quantity -> cell. Imports nothing.

Arms: `augmented` (DA), `tied` (WT), `regularised` (IR by LI), and for the Jacobian also `regularised_kl` and
`regularised_normalized_l2`. Accuracy in percent.
"""

# Table 1: mean ± standard deviation over four seeds.
TABLE_1 = {
    "rotations:4": {
        "tied": {
            "accuracy": "94.6±0.1",
            "logit_invariance": "0.00",
            "predictive_invariance": "0.0",
            "saliency_similarity": "1.00",
        },
        "augmented": {
            "accuracy": "94.0±0.5",
            "logit_invariance": "98.6±5.4",
            "predictive_invariance": "0.3±0.1",
            "saliency_similarity": "0.17±0.04",
        },
        "regularised": {
            "accuracy": "87.9±0.8",
            "logit_invariance": "0.02",
            "predictive_invariance": "0.0",
            "saliency_similarity": "0.95±0.03",
        },
    },
    "translations:x=3": {
        "tied": {
            "accuracy": "96.6±0.1",
            "logit_invariance": "0.0",
            "predictive_invariance": "0.0",
            "saliency_similarity": "1.00",
        },
        "augmented": {
            "accuracy": "96.2±0.2",
            "logit_invariance": "50.8±6.8",
            "predictive_invariance": "0.1",
            "saliency_similarity": "0.57±0.08",
        },
        "regularised": {
            "accuracy": "93.1±0.1",
            "logit_invariance": "0.01",
            "predictive_invariance": "0.0",
            "saliency_similarity": "0.95±0.07",
        },
    },
}

# Figure 5, read off the plot by eye: largest singular value of the Jacobian, to about 5 %.
FIGURE_5 = {
    "rotations:4": {
        "augmented": {"jacobian_norm": "10.3±0.5"},
        "regularised_kl": {"jacobian_norm": "5.1±0.3"},
        "regularised_normalized_l2": {"jacobian_norm": "5.0±0.3"},
        "regularised": {"jacobian_norm": "2.9±0.1"},
    },
    "translations:x=3": {
        "augmented": {"jacobian_norm": "10.0±0.5"},
        "regularised_kl": {"jacobian_norm": "1.95±0.10"},
        "regularised_normalized_l2": {"jacobian_norm": "4.3±0.2"},
        "regularised": {"jacobian_norm": "0.6±0.03"},
    },
}
