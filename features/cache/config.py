"""Configuration of the feature cache."""

import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from annotated_types import Ge
from pydantic import AfterValidator, ConfigDict
from pydantic.dataclasses import dataclass

__all__ = ["REDIS_VARIABLE", "CacheConfig", "cache_folder", "redis_url"]

REDIS_VARIABLE = "PERENNIAL_REDIS_URL"
"""Environment variable with the address of the Redis server, which may hold a password."""


def _without_password(url: str | None) -> str | None:
    if url is not None and urlsplit(url).password:
        raise ValueError(
            f"expected an address without a password (configurations are recorded), found one; "
            f"put the whole address into ${REDIS_VARIABLE}"
        )
    return url


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CacheConfig:
    """Where computed features are kept."""

    kind: Literal["disk", "redis", "none"] = "disk"
    """"disk": files of this user; "redis": a server that machines share; "none": computed anew."""
    path: str | None = None
    """Folder of the files; None: $PERENNIAL_CACHE, else the user's cache folder."""
    cap_bytes: Annotated[int, Ge(0)] = 4 * 2**30
    """Most bytes kept; beyond it the least recently used entries go."""
    url: Annotated[str | None, AfterValidator(_without_password)] = None
    """Address of the Redis server (redis://host:6379/0, unix:///path); None: $PERENNIAL_REDIS_URL,
    else redis://127.0.0.1:6379/0."""


def cache_folder(path: str | None) -> Path:
    """Folder of the cache's files; see `CacheConfig.path`."""
    named = path or os.environ.get("PERENNIAL_CACHE") or platformdirs.user_cache_dir("perennial")
    return Path(named).expanduser() / "features"


def redis_url(url: str | None) -> str:
    """Address of the server; see `CacheConfig.url`."""
    return url or os.environ.get(REDIS_VARIABLE) or "redis://127.0.0.1:6379/0"
