"""Build data sets, check and export them, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Annotated, Final, cast, get_args

import anyio.to_thread
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter, SkipValidation
from litestar.response import Response, Stream

from loopwright.core.dataset import (
    Dataset,
    DatasetCheck,
    DatasetDiff,
    DatasetFormat,
    DatasetPage,
    Recipe,
)
from loopwright.core.errors import Invalid
from loopwright.web import Asking, needs, problems

from .datasets import Datasets

Known = NamedDependency[SkipValidation[Datasets]]
_RECIPE: Final = {"name": "answers", "kind": "preference", "days": 14, "tasks": ["support"]}
_AT_ONCE: Final = 500


class DatasetController(Controller):
    """Training sets with their manifests."""

    path = "/api/v1/datasets"
    tags: Sequence[str] = ("datasets",)

    @post(
        summary="Build a data set",
        response_description="The manifest of what was built.",
        responses=problems(422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def build(
        self,
        data: Annotated[Recipe, Body(examples=[Example(value=_RECIPE)])],
        principal: Asking,
        datasets: Known,
    ) -> Dataset:
        """Build by a recipe from what the log has now. The same log gives the same data set, under the same id."""
        return datasets.build(principal.tenant_id, data, actor=principal.key_id)

    @get(summary="List data sets", responses=problems(422), sync_to_thread=True, **needs("read"))
    def list(
        self,
        principal: Asking,
        datasets: Known,
        name: Annotated[
            str | None, QueryParameter(description="Those built by recipes of this name.")
        ] = None,
        limit: Annotated[
            int, QueryParameter(ge=1, le=1000, description="Most items to return.")
        ] = 100,
    ) -> DatasetPage:
        """Return manifests, newest first."""
        return datasets.list(principal.tenant_id, name=name, limit=limit)

    @get(
        "/{dataset_id:str}",
        summary="Get a manifest",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def show(self, dataset_id: FromPath[str], principal: Asking, datasets: Known) -> Dataset:
        """Return the manifest of a data set, by its id or the beginning of it."""
        return datasets.get(principal.tenant_id, dataset_id)

    @get(
        "/{dataset_id:str}/rows",
        summary="Export a data set",
        responses={
            200: ResponseSpec(
                bytes, generate_examples=False, description="The rows, in the format."
            ),
            **problems(404, 422),
        },
        sync_to_thread=True,
        **needs("read"),
    )
    def rows(
        self,
        dataset_id: FromPath[str],
        principal: Asking,
        datasets: Known,
        format: Annotated[
            str,
            QueryParameter(
                description="rows, simple, trl, trl_conversational, openai, csv or parquet; not every kind has each."
            ),
        ] = "rows",
        split: Annotated[str | None, QueryParameter(description="One split alone.")] = None,
    ) -> Response[bytes] | Stream:
        """Return the rows in a form that training tools read."""
        wanted, tenant = format_of(format), principal.tenant_id
        if wanted == "parquet":
            content = datasets.parquet(tenant, dataset_id, split=split)
            return Response(content, media_type="application/vnd.apache.parquet")
        lines = datasets.lines(tenant, dataset_id, format=wanted, split=split)
        media = "text/csv" if wanted == "csv" else "application/x-ndjson"
        return Stream(_chunks(lines), media_type=media)

    @post(
        "/{dataset_id:str}/verify",
        summary="Build again and compare",
        responses=problems(404),
        status_code=200,
        sync_to_thread=True,
        **needs("read"),
    )
    def verify(self, dataset_id: FromPath[str], principal: Asking, datasets: Known) -> DatasetCheck:
        """Build the data set again from the same stretch of the log; say whether each byte is the same, and why not."""
        return datasets.verify(principal.tenant_id, dataset_id)

    @get(
        "/{dataset_id:str}/diff/{other_id:str}",
        summary="Compare two data sets",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def diff(
        self,
        dataset_id: FromPath[str],
        other_id: FromPath[str],
        principal: Asking,
        datasets: Known,
    ) -> DatasetDiff:
        """Return what changed: recipe, counts, and how many rows both have."""
        return datasets.diff(principal.tenant_id, dataset_id, other_id)

    @delete(
        "/{dataset_id:str}",
        summary="Expire a data set",
        response_description="The manifest, which stays and says when.",
        responses=problems(404),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def expire(self, dataset_id: FromPath[str], principal: Asking, datasets: Known) -> Dataset:
        """Delete the rows of a data set; its manifest stays."""
        return datasets.expire(principal.tenant_id, dataset_id, actor=principal.key_id)


def format_of(name: str) -> DatasetFormat:
    """Return the format of that name; raises `Invalid`."""
    if name not in get_args(DatasetFormat):
        raise Invalid(f"format is {name!r}; expected one of {', '.join(get_args(DatasetFormat))}")
    return cast(DatasetFormat, name)


async def _chunks(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    # On a thread, some hundred lines at a time: a large set must not hold up the requests of others.
    def some() -> bytes:
        return b"".join(line + b"\n" for line in islice(lines, _AT_ONCE))

    while chunk := await anyio.to_thread.run_sync(some):
        yield chunk
