"""``none``: no base network, for rules whose State is about the examples themselves."""

from typing import Any

from inner_loop.networks.contract import NetworkFamily


class NoNetworks(NetworkFamily):
    """The family without a member."""

    layers = "none"
    member = type(None)

    def first_options(self) -> dict[str, Any]:
        """None."""
        return {}

    def first(self, inputs: int, logits: int) -> Any:
        """None."""
        return None
