"""The home of Hydra, MLflow and Stable-Baselines3: adapters, tracking, the main job."""
