"""Peers: models that stand in the tables only, behind the interface of our generators."""
