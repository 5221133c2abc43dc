"""Shapes and types of the mathematical modules are checked while these tests run."""

from jaxtyping import install_import_hook

_CHECKED = [
    "agents.blending",
    "agents.losses",
    "agents.option_losses",
    "agents.option_returns",
    "agents.returns",
]
with install_import_hook(_CHECKED, "beartype.beartype"):
    import agents.blending
    import agents.losses
    import agents.option_losses
    import agents.option_returns
    import agents.returns

__all__ = ["agents"]
