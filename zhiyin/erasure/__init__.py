"""Forgetting a person: what every room that keeps files of people implements, and how an erasure goes through them.

``Person`` is who; ``Trace`` finds the person in a file; a ``Keeper`` stands in each room beside what writes the room's
files, and frees them; ``Erasure`` asks the keepers that it is given, in their order, and searches the whole home.
"""
