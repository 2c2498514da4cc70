"""`rushes watch`: tells Prefect what arrives in the sources, as events that say "go and look".

Folders are watched (flows/folders.py), object stores listed (flows/listings.py), notifications taken where rushes.toml
says so (flows/receiver.py). All of it gathers in one burst for each archive, which is told once it is stable. While a
run holds the archive nothing is told: a second run would collapse into nothing, and the arrival be forgotten.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from flows import folders, listings
from flows.bursts import Burst, is_left_out
from flows.events import ARRIVED, emit
from flows.notifications import Put
from flows.receiver import PATH, Receiver, read_secret
from flows.server.home import find_home
from index.hits import harmless
from pipeline.archive import is_being_written, open_archive
from pipeline.config import Settings
from pipeline.errors import RushesError
from pipeline.store.discover import Folder, open_source

TICK_SECONDS = 1.0
LAST_SECONDS = 1.0
"""What threads get to end in."""
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 2.0, 60.0
"""How long to wait when Prefect does not take an event: the second time twice as long, and so on."""


def watch(options: argparse.Namespace) -> int:
    """Watch archives until stopped; return 1 if a part of it has died, so that whoever supervises starts it again."""
    stop = threading.Event()
    died: list[threading.ExceptHookArgs] = []

    def note_death(args: threading.ExceptHookArgs) -> None:
        threading.__excepthook__(args)
        died.append(args)
        stop.set()

    threading.excepthook = note_death
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    archives = [Watched(path.resolve()) for path in options.archives]
    working: list[Callable[[threading.Event], None]] = [*(each.run for each in archives), _Listening(archives).run]
    threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in working]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(LAST_SECONDS / len(threads))  # one that waits for something slow ends with the process
    return int(bool(died))


class Watched:
    """One archive that is watched."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings: Settings | None = None
        self.burst = Burst(0.0)
        self._stamp: tuple[int, int] | None = None
        self._trouble = ""
        self._followed: dict[tuple[str, bool], threading.Event] = {}
        self._retry_at, self._retry_seconds = 0.0, FIRST_RETRY_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Watch it until stopped."""
        while not stop.is_set():
            began = time.monotonic()
            self.read()
            self.burst.settle(began)
            if self.burst.is_due(began) and began >= self._retry_at and not is_being_written(self.root):
                self._tell()
            stop.wait(max(TICK_SECONDS, 4 * (time.monotonic() - began)))
        for each in self._followed.values():
            each.set()

    def read(self) -> None:
        """Read rushes.toml if it has changed, and follow the sources that it names now."""
        try:
            facts = (self.root / "rushes.toml").stat()
            stamp = (facts.st_mtime_ns, facts.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp and self.settings is not None:
            return
        try:
            settings = open_archive(self.root).settings
        except RushesError as error:
            if str(error) != self._trouble:
                self.say(f"{error} {'It is watched as before.' if self.settings else 'Looking again.'}")
            self._trouble = str(error)
            return
        self._stamp, self._trouble, self.settings = stamp, "", settings
        self.burst.stable_seconds = settings.arrivals.stable_seconds
        self._follow(settings)

    def take(self, put: Sequence[Put]) -> int:
        """Note the objects that lie in this archive's sources; return how many do."""
        sources = self.settings.sources if self.settings else ()
        names = [name for each in put for source in sources if (name := each.below(source)) is not None]
        for name in names:
            if not is_left_out(name.split("/")):
                self.burst.touch(name, time.monotonic())
        return len(names)

    def say(self, sentence: str) -> None:
        """Tell people."""
        _say(f"{self.root.name}: {sentence}")

    def _follow(self, settings: Settings) -> None:
        wanted = {(uri, settings.follow_links) for uri in settings.sources} if settings.arrivals.watch else set()
        for gone in self._followed.keys() - wanted:
            self._followed.pop(gone).set()
        for new in sorted(wanted - self._followed.keys()):
            stop = self._followed[new] = threading.Event()
            threading.Thread(target=self._follow_one, args=(*new, stop), daemon=True).start()
            self.say(f"Watching {new[0]}.")

    def _follow_one(self, uri: str, follow_links: bool, stop: threading.Event) -> None:
        try:
            source = open_source(uri, self.root, follow_links=follow_links)
        except RushesError as error:
            self.say(str(error))
            return
        if isinstance(source, Folder):
            folders.follow(source.root, self.root, self.burst, stop, self.say)
        else:
            listings.follow(source, uri, self.burst, stop, self.say)

    def _tell(self) -> None:
        burst = self.burst
        payload = {"files": burst.n_files, "bytes": burst.n_bytes, "names": burst.names}
        if emit(ARRIVED, self.root, payload):
            self.say(f"{burst.n_files} arrived, and were told to Prefect.")
            burst.told()
            self._retry_seconds = FIRST_RETRY_SECONDS
        else:
            if self._retry_seconds == FIRST_RETRY_SECONDS:
                self.say("Prefect does not answer, so what arrives is told later; is `rushes up` running?")
            self._retry_at = time.monotonic() + self._retry_seconds
            self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)


class _Listening:
    """The receivers that are open: one for each endpoint that a rushes.toml names, for all archives that name it."""

    def __init__(self, archives: Sequence[Watched]) -> None:
        self._archives = archives
        self._open: dict[str, Receiver] = {}
        self._refused: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Open and close them as the archives' rushes.toml say, until stopped."""
        while not stop.is_set():
            wanted = {each.settings.arrivals.listen for each in self._archives if each.settings} - {""}
            for endpoint in self._open.keys() - wanted:
                self._open.pop(endpoint).close()
            for endpoint in wanted - self._open.keys():
                self._try(endpoint)
            stop.wait(TICK_SECONDS)
        for receiver in self._open.values():
            receiver.close()

    def _try(self, endpoint: str) -> None:
        file = find_home().root / "receiver"
        try:
            receiver = Receiver(endpoint, read_secret(file), partial(self._take, endpoint), _say)
        except (OSError, OverflowError, RushesError) as error:
            if endpoint not in self._refused:
                _say(f"No notifications can be taken at {endpoint} ({error}); correct `listen` in rushes.toml.")
            self._refused.add(endpoint)
            return
        self._refused.discard(endpoint)
        self._open[endpoint] = receiver
        _say(f"Notifications are taken at http://{endpoint}{PATH}; the secret to show is in {file}.")

    def _take(self, endpoint: str, put: Sequence[Put]) -> None:
        listening = [each for each in self._archives if each.settings and each.settings.arrivals.listen == endpoint]
        if not sum(each.take(put) for each in listening) and put:
            self._open[endpoint].say(
                "nowhere", f"Something was put into {put[0].bucket}, where no archive that listens has a source."
            )


def _say(sentence: str) -> None:
    sys.stderr.write(f"{harmless(sentence)}\n")  # one write: several threads speak
    sys.stderr.flush()
