"""Erasure of a user: the interface that each room implements for its files, and the search over the home.

``Person`` is the user; ``Trace`` finds the person in one file; an ``Erasable`` of a room removes the person from the
room's files; ``Erasure`` runs the search and the erasables that it is given, in their order.
"""
