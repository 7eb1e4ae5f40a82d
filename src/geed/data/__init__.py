"""Data sets, their prepared form, and image corruptions."""
