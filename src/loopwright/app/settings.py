"""The one place that reads the environment.

A setting comes from, in this order: a flag of the command line, the environment (`LOOPWRIGHT__PORT=8080`), the
`[loopwright]` table of `loopwright.toml`, its default. The result is frozen; everything else is handed what it
needs.
"""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from loopwright.backends.resolve import file_url, sqlite_url
from loopwright.core.errors import SettingsInvalid

PREFIX: Final = "LOOPWRIGHT__"
CONFIG_FILE: Final = "loopwright.toml"
COMMAND_VARIABLES: Final = frozenset({"LOOPWRIGHT__URL", "LOOPWRIGHT__API_KEY"})
"""Variables that options of commands read, so they are no settings and still known."""


def _also_as(name: str) -> AliasChoices:
    """Return the names of a setting that has its customary environment variable beside ours."""
    # An alias switches `env_prefix` off, so our own name is listed beside the customary one.
    return AliasChoices(name, f"{PREFIX}{name}".lower(), f"{PREFIX}{name}".upper(), name.upper())


class Settings(BaseSettings):
    """Everything that can be set, with the default of embedded mode."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Path = Field(Path("loopwright-data"), description="Folder that holds all state.")
    database: SecretStr | None = Field(
        None,
        description="URL of the databases: sqlite:///FOLDER or postgresql://…; the data directory unless set.",
    )
    log: str | None = Field(
        None,
        description="URL of the event log: sqlite:///FILE; log.db in the data directory unless set.",
    )
    blobs: str | None = Field(
        None,
        description="URL of segments and warehouse: file:///FOLDER; the data directory unless set.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8400, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="Shape of a log line.")
    body_limit_bytes: int = Field(
        1_048_576, ge=1024, description="Largest request body that is read."
    )
    queue_events: int = Field(
        50_000, ge=1, description="Feedback events that may wait for the disk before 503."
    )
    decision_buffer: int = Field(
        100_000, ge=1, description="Decision rows that may wait for the disk before they are shed."
    )
    token_max_age_s: float | None = Field(
        None, gt=0, description="Age at which a request_id expires; never, unless set."
    )
    drain_s: int = Field(
        10, ge=1, description="Seconds that open requests get to finish after SIGTERM."
    )
    seal_after_events: int = Field(
        200_000, ge=1000, description="Events kept in the live log before older ones are sealed."
    )

    keyless_feedback_tenant: str | None = Field(
        None,
        description="Tenant of feedback that programs on this machine send to /feedback without a key; they need "
        "a key unless set, and it needs a loopback host.",
    )

    retain_days: int | None = Field(
        None, ge=1, description="Days that the warehouse keeps; for ever, unless set."
    )

    raw_copies: bool = Field(
        False, description="Keep encrypted copies of feedback that redaction changed, as it came."
    )
    raw_ttl_days: int = Field(30, ge=1, le=365, description="Days that a new raw copy is kept.")

    redactor: Literal["rules", "presidio"] = Field(
        "rules", description="What redacts free text; presidio adds its patterns (extra pii)."
    )

    classifier_url: str | None = Field(
        None,
        description="OpenAI-compatible endpoint that names a comment's category; rules unless set.",
    )
    classifier_model: str = Field(
        "", description="Model that the classifier endpoint is asked for."
    )
    classifier_key: SecretStr | None = Field(
        None, description="API key of the classifier endpoint."
    )
    classifier_timeout_s: float = Field(
        0.5, gt=0, le=10, description="Longest wait for the classifier before the rules answer."
    )

    github_token: SecretStr | None = Field(
        None,
        validation_alias=_also_as("github_token"),
        description="Token that dispatches the workflow when a trigger fires; also GITHUB_TOKEN.",
    )
    github_repo: str | None = Field(
        None,
        validation_alias=_also_as("github_repo"),
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="Repository of that workflow, as owner/name; also GITHUB_REPO.",
    )
    github_workflow: str = Field(
        "retrain.yml", pattern=r"^[\w.-]+$", description="Its file name or id."
    )
    github_ref: str = Field("main", description="Branch or tag that it runs on.")
    github_url: str = Field("https://api.github.com", description="Address of GitHub's REST API.")

    webhook_private: bool = Field(
        False, description="Let webhooks go to this machine and private networks, and over http."
    )
    trigger_commands: dict[str, tuple[str, ...]] = Field(
        {},
        description="Commands that triggers may start: a table of names, each with a list of words.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take flags first, then the environment, then the file that `load_settings` read."""
        # The table travels among the flags, because pydantic hands a source nothing else from the caller.
        assert isinstance(init_settings, InitSettingsSource)
        flags = dict(init_settings.init_kwargs)
        table = flags.pop("_table", {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=flags),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=table),
        )


class Addresses(msgspec.Struct, frozen=True):
    """Where each engine of one loop is, as URLs; a database's may hold a password."""

    database: str
    log: str
    blobs: str


def addresses(settings: Settings) -> Addresses:
    """Return the URLs of the engines: those that are set, and for the others the data directory."""
    folder = settings.data_dir
    return Addresses(
        database=settings.database.get_secret_value() if settings.database else sqlite_url(folder),
        log=settings.log or sqlite_url(folder / "log.db"),
        blobs=settings.blobs or file_url(folder),
    )


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Return the settings in force; a flag that is None was not given.

    Reads `loopwright.toml` in the working directory unless `config` names another file. Raises
    `SettingsInvalid`, naming every problem at once.
    """
    # A flag that is None was not given; passed on it would override the file.
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    given["_table"] = _read(config)
    if unknown := _unknown_variables():
        raise SettingsInvalid("; ".join(unknown))
    try:
        return Settings(**given)
    except ValidationError as error:
        # All faults at once: one per start would take as many starts to find.
        raise SettingsInvalid("; ".join(_sentence(dict(e)) for e in error.errors())) from None


def _read(config: Path | None) -> dict[str, Any]:
    path = config or Path(CONFIG_FILE)
    if not path.exists():
        if config is None:
            return {}
        raise SettingsInvalid(f"there is no settings file {path}")
    try:
        # Editors on Windows may begin a file with a byte order mark, which TOML does not allow.
        found = tomllib.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{path} is not UTF-8: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path} is not valid TOML: {error}") from None
    # A setting above the table's header would else be ignored without a word.
    outside = [name for name, value in found.items() if not isinstance(value, dict)]
    if outside:
        raise SettingsInvalid(
            f"{path} sets {', '.join(outside)} outside of a table; write it below the line [loopwright]"
        )
    table = found.get("loopwright", {})
    if not isinstance(table, dict):
        raise SettingsInvalid(f"{path}: loopwright must be a table; write [loopwright]")
    return dict(table)


def _unknown_variables() -> list[str]:
    """Return a sentence for each environment variable that looks like a setting and is none."""
    # pydantic-settings ignores a variable that names no field: a misspelt one would do nothing.
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | COMMAND_VARIABLES
    found = []
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = get_close_matches(name.upper(), sorted(known), n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            found.append(f"the environment sets {name}, and there is no such setting{meant}")
    return found


def _sentence(error: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    known = ", ".join(Settings.model_fields)
    if error["type"] == "extra_forbidden":
        near = get_close_matches(name, Settings.model_fields, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        return f"there is no setting {name!r}; {meant}There are {known}"
    if _is_secret(name):
        # The sentence goes to the terminal and into logs, so it leaves the value out.
        return f"setting {name!r} is not usable: {error['msg']}; its value is secret and not shown"
    return f"setting {name!r} is {error['input']!r}: {error['msg']}"


def _is_secret(name: str) -> bool:
    """Say whether a setting, named as in a file or in the environment, holds a secret."""
    field = Settings.model_fields.get(name.lower().removeprefix(PREFIX.lower()))
    return field is not None and SecretStr in (field.annotation, *get_args(field.annotation))
