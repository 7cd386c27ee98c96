"""Who the users are (`u.user`): age, gender and occupation; the zip code, hardly one of which is twice, is left out."""

from stages.raw.archive import Archive
from stages.sources.base import Fault, Users
from stages.sources.movielens.ratings import FOLDER

USERS = f"{FOLDER}/u.user"
KINDS = {"age": "number", "gender": "category", "occupation": "category"}


def read_users(archive: Archive) -> tuple[Users | None, list[Fault]]:
    """Return what is told of the users, None where the file is missing, and the lines that cannot be used."""
    if USERS not in archive:
        return None, []
    cells: dict[str, dict[str, str | None]] = {}
    faults: list[Fault] = []
    for number, line in enumerate(archive.read(USERS).decode("latin-1").splitlines(), start=1):
        user, *told = line.split("|")
        if len(told) != len(KINDS) + 1 or user in cells:
            wanted = "expected user, age, gender, occupation and zip code, each user once"
            faults.append(Fault(f"{USERS}: line {number}", f"{wanted}, found {line!r:.80}"))
            continue
        cells[user] = dict(zip(KINDS, told, strict=False))
    return Users(KINDS, cells), faults
