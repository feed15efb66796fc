#ifndef VARVE_CRASH_ADAPTERS_H
#define VARVE_CRASH_ADAPTERS_H

/// Other stores as adapters of the crash lab, to compare ours with and to prove that the lab sees. `arguments` are the verb
/// and what follows it, as docs/CRASHLAB.md says: work FOLDER SEED, recover FOLDER, check, inspect, serve.
///
///     lmdb              made whole under another name, synced by default
///     lmdb-naive        made where it is used
///     lmdb-nosync       MDB_NOSYNC
///     lmdb-nometasync   MDB_NOMETASYNC
///     sqlite            a rollback journal that stays (PERSIST), synchronous FULL
///     sqlite-delete     a rollback journal that is deleted, SQLite's default, synchronous FULL
///     sqlite-wal        a write-ahead log, synchronous FULL
///     sqlite-off        a rollback journal, synchronous OFF
///     plain-file        a file that is written anew in its place, without any care
///     plain-file-large  the same with 256 KiB of zeros in front
///
/// Returns the exit status; 64 where the store or the verb is not known.
int crash_adapter_run(const char *store, int count, const char *const *arguments);

/// The store of that number, or NULL.
const char *crash_adapter_name(int number);

/// What a child does: the verb, `work` or `recover`, the folder and the seed; returns the exit status.
typedef int (*crash_work)(const char *verb, const char *folder, const char *seed);

/// Performs runs in children of this process until its input ends, and kills those that are to be killed. It prints `ready`; then a
/// request is a line
///
///     VERB FOLDER SEED OUTPUT MICROSECONDS [NAME=VALUE …]
///
/// where OUTPUT is the file to which the child's lines are added (what it complains of: to OUTPUT.errors), MICROSECONDS the moment
/// of its SIGKILL, 0 for none, and NAME=VALUE go into its environment. The answer is `exit STATUS`, `signal NUMBER`, or `hang` where
/// a child that was not to be killed took longer than 30 s. Call it before there are threads or open stores.
int crash_serve(crash_work run);

/// The same with a program that each child becomes; `words` are it and its first arguments.
int crash_serve_program(int count, char *const *words);

/// The same with one of the stores above.
int crash_serve_store(const char *store);

#endif
