"""Peers: models for comparison only, behind the interface of our generators."""
