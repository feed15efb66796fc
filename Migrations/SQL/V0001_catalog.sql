-- Objects, tasks and map entries are temporal: a row is valid for the versions born <= v < died, and
-- died = 9223372036854775807 while it is live. Numbers of 64 bits without a sign (object and task
-- numbers, addresses, sizes) are held as the integer with the same bits. Versions are below 2^63 - 2.

CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    uuid BLOB NOT NULL CHECK (length(uuid) = 16),
    mark INTEGER NOT NULL CHECK (mark >= 0)             -- the last version applied
) STRICT;

CREATE TABLE objects (
    object INTEGER NOT NULL,
    born INTEGER NOT NULL,
    died INTEGER NOT NULL,
    name TEXT,
    size INTEGER NOT NULL,                              -- bytes
    residency INTEGER NOT NULL CHECK (residency BETWEEN 0 AND 255),
    PRIMARY KEY (object, born),
    CHECK (born < died)
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_death ON objects (died);
CREATE INDEX objects_by_name ON objects (name, died) WHERE name IS NOT NULL;

CREATE TABLE task_numbers (
    task INTEGER PRIMARY KEY                            -- every task that a row names
) STRICT;

CREATE TABLE tasks (
    task INTEGER NOT NULL REFERENCES task_numbers (task),
    born INTEGER NOT NULL,
    died INTEGER NOT NULL,
    name TEXT NOT NULL,
    window_base INTEGER NOT NULL,                       -- an address
    window_size INTEGER NOT NULL,                       -- bytes
    PRIMARY KEY (task, born),
    CHECK (born < died)
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_death ON tasks (died);
CREATE INDEX tasks_by_name ON tasks (name, died);

CREATE TABLE entries (
    task INTEGER NOT NULL REFERENCES task_numbers (task),
    first INTEGER NOT NULL,                             -- the first address
    born INTEGER NOT NULL,
    died INTEGER NOT NULL,
    past INTEGER NOT NULL,                              -- one past the last address
    object INTEGER,                                     -- absent: no object yet
    "offset" INTEGER NOT NULL,                          -- bytes into the object
    current INTEGER NOT NULL CHECK (current BETWEEN 0 AND 7),
    maximum INTEGER NOT NULL CHECK (maximum BETWEEN 0 AND 7),
    inheritance INTEGER NOT NULL CHECK (inheritance BETWEEN 0 AND 2),
    copied INTEGER NOT NULL CHECK (copied IN (0, 1)),
    PRIMARY KEY (task, first, born),
    CHECK (born < died)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_death ON entries (task, died, first);

CREATE TABLE snapshots (
    name TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,                           -- what it names
    object INTEGER,                                     -- absent: the whole store
    message TEXT NOT NULL,
    made INTEGER NOT NULL,                              -- the version whose commit made it
    time REAL NOT NULL                                  -- seconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshots_by_version ON snapshots (version);

CREATE TABLE commits (
    version INTEGER PRIMARY KEY,
    time REAL NOT NULL,                                 -- seconds since 1970
    message TEXT NOT NULL,
    pages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    kinds INTEGER NOT NULL                              -- bits: 1 objects, 2 tasks, 4 maps, 8 snapshots, 16 rollback
) STRICT;
