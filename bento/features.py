"""``GET /features``: family, label and unit of each feature of the champion's ranker."""

from typing import Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from bento.running import service_of
from bento.schemas import no_model


class FeatureEntry(BaseModel):
    """One feature."""

    name: str = Field(description="The key in an item's contributions.")
    family: str = Field(description="The name of its family.")
    label: str = Field(description="What it is, for people.")
    unit: Literal["count", "days", "money", "rank", "ratio", "score", "share"] | None = Field(
        description="The unit of its value; null where its name does not tell."
    )


class FamilyEntry(BaseModel):
    """Features that mean the same kind of thing."""

    name: str
    label: str = Field(description="What it is, for people.")


class FeaturesResponse(BaseModel):
    """The answer of ``GET /features``."""

    model_version: str = Field(description="Digest of the bundle whose ranker has these features.")
    families: list[FamilyEntry] = Field(description="Those that have a feature here.")
    features: list[FeatureEntry]

    @classmethod
    def of(cls, model_version: str, names: list[str]) -> "FeaturesResponse":
        # Imported here: the supervising process imports this module without needing numpy and torch.
        from zhiyin.recommender.features.registry import FAMILIES, describe_feature

        found = [describe_feature(name) for name in names]
        used = {feature.family for feature in found}
        families = [FamilyEntry(name=name, label=FAMILIES[name].label) for name in FAMILIES if name in used]
        entries = [FeatureEntry.model_validate(feature, from_attributes=True) for feature in found]
        return cls(model_version=model_version, families=families, features=entries)


async def get(request: Request) -> Response:
    """The features of the bundle being served."""
    champion = service_of(request).champions.current
    if champion is None:
        return no_model()
    recommender = champion.recommender
    answer = FeaturesResponse.of(recommender.version, recommender.feature_names)
    return Response(answer.model_dump_json(), media_type="application/json")
