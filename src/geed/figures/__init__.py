"""Figures, drawn from tables: one module a figure, one style."""
