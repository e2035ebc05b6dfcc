"""How the recommender learns and is judged; imports neither Airflow nor Feast, so it runs on a bare machine."""
