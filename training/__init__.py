"""Training and evaluation of the recommender; imports neither Airflow nor Feast."""
