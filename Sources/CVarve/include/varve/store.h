#ifndef VARVE_STORE_H
#define VARVE_STORE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* True for every value but 0. */
typedef int boolean_t;

/* An open store. */
typedef struct varve_store *varve_store_t;

/* A past or committed state of an object or of a task, read-only in memory. */
typedef struct varve_state *varve_state_t;

/*
 * varve_store_create: makes an empty store, a folder, at a path: a whole one or none, whatever interrupts it.
 *
 * ring_bytes   size of the journal's ring, a multiple of 4096 and 262144 at least; 0 for the usual 64 MiB
 * window_base  where task windows begin, page-aligned; 0 draws a place at random and records it
 *
 * VARVE_STORE_EXISTS where something but an empty folder stands at the path, VARVE_INVALID, VARVE_FULL, VARVE_IO.
 */
int varve_store_create(const char *path, uint64_t ring_bytes, uint64_t window_base);

enum {
    VARVE_OPEN_WRITE = 0,         /* be the store's writer; VARVE_LOCKED where another process is */
    VARVE_OPEN_READ = 1,          /* read what is committed, beside a writer or without one */
    VARVE_OPEN_AUTOMATIC = 2,     /* write where nobody does, else read */
    VARVE_OPEN_CHECK_ON_MAP = 4,  /* check every page's checksum when it is mapped, not only when it is copied */
    VARVE_OPEN_TRACK_SIGNAL = 8,  /* find changed pages by SIGSEGV, though the kernel could tell */
    VARVE_OPEN_COPY_ON_MAP = 16   /* copy pages when they are mapped, though they could come when they are touched */
};

/*
 * varve_store_open: opens a store, recovering it where its last writer was cut off.
 *
 * flags is at most one of VARVE_OPEN_READ and VARVE_OPEN_AUTOMATIC, or'ed with the others. *store is a handle that
 * varve_store_close ends; what is not closed stays open as long as the process.
 *
 * VARVE_NO_STORE, VARVE_LOCKED, VARVE_DAMAGED, VARVE_NEWER_FORMAT, VARVE_MISMATCHED_FILES, VARVE_INVALID (flags),
 * VARVE_UNSUPPORTED, VARVE_FULL, VARVE_IO.
 */
int varve_store_open(const char *path, unsigned flags, varve_store_t *store);

/*
 * varve_store_close: settles what the journal holds, unmaps the store's tasks and gives up the lock.
 *
 * What is not committed is lost, as in a crash. The handle ends, whatever is returned; handles of the store's tasks,
 * objects and states answer KERN_TERMINATED, KERN_INVALID_OBJECT or VARVE_WRONG_STATE until they are released. Memory of
 * its tasks must not be touched any more; a mapped state stays mapped until its handle is released.
 *
 * VARVE_FULL, VARVE_IO: the store is closed and nothing committed is lost; the next opening recovers.
 */
int varve_store_close(varve_store_t store);

/* Figures of a store; sizes in bytes. Later versions may append members. */
typedef struct varve_store_info {
    uint64_t size;            /* set this to sizeof(varve_store_info_t) before the call: what the caller has room for */
    uint64_t version;         /* the last commit */
    uint64_t flushed_version; /* the last one that is on the disk for certain */
    uint64_t settled_version; /* the last one that has left the journal */
    uint64_t objects;
    uint64_t snapshots;
    uint64_t live_bytes;      /* of pages in the objects' last states */
    uint64_t disk_bytes;      /* what the store's files take */
    uint64_t window_base;
    int writes;               /* 1: this process is the writer */
    int tracks_by_signal;     /* 1: changed pages are found by SIGSEGV, 0: by the kernel */
    int fills_on_demand;      /* 1: pages come when they are touched */
    int reserved;
} varve_store_info_t;

/*
 * varve_store_info: figures of a store.
 *
 * VARVE_INVALID where info->size is too small to be this structure in any version; VARVE_WRONG_STATE, VARVE_IO.
 */
int varve_store_info(varve_store_t store, varve_store_info_t *info);

enum {
    VARVE_COMMIT_DEFERRED = 1, /* a power cut may lose it, with those after it and never one before it */
    VARVE_COMMIT_DECLARED = 2  /* take the pages that varve_task_touch named, without asking the kernel for others */
};

/*
 * varve_commit: makes the next version of everything that this process changed in the store: bytes, maps, tasks; all of
 * it or nothing.
 *
 * message   what the log says of it; NULL or "" for nothing
 * flags     0, or of VARVE_COMMIT_*; without VARVE_COMMIT_DEFERRED the version is on the disk when the call returns
 * snapshot  a name for the new version; NULL for none
 * version   optional: the version; the last one where nothing had changed
 *
 * What other threads store meanwhile is in this version or in the next.
 *
 * VARVE_FULL, VARVE_IO: nothing is lost, commit again. VARVE_UNKNOWN_OUTCOME: reopen, and see. VARVE_POISONED: not
 * tried, after one that was unknown. VARVE_EXISTS: the snapshot's name. VARVE_LOCKED: this process is not the writer.
 * VARVE_WRONG_STATE: closed; in debug builds also a declared commit that finds undeclared stores.
 */
int varve_commit(varve_store_t store, const char *message, unsigned flags, const char *snapshot, uint64_t *version);

/* varve_flush: puts every deferred commit on the disk. VARVE_IO, VARVE_UNKNOWN_OUTCOME, VARVE_POISONED, VARVE_LOCKED. */
int varve_flush(varve_store_t store);

/*
 * varve_abandon: undoes what is not committed: changed pages get their committed bytes back, in place, and every map is
 * what the last commit left.
 *
 * Where it fails (VARVE_IO, VARVE_DAMAGED), what is not yet undone is still uncommitted: abandon again.
 */
int varve_abandon(varve_store_t store);

/* varve_is_changed: *changed = 1 where memory or maps differ from the last commit, else 0. VARVE_IO, VARVE_WRONG_STATE. */
int varve_is_changed(varve_store_t store, boolean_t *changed);

/*
 * varve_set_residency: says how much memory of exclusive objects (heaps among them) stays private to the process, from the
 * next commit on.
 *
 * limit  bytes that they may have together after a commit, 0 for no limit; what was unused longest is traded: its bytes
 *        go to a file without a name in the store's folder, and come back when they are touched
 *
 * With a limit no thread, system call or device may store to exclusive memory while varve_commit or varve_heap_commit
 * runs, where the kernel tracks stores: such a store may be lost. What heaps' own calls change is held off by them.
 * Commits of attached processes, of vm_msync and of making a heap trade nothing: they need no quiet writers.
 * VARVE_WRONG_STATE.
 */
int varve_set_residency(varve_store_t store, uint64_t limit);

/*
 * varve_trim: gives private memory of exclusive objects back, what was unused longest first, until `bytes` of it are left;
 * no byte changes. *left is optional: the bytes that are left at most.
 *
 * What is not committed, wired memory, and memory that may not be read stay, each with all of the same 2 MiB. No thread, system call or device stores to exclusive memory
 * meanwhile, or that store may be lost; what heaps' own calls change is held off by them.
 *
 * VARVE_FULL, VARVE_IO: what is not yet traded stays as it was. VARVE_WRONG_STATE: closed; within a transaction.
 */
int varve_trim(varve_store_t store, uint64_t bytes, uint64_t *left);

/*
 * varve_backup: copies the store, as of its last commit, to a new path: whole or not at all, and while it is in use.
 *
 * VARVE_STORE_EXISTS, VARVE_FULL, VARVE_IO.
 */
int varve_backup(varve_store_t store, const char *destination);

/*
 * varve_release: ends a handle of a task, an object, a memory entry or a mapped state.
 *
 * Tasks stay attached and mapped, objects stay in the store; a mapped state is unmapped once no call uses it. NULL is
 * no handle, and no error. VARVE_INVALID: not a handle (any more), or one of a store, a connection or a heap, which
 * varve_store_close, varve_remote_close and varve_heap_close end.
 */
int varve_release(const void *handle);

#ifdef __cplusplus
}
#endif

#endif
