"""What can go wrong, as a user would sort it. Bad data is never an exception: it is a row that says why."""


class GoldenlakeError(Exception):
    """Base of every error that goldenlake raises on purpose; the command line prints it without a traceback."""


class InputError(GoldenlakeError):
    """What the user named to be read is missing, empty or named twice."""


class ConfigError(GoldenlakeError):
    """A configuration file or option has unknown keys, wrong types or impossible values."""


class ContractError(GoldenlakeError):
    """A table or the result of a stage does not match the contract in ``schemas/``."""


class WarehouseError(GoldenlakeError):
    """The warehouse cannot be written, or another run is writing it."""


class SessionError(GoldenlakeError):
    """There is no Spark session with Delta, and why."""


class LedgerError(GoldenlakeError):
    """Records read and dispositions written do not add up."""


class TrainingError(GoldenlakeError):
    """A training process has failed, with the words it left."""
