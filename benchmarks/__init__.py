"""Throughput against peers, with recorded results."""
