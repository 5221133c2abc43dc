"""Seeds of their own for the parts of a stream."""

import numpy as np


def derived_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A seed for a purpose, independent of those for others, below 2**62."""
    words = [seed, *purpose.encode(), *numbers]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 2)
