"""Formats of the records in the store, one number per kind; a release reads its own only.

Those of manifests, aliases and specs stand where these are read and written, each in one module.
"""

#: twofold.internal.v1.JobRecord.
JOB = 1
#: twofold.internal.v1.RequestRecord.
REQUEST = 1
#: twofold.internal.v1.JobOutcome.
OUTCOME = 1
#: twofold.internal.v1.VersionClaim.
CLAIM = 1
#: A metric series; see twofold.series.
SERIES = 1
