"""Pure measures, the same numbers for reward, evaluation and the live guard."""
