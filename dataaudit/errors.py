"""The exceptions of dataaudit.

    DataAuditError            what a user can put right; the command line exits with 2
    ├── ConfigError           audit.yaml: a key, a value, or a combination of them
    ├── DataError             a data file: missing, unreadable, a column, a label, a row
    ├── ModelError            the trained model: factory, weights, inputs, outputs
    ├── EngineError           where the forward passes run: workers that die or never start
    └── RunDirectoryError     the directory that an audit writes to or reads from

Every message names the file, key or row, what was found and what was expected. Anything else
that is raised is a defect of dataaudit itself.
"""


class DataAuditError(Exception):
    """Base of every error that the user can put right."""


class ConfigError(DataAuditError):
    """`audit.yaml` holds a key or a value that cannot be used."""


class DataError(DataAuditError):
    """A data file, a column, a label or a row cannot be used."""


class ModelError(DataAuditError):
    """The trained model cannot be loaded, or does not fit the data."""


class EngineError(DataAuditError):
    """The processes that run the forward passes cannot be started, or die again and again."""


class RunDirectoryError(DataAuditError):
    """The run directory cannot be written, read or trusted."""
