"""The research lab: experiments on a protocol's splits, and search for settings. Nothing here is served."""
