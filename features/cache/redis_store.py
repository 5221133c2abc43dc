"""Entries in a Redis server, which machines may share; the server needs no settings of its own.

    perennial:features:1:<data>:<key>     an entry, as in a file
    perennial:features:1:used             sorted set of entries by the time of their last use
    perennial:features:1:size             hash of their sizes, and "total"
    perennial:features:1:data             hash of descriptions by data set

Writing, counting and eviction are one script, which the server runs as a whole: a client that is
killed leaves nothing half done. A server that cannot be reached is said in the log, and nothing
fails: the features are computed anew.
"""

import io
import logging
import time
from typing import Any, Final

from features.cache.config import REDIS_VARIABLE
from features.cache.entry import Array, DataInfo, Entry, Kept, decode, encode
from features.definition import FeatureError

__all__ = ["RedisStore"]

_LOG = logging.getLogger(__name__)
_PREFIX: Final = "perennial:features:1:"
_KEYS: Final = (f"{_PREFIX}used", f"{_PREFIX}size", f"{_PREFIX}data")

_FORGET: Final = """
local function forget(name)
  local bytes = tonumber(redis.call('HGET', KEYS[2], name) or '0')
  redis.call('DEL', ARGV[1] .. name)
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('HINCRBY', KEYS[2], 'total', string.format('%d', -bytes))
  return bytes
end
"""
_WRITE: Final = (
    _FORGET
    + """
local name, body, now, cap = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
forget(name)
redis.call('SET', ARGV[1] .. name, body)
redis.call('ZADD', KEYS[1], now, name)
redis.call('HSET', KEYS[2], name, #body)
redis.call('HINCRBY', KEYS[2], 'total', #body)
redis.call('HSET', KEYS[3], string.sub(name, 1, 64), ARGV[6])
while tonumber(redis.call('HGET', KEYS[2], 'total')) > cap do
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
  if not oldest then break end
  forget(oldest)
end
return 1
"""
)
_CLEAR: Final = (
    _FORGET
    + """
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
local bytes = 0
for _, name in ipairs(names) do bytes = bytes + forget(name) end
if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) end
return {#names, bytes}
"""
)
_USED: Final = "redis.call('ZADD', KEYS[1], 'XX', ARGV[3], ARGV[2])"
_DROP: Final = _FORGET + "return forget(ARGV[2])"


class RedisStore:
    """Entries in a server; see the module's text.

    Args:
        url: address of the server.
        cap_bytes: most bytes kept.

    Raises:
        FeatureError: the client is not installed, or the address makes no sense.
    """

    def __init__(self, url: str, cap_bytes: int) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise FeatureError(
                "features.cache: expected the package redis for kind: redis, found none; "
                "install perennial[redis]"
            ) from error
        self.cap_bytes = cap_bytes
        self._failure = redis.RedisError
        try:
            self._server: Any = redis.Redis.from_url(
                url, socket_connect_timeout=2.0, socket_timeout=30.0
            )
        except ValueError as error:
            raise FeatureError(
                f"features.cache.url: expected redis://HOST:PORT/N or unix:///PATH (also in "
                f"${REDIS_VARIABLE}), found one that cannot be read: {error}"
            ) from error
        facts = self._server.connection_pool.connection_kwargs
        self.place = str(facts.get("path") or f"{facts.get('host')}:{facts.get('port')}")
        self._write = self._server.register_script(_WRITE)
        self._clear = self._server.register_script(_CLEAR)
        self._use = self._server.register_script(_USED)
        self._drop = self._server.register_script(_DROP)
        self._silent = False

    def read(self, entry: Entry, out_KAT: Array) -> bool:
        """Fill an array; False where there is no sound entry. A damaged one is removed."""
        if self._silent:
            return False
        name = _name(entry)
        try:
            body = self._server.get(_PREFIX + name)
            if body is None:
                return False
            if decode(entry, io.BytesIO(body), out_KAT):
                self._use(keys=_KEYS, args=(_PREFIX, name, time.time()))
                return True
            _LOG.warning("%s: damaged cache entry %s removed", self.place, name)
            self._drop(keys=_KEYS, args=(_PREFIX, name))
        except self._failure as error:
            self._give_up(error)
        return False

    def write(self, entry: Entry, values_KAT: Array, description: str) -> None:
        """Keep an entry, unless it alone is beyond the cap."""
        if self._silent or entry.nbytes > self.cap_bytes:
            return
        body = b"".join(encode(entry, values_KAT))
        facts = (_PREFIX, _name(entry), body, time.time(), self.cap_bytes, description)
        try:
            self._write(keys=_KEYS, args=facts)
        except self._failure as error:
            self._give_up(error)

    def tidy(self) -> int:
        """Nothing: every write keeps to the cap."""
        return 0

    def kept(self) -> Kept:
        """What there is.

        Raises:
            FeatureError: the server does not answer.
        """
        try:
            used = self._server.zrange(_KEYS[0], 0, -1, withscores=True)
            sizes = self._server.hgetall(_KEYS[1])
            described = self._server.hgetall(_KEYS[2])
        except self._failure as error:
            raise self._no_answer(error) from error
        by_data: dict[bytes, list[tuple[int, float]]] = {}
        for name, score in used:
            by_data.setdefault(name[:64], []).append((int(sizes.get(name, 0)), score))
        infos = [
            DataInfo(
                data=data.decode(),
                description=described.get(data, b"").decode(),
                entries=len(entries),
                nbytes=sum(nbytes for nbytes, _ in entries),
                last_used=max(score for _, score in entries),
            )
            for data, entries in by_data.items()
        ]
        infos.sort(key=lambda info: -info.last_used)
        return Kept(place=self.place, cap_bytes=self.cap_bytes, data=tuple(infos))

    def clear(self, older_than: float = 0.0) -> tuple[int, int]:
        """Remove entries not used for so many seconds; returns their number and bytes.

        Raises:
            FeatureError: the server does not answer.
        """
        try:
            count, nbytes = self._clear(keys=_KEYS, args=(_PREFIX, time.time() - older_than))
        except self._failure as error:
            raise self._no_answer(error) from error
        return int(count), int(nbytes)

    def _no_answer(self, error: Exception) -> FeatureError:
        return FeatureError(f"features.cache: expected an answer of {self.place}, found {error}")

    def _give_up(self, error: Exception) -> None:
        """Say once that the server does not answer, and ask it no more."""
        self._silent = True
        _LOG.warning("%s: the feature cache does not answer, goes unused (%s)", self.place, error)


def _name(entry: Entry) -> str:
    return f"{entry.data}:{entry.key}"
