"""The command line: servers, runs, and single steps of the pipeline."""
