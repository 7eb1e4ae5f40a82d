"""Claims L1 to L3 of Gruver et al. 2022, "The Lie Derivative for Measuring Learned Equivariance" (arXiv 2210.02984).

L1: non-linearities, pooling and strides are what breaks equivariance; L2: more accurate networks are more equivariant; L3:
trained transformers can be more equivariant than convolutional networks. The paper gives no thresholds; the rules are this
project's reading (docs/claims.md).
"""
