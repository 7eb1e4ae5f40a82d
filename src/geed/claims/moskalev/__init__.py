"""Claims M1 to M3 of Moskalev et al. 2023, "On genuine invariance learning without weight-tying" (PMLR 221:218-227).

The paper gives numbers (Table 1, Figures 4 and 5: `published`) and no thresholds; the rules here are this project's reading
(docs/claims.md). All three compare the same networks: augmented (DA), weight-tied in the first layer (WT), and regularised for
invariance (IR) by LI, by the KL divergence and by the L2 distance of normalised logits.
"""
