"""Notebook 07: Muon and MuonClip."""
