"""Names for files that are written into one folder, none of which replaces another."""

from collections import Counter


class UniqueNames:
    """Gives each file a name of its own: the wanted one, with a number behind it where another file has it already.

    Upper and lower case are one, as they are on some file systems.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def __call__(self, name: str) -> str:
        """A name that no call before has returned: ``name``, ``name_2``, ``name_3`` and so on."""
        while True:
            self._numbers[name.lower()] += 1
            number = self._numbers[name.lower()]
            found = name if number == 1 else f'{name}_{number}'
            if found.lower() not in self._taken:
                self._taken.add(found.lower())
                return found
