"""``GET /features``: every feature of the champion with the labels of the registry."""

from tests.serving.running import Service
from zhiyin.language.words import read_words


def test_every_feature_has_a_family_and_a_label(service: Service, shopper: str) -> None:
    answer = service.http.get("/features").json()
    families = {family["name"]: family["label"] for family in answer["families"]}
    features = {feature["name"]: feature for feature in answer["features"]}
    assert {feature["family"] for feature in features.values()} == set(families)
    assert "other" not in families
    assert families["people_alike"] == "People alike"
    assert features["item_events_28d"]["label"] == "Item: events, last 28 days"
    assert features["item_events_28d"]["unit"] == "count"
    listed = service.recommend(user_id=shopper, contributions=True)
    assert listed["model_version"] == answer["model_version"]
    named = {name for item in listed["items"] for name in item["contributions"]} - {"base"}
    assert named <= set(features)


def test_the_endpoint_is_documented(service: Service) -> None:
    document = service.http.get("/docs.json").json()
    assert document["paths"]["/features"]["get"]["responses"]["200"]
    properties = document["components"]["schemas"]["FeatureEntry"]["properties"]
    assert set(properties) == {"name", "family", "label", "unit"}


def test_the_page_gets_the_words_of_the_dataset(service: Service) -> None:
    assert service.http.get("/page/status").json()["words"] == read_words("complete_journey").model_dump()
