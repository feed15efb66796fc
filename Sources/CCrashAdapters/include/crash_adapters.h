#ifndef VARVE_CRASH_ADAPTERS_H
#define VARVE_CRASH_ADAPTERS_H

/// Other stores as adapters of the crash lab, to compare ours with and to prove that the lab sees. `arguments` are the verb
/// and what follows it, as docs/CRASHLAB.md says: work FOLDER SEED, recover FOLDER, check.
///
///     lmdb              made whole under another name, synced by default
///     lmdb-naive        made where it is used
///     lmdb-nosync       MDB_NOSYNC
///     lmdb-nometasync   MDB_NOMETASYNC
///     sqlite            a rollback journal that stays (PERSIST), synchronous FULL
///     sqlite-delete     a rollback journal that is deleted, SQLite's default, synchronous FULL
///     sqlite-wal        a write-ahead log, synchronous FULL
///     sqlite-off        a rollback journal, synchronous OFF
///
/// Returns the exit status; 64 where the store or the verb is not known.
int crash_adapter_run(const char *store, int count, const char *const *arguments);

/// The store of that number, or NULL.
const char *crash_adapter_name(int number);

#endif
