"""A frozen part of a config that refuses keys it does not know; the open kind hands them on."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictInt,
    model_serializer,
)

PositiveInt = Annotated[StrictInt, Field(ge=1)]


class Section(BaseModel):
    """A frozen part of a config that refuses keys it does not know."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )
    LATER: ClassVar[frozenset[str]] = frozenset()
    """Keys that are younger than the first runs: left out of the resolved config where they say their
    default, so that a run made before them keeps its identity."""

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        for key in self.LATER:
            if getattr(self, key) == fields[key].get_default(call_default_factory=True):
                values.pop(key, None)
        return values


class OpenSection(Section):
    """A frozen section whose further keys are keyword arguments of the thing it names."""

    model_config = ConfigDict(extra="allow")

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keys that belong to the thing named."""
        return dict(self.model_extra or {})
