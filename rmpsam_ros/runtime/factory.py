"""Makes engines of one network, and lets them pass only if their results agree with fp32."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cache, cached_property
from importlib import resources
from typing import Any, Generic, Protocol, TypeVar

from rmpsam_ros.runtime.back_end import BackEnd, back_end
from rmpsam_ros.runtime.devices import device_description
from rmpsam_ros.runtime.engine import EngineError, EngineInfo
from rmpsam_ros.runtime.executor import Executor, Precision, RefusedPlanError
from rmpsam_ros.runtime.exportable import AgreementT, Exportable
from rmpsam_ros.runtime.graph_store import GraphStore, Surroundings
from rmpsam_ros.runtime.priority import yield_to_frames

REFERENCE = "torch"


class TooFarError(EngineError):
    """The results of an engine do not agree with those of fp32 PyTorch."""


class Closable(Protocol):
    """An engine, as far as the factory has to do with it."""

    info: EngineInfo

    def close(self) -> None: ...


EngineT = TypeVar("EngineT", bound=Closable)


class EngineFactory(Generic[EngineT, AgreementT]):
    """Makes all engines of one network."""

    def __init__(
        self, network: Exportable[EngineT, AgreementT], surroundings: Surroundings
    ) -> None:
        self.network = network
        self.store = GraphStore(network, surroundings)

    def make(self, engine: str, precision: Precision) -> EngineT:
        """Make an engine that may be used: its results agree with those of fp32 PyTorch.

        Of the ways to execute a precision it is the fastest that agrees.

        Raises:
            EngineError: it cannot be made.
            TooFarError: its results are too far off.
        """
        library = back_end(engine)
        problem = ""
        modes = library.modes(precision, self.store.device)
        for mode in modes:
            problem = self._known_problem(library, precision, mode)
            if problem:
                continue
            try:
                made, problem = self._checked(library, precision, mode)
            except EngineError as error:
                if mode == modes[-1] or self.store.cancelled.is_set():
                    raise
                problem = str(error)
            else:
                if not problem:
                    return made
                made.close()
            if mode != modes[-1]:
                self.store.progress(f"{engine} in {precision} is not used as {mode}: {problem}")
        raise TooFarError(f"its results are too far from those of fp32 PyTorch: {problem}")

    def try_out(self, engine: str, precision: Precision) -> tuple[EngineT, str]:
        """Make an engine to be measured, whatever its results are.

        Returns:
            what `make` makes, and in what it is too far off; '' if it is not.

        Raises:
            EngineError: it cannot be made.
        """
        try:
            return self.make(engine, precision), ""
        except TooFarError:
            library = back_end(engine)
            return self._checked(
                library, precision, library.modes(precision, self.store.device)[-1]
            )

    @cached_property
    def reference(self) -> EngineT:
        """Eager PyTorch in fp32, the yardstick of all others."""
        library = back_end(REFERENCE)
        return self._load(library, "fp32", library.modes("fp32", self.store.device)[-1])

    def _checked(self, library: BackEnd, precision: Precision, mode: str) -> tuple[EngineT, str]:
        """Make an engine in one way; return in what it is too far off, too."""
        reference_mode = back_end(REFERENCE).modes("fp32", self.store.device)[-1]
        if (library.name, precision, mode) == (REFERENCE, "fp32", reference_mode):
            return self.reference, ""
        made = self._load(library, precision, mode)

        def compare() -> dict[str, Any]:
            what = f"{self.network.name} on {library.name} in {precision}"
            self.store.progress(f"comparing {what} with fp32 PyTorch")
            agreement: Any = self.network.compare(made, self.reference)
            return asdict(agreement)

        name, key = self._agreement_entry(library, precision, mode)
        try:
            agreement = self.network.agreement(self.store.fetch_json(name, key, compare))
        except BaseException:
            made.close()
            raise
        made.info = replace(made.info, agreement=str(agreement))
        return made, self._problem(agreement, precision)

    def _known_problem(self, library: BackEnd, precision: Precision, mode: str) -> str:
        """Return in what an engine was too far off when it was compared; '' if it was not."""
        known = self.store.peek_json(*self._agreement_entry(library, precision, mode))
        if known is None:
            return ""
        return self._problem(self.network.agreement(known), precision)

    def _problem(self, agreement: AgreementT, precision: Precision) -> str:
        # Random weights amplify rounding, and there is no result of theirs to be protected.
        if self.network.is_random and precision == "fp32":
            return ""
        return self.network.shortcomings(agreement, precision)

    def _agreement_entry(
        self, library: BackEnd, precision: Precision, mode: str
    ) -> tuple[str, dict[str, Any]]:
        """Return name and key of a comparison, one for every engine, network and machine."""
        device = device_description(self.store.device)
        key = {
            "check": [library.name, library.version(), precision, mode, device],
            "comparison": sources_digest(),
        }
        return f"agreement-{precision}", key

    def _load(self, library: BackEnd, precision: Precision, mode: str) -> EngineT:
        if precision == "int8" and not self.network.has_int8:
            raise EngineError(f"{self.network.name} has no form in int8")
        try:
            executor = self._executor(library, precision, mode)
        except RefusedPlanError as error:
            self.store.progress(f"building the engine of {self.network.name} anew: {error}")
            self.store.discard_plans()
            executor = self._executor(library, precision, mode)
        except Exception:
            if not self.store.discard_unreadable_graphs():
                raise
            self.store.progress(f"graphs of {self.network.name} in the cache are none: made anew")
            executor = self._executor(library, precision, mode)
        info = self.network.info(
            f"{library.name} {library.version()}{executor.detail}",
            precision,
            device_description(self.store.device),
        )
        return self.network.engine(executor, info, lambda: self.store.shapes)

    def _executor(self, library: BackEnd, precision: Precision, mode: str) -> Executor:
        if not self.network.runs_beside:
            return library.load(self.store, precision, mode)
        # The threads of a library have the priority of the one that made them.
        with ThreadPoolExecutor(1, initializer=yield_to_frames) as maker:
            return maker.submit(library.load, self.store, precision, mode).result()


@cache
def sources_digest() -> str:
    """Return a sha256 over this package and the stored frames: other code, other results."""
    folder = resources.files("rmpsam_ros.runtime")
    digest = hashlib.sha256((folder / "frames" / "frames.safetensors").read_bytes())
    for inner in (folder, folder / "executors"):
        files = [file for file in inner.iterdir() if file.name.endswith(".py")]
        for file in sorted(files, key=lambda file: file.name):
            digest.update(file.read_bytes())
    return digest.hexdigest()
