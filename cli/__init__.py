"""The command line: servers, runs, and every step of the pipeline by hand."""
