"""Whole trainings: what recipes reach, and what their parts are worth."""
