"""The pipeline: the steps that the DAG and the command line call, and the reports of a run."""
