"""Notebook 05: latent attention."""
