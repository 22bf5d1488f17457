"""What only people can say about a data set: the `about:` section of `audit.yaml`."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

NOT_PROVIDED = "not provided"


def _as_supplied(value: object) -> object:
    """Turn what YAML makes of a person's answer (nothing, a number, a list) into text."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return NOT_PROVIDED
    if isinstance(value, (list, tuple)):
        return "; ".join(str(item) for item in value) or NOT_PROVIDED
    if isinstance(value, dict):
        return value
    return str(value)


Supplied = Annotated[str, BeforeValidator(_as_supplied)]


class About(BaseModel):
    """What only people can say about the data set: the `about:` section of `audit.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: Supplied = NOT_PROVIDED
    licence: Supplied = NOT_PROVIDED
    purpose: Supplied = NOT_PROVIDED
    auditor: Supplied = NOT_PROVIDED
    provenance: Supplied = NOT_PROVIDED
    lineage: Supplied = NOT_PROVIDED
    collection: Supplied = NOT_PROVIDED
    collection_dates: Supplied = NOT_PROVIDED
    geography: Supplied = NOT_PROVIDED
    synthetic_share: Supplied = NOT_PROVIDED
    labelling_protocol: Supplied = NOT_PROVIDED
    annotators: Supplied = NOT_PROVIDED
    annotator_agreement: Supplied = NOT_PROVIDED
    personal_data: Supplied = NOT_PROVIDED
    legal_basis: Supplied = NOT_PROVIDED
    known_biases: Supplied = NOT_PROVIDED
    known_limits: Supplied = NOT_PROVIDED
    residual_risk: Supplied = NOT_PROVIDED
    changes_since_last_audit: Supplied = NOT_PROVIDED
    signed_off_by: Supplied = NOT_PROVIDED
