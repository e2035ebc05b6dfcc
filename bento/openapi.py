"""The OpenAPI document of the service: BentoML's, with our title, errors and descriptions."""

from inspect import cleandoc
from typing import Any

from pydantic.json_schema import models_json_schema

from bento.event_schemas import EventsRequest, EventsResponse
from bento.features import FeaturesResponse
from bento.schemas import RecommendRequest, RecommendResponse, Refusal
from zhiyin import __version__

SCHEMAS = "#/components/schemas/{model}"

REFUSALS = {
    "400": "A field is missing, of the wrong type or out of range: the answer names it and the cure.",
    "405": "The method is not POST.",
    "413": "The body is too large.",
    "415": "The content type is not application/json.",
    "503": "No model is promoted yet.",
}


def describe(bentoml_document: dict[str, Any], description: str) -> dict[str, Any]:
    """BentoML's document with its generic parts replaced by those of this service."""
    document = dict(bentoml_document)
    document["info"] = {"title": "Zhiyin", "version": __version__, "description": cleandoc(description)}
    _, definitions = models_json_schema(
        [
            (RecommendRequest, "validation"),
            (RecommendResponse, "serialization"),
            (Refusal, "serialization"),
            (EventsRequest, "validation"),
            (EventsResponse, "serialization"),
            (FeaturesResponse, "serialization"),
        ],
        ref_template=SCHEMAS,
    )
    document["components"] = {"schemas": definitions["$defs"]}
    operation = dict(document["paths"]["/recommend"]["post"])
    refusals = {status: {"description": words, **_json("Refusal")} for status, words in REFUSALS.items()}
    operation["requestBody"] = {"required": True, **_json("RecommendRequest")}
    operation["responses"] = {
        "200": {"description": "The list, best first.", **_json("RecommendResponse")},
        **refusals,
    }
    events = {
        "summary": "events",
        "description": "Events of a user: stored for the next run, and used by the user's next list.",
        "tags": ["Service APIs"],
        "requestBody": {"required": True, **_json("EventsRequest")},
        "responses": {
            "200": {"description": "Every event is on disk.", **_json("EventsResponse")},
            **refusals,
            "503": {"description": "The events could not be written.", **_json("Refusal")},
        },
    }
    features = {
        "summary": "features",
        "description": "Family, label and unit of each feature that contributions may name.",
        "tags": ["Service APIs"],
        "responses": {
            "200": {"description": "The features of the model being served.", **_json("FeaturesResponse")},
            "503": refusals["503"],
        },
    }
    document["tags"] = [{"name": "Service APIs"}, {"name": "Infrastructure"}]
    own = {"/events": {"post": events}, "/features": {"get": features}}
    document["paths"] = {**document["paths"], "/recommend": {"post": operation}, **own}
    return document


def _json(model: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": SCHEMAS.format(model=model)}}}}
