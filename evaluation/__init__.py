"""Is it true: backtest with a ledger, metrics, intervals, reports."""
