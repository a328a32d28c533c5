"""The parameters of the console: one table, and the settings that it gives."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmpsam_ros.node.parameters.parameter import Parameter, ParameterError

CONSOLE_PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "Console": (
        Parameter("node", "/rmpsam", "Full name of the perception node."),
        Parameter(
            "address",
            "127.0.0.1",
            "Address to listen on: loopback, or one of this machine for other machines to reach.",
        ),
        Parameter("port", 8170, "Port to listen on; 0: a free one.", range=(0, 65535)),
        Parameter(
            "require_token",
            True,
            "The address that is printed at start holds a token, without which nothing is shown. "
            "false is accepted on loopback only: everybody on this machine is let in.",
        ),
        Parameter(
            "allowed_hosts",
            "",
            "Names besides the address under which browsers may reach the page, separated by "
            "commas, for example robot.local.",
        ),
        Parameter(
            "read_only",
            False,
            "Show only: no prompts, parameters, transitions or recordings from the page.",
        ),
        Parameter("max_clients", 8, "Browsers at the same time; more are refused.", range=(1, 64)),
        Parameter(
            "max_rate",
            30.0,
            "Frames per second and browser at most.",
            range=(0.1, 120.0),
        ),
        Parameter(
            "dataset_megabytes",
            1000,
            "Most that collected frames may take in the folder for temporary files, 10^6 bytes.",
            range=(1, 1_000_000),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What `CONSOLE_PARAMETERS` describes, checked together.

    Raises:
        ParameterError: values that do not go together.
    """

    node: str
    address: str
    port: int
    require_token: bool
    allowed_hosts: tuple[str, ...]
    read_only: bool
    max_clients: int
    max_rate: float
    dataset_megabytes: int

    def __post_init__(self) -> None:
        if not self.node.startswith("/") or self.node.endswith("/"):
            raise ParameterError(f"node is {self.node!r}; expected a full name like '/rmpsam'")
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            raise ParameterError(
                f"address is {self.address!r}; expected an IP address like '127.0.0.1'"
            ) from None
        if not self.require_token and not self.is_loopback:
            raise ParameterError(
                f"require_token is false and address is {self.address!r}, which other machines "
                "can reach; set require_token to true, or address to '127.0.0.1'"
            )
        unspecified = ipaddress.ip_address(self.address).is_unspecified
        if unspecified and not self.allowed_hosts:
            raise ParameterError(
                f"address is {self.address!r}, every address of this machine; name in "
                "allowed_hosts under which of them browsers may reach the page"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return ipaddress.ip_address(self.address).is_loopback

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Settings:
        """Make settings of parameter values by name."""
        hosts = tuple(
            name.strip().lower() for name in values["allowed_hosts"].split(",") if name.strip()
        )
        return cls(**{**values, "allowed_hosts": hosts})
