"""Claims K1 to K5 of Kvinge et al. 2022, "In What Ways Are Deep Neural Networks Invariant and How Should We Measure This?".

The paper states them in words (page 2) and gives no thresholds; the rules here are this project's reading (docs/claims.md). Each
function takes the claim's settings, the evidence and the study's name, and returns the result and its parts. Within one,
statistics are functions of resampled arm means (None where one is not defined), and `decide` is the rule, which is called again
under shifted thresholds and with seeds left out.
"""
