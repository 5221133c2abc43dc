"""Shapes and types of the mathematical modules are checked while these tests run."""

from jaxtyping import install_import_hook

with install_import_hook(["agents.losses", "agents.returns"], "beartype.beartype"):
    import agents.losses
    import agents.returns

__all__ = ["agents"]
