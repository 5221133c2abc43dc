"""Sources of bars: embedded in packages, your own files, Yahoo Finance, crypto exchanges.

from markets.sources import PackagesSource, load_dataset
dataset = load_dataset(PackagesSource())      # five US stocks, raw, with their actions
dataset.bars, dataset.manifest
"""

from markets.sources.catalog import DatasetInfo, check, fetch, list_datasets, verify_embedded
from markets.sources.check import CheckReport
from markets.sources.config import (
    DataConfig,
    DataConfigError,
    load_config,
    load_dataset,
    parse_config,
)
from markets.sources.credentials import SecretInConfigError
from markets.sources.crypto import CryptoSource
from markets.sources.files import FilesSource
from markets.sources.packages import PackagesSource
from markets.sources.protocol import DataFileError, Dataset, DataSource, SelectionError
from markets.sources.yahoo import YahooSource

__all__ = [
    "CheckReport",
    "CryptoSource",
    "DataConfig",
    "DataConfigError",
    "DataFileError",
    "DataSource",
    "Dataset",
    "DatasetInfo",
    "FilesSource",
    "PackagesSource",
    "SecretInConfigError",
    "SelectionError",
    "YahooSource",
    "check",
    "fetch",
    "list_datasets",
    "load_config",
    "load_dataset",
    "parse_config",
    "verify_embedded",
]
