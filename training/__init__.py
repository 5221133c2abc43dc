"""The home of Hydra, MLflow and Stable-Baselines3: adapters, tracking, checkpoints, the main job."""
