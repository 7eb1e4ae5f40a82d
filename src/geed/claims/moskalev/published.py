"""What Moskalev et al. 2023 report, as printed: group -> arm -> quantity -> cell; `CELLS` has both tables. Imports nothing.

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

CELLS = {
    group: {arm: table.get(arm, {}) | FIGURE_5[group].get(arm, {}) for arm in {**table, **FIGURE_5[group]}}
    for group, table in TABLE_1.items()
}

# Figure 5, read off the plot by eye: accuracy of the arms that Table 1 leaves out.
FIGURE_5_ACCURACY = {
    "rotations:4": {"regularised_kl": "83", "regularised_normalized_l2": "73"},
    "translations:x=3": {"regularised_kl": "91.6", "regularised_normalized_l2": "82.7"},
}

# Figure 4, read off the plot by eye: DI at the largest share of the other domain; of the augmented arm under rotations, "4 to 5".
FIGURE_4 = {
    "rotations:4": {"augmented": "4.5", "tied": "0", "regularised": "0"},
    "translations:x=3": {"augmented": "2", "tied": "0", "regularised": "0"},
}
