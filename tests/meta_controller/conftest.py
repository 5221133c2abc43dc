"""Shapes and types of the mathematical modules are checked while these tests run."""

from jaxtyping import install_import_hook

with install_import_hook(
    ["meta_controller.chain", "meta_controller.regime_map"], "beartype.beartype"
):
    import meta_controller.chain
    import meta_controller.regime_map

__all__ = ["meta_controller"]
