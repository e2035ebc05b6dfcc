"""The served code: one ``Recommender``, loaded from a bundle, makes every list in evaluation, in batch and over HTTP.

A list is made in the order of the files: ``users`` and ``catalogue`` turn rows into arrays, ``candidates/`` propose,
``features`` describes each candidate, ``ranker`` scores it, ``slate`` picks the list, ``explanation`` gives reasons.
Nothing here knows how a model is fitted by a pipeline, where a file lies, or what a server is.
"""
