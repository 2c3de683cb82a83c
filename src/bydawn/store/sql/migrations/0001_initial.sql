-- Big things are files, small things are rows: request and result bodies live beside this database.
CREATE TABLE job (
    job_id       TEXT PRIMARY KEY,
    fingerprint  TEXT NOT NULL UNIQUE,
    name         TEXT NOT NULL,
    realm        TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('planning', 'running', 'paused', 'done', 'cancelled')),
    reason       TEXT,
    options      TEXT NOT NULL,                 -- JSON of JobOptions
    source       TEXT NOT NULL,                 -- the input's name, for people
    rows         INTEGER NOT NULL DEFAULT 0,    -- input rows
    width        INTEGER NOT NULL DEFAULT 1,    -- ordinals per row: ordinal = row * width + model index
    requests     INTEGER NOT NULL DEFAULT 0,    -- ordinals in use
    adjustments  TEXT NOT NULL DEFAULT '[]',    -- JSON [[adjustment, rows], …]
    notices      TEXT NOT NULL DEFAULT '[]',    -- JSON [text, …]
    created_at_s REAL NOT NULL,
    updated_at_s REAL NOT NULL
) STRICT;

CREATE TABLE lane (
    job_id   TEXT NOT NULL REFERENCES job ON DELETE CASCADE,
    lane     INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model    TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    account  TEXT NOT NULL,
    PRIMARY KEY (job_id, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
    job_id            TEXT NOT NULL REFERENCES job ON DELETE CASCADE,
    number            INTEGER NOT NULL,
    lane              INTEGER NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('planned', 'submitting', 'in_doubt', 'in_progress', 'cancelling',
                                                     'ended', 'collected', 'refused', 'withdrawn')),
    end_reason        TEXT CHECK (end_reason IN ('completed', 'failed', 'expired', 'cancelled')),
    tag               TEXT NOT NULL UNIQUE,       -- what the provider is given to find this create again
    nonce             TEXT NOT NULL,              -- first part of every custom_id in the requests file
    rows              INTEGER NOT NULL,
    bytes             INTEGER NOT NULL,
    input_tokens      INTEGER NOT NULL,           -- our estimate, on the safe side
    attempt           INTEGER NOT NULL,           -- 1 for the first sending of these rows
    attempts_left     INTEGER NOT NULL,           -- further attempts that its rows may have
    refusals          INTEGER NOT NULL DEFAULT 0, -- how often these rows were refused as a batch before
    answer_format     TEXT,                       -- JSON of the format all rows share, 'per_row', or null
    provider_batch_id TEXT,
    provider_status   TEXT,
    facts             TEXT NOT NULL DEFAULT '{}', -- JSON: checkpoints of flows (remote file ids)
    counts            TEXT,                       -- JSON [total, succeeded, failed] as the provider says
    tally             TEXT,                       -- JSON of Tally: what was collected
    waiting           INTEGER NOT NULL DEFAULT 0, -- rows of this batch that wait to be planned again
    looks             INTEGER NOT NULL DEFAULT 0, -- looks since something last changed
    look_at_s         REAL NOT NULL DEFAULT 0,    -- nothing is to be done about this batch before
    sent_at_s         REAL,
    ended_at_s        REAL,
    expires_at_s      REAL,
    note              TEXT,
    PRIMARY KEY (job_id, number),
    CHECK ((state IN ('in_progress', 'cancelling', 'ended', 'collected')) <= (provider_batch_id IS NOT NULL)),
    CHECK ((state IN ('ended', 'collected')) <= (end_reason IS NOT NULL)),
    CHECK (waiting = 0 OR state IN ('collected', 'refused', 'withdrawn'))
) STRICT, WITHOUT ROWID;

-- One packed entry of states and owners for SEGMENT_ROWS ordinals: see ledger.py.
CREATE TABLE ledger (
    job_id  TEXT NOT NULL REFERENCES job ON DELETE CASCADE,
    segment INTEGER NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (job_id, segment)
) STRICT;

-- What was learned of a lane's enqueued-token quota, shared by all jobs of the home.
CREATE TABLE quota (
    realm   TEXT NOT NULL,
    lane    TEXT NOT NULL,
    tokens  INTEGER NOT NULL,
    seen_at_s REAL NOT NULL,
    PRIMARY KEY (realm, lane)
) STRICT, WITHOUT ROWID;
