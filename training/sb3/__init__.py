"""Stable-Baselines3 adapters: the native vector environment, the policy, and a fast PPO."""
