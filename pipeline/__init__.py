"""The pipeline: its steps, which the DAGs and the command line call, and the reports of a run."""
