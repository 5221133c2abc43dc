"""Numbers in words, the same everywhere."""


def duration(seconds: float) -> str:
    """Seconds in words: ``42 s``, ``3 min 07 s``, ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
