#ifndef VARVE_HISTORY_H
#define VARVE_HISTORY_H

#include <stdint.h>

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * In these calls a `state` is a snapshot's name, or a version in digits; NULL is the last commit. `object` is an object's
 * name, or `#` and its number; NULL is the whole store.
 */

/* A named version. Later versions may append members. */
typedef struct varve_snapshot {
    const char *name;
    const char *message;
    uint64_t version;
    uint64_t object;  /* its number; 0 for a snapshot of the whole store */
    int64_t time;     /* nanoseconds since 1970 */
} varve_snapshot_t;

/*
 * varve_snapshot_create: names the committed state of the store, or of one object. What is not committed is no part of
 * it: varve_commit names the version that it makes.
 *
 * message may be NULL, *version is optional. VARVE_EXISTS, VARVE_NOT_FOUND (the object), VARVE_INVALID, VARVE_FULL,
 * VARVE_IO. Processes that do not write the store ask the one that does.
 */
int varve_snapshot_create(
    varve_store_t store, const char *name, const char *object, const char *message, uint64_t *version);

/* varve_snapshot_delete, _rename: VARVE_NOT_FOUND, VARVE_EXISTS, VARVE_INVALID, VARVE_FULL, VARVE_IO. */
int varve_snapshot_delete(varve_store_t store, const char *name);
int varve_snapshot_rename(varve_store_t store, const char *name, const char *new_name);

typedef int (*varve_snapshot_visitor_t)(void *context, const varve_snapshot_t *snapshot);

/* varve_snapshot_list: shows the visitor every snapshot, by version and name. The visitor may call anything. VARVE_IO. */
int varve_snapshot_list(varve_store_t store, varve_snapshot_visitor_t visitor, void *context);

/*
 * varve_rollback: makes the next version hold what a state held: all objects and maps, or one object's bytes.
 *
 * Nothing in between is lost: it stays in the log, and in the snapshots that name it. Mapped objects show the bytes in
 * place. message may be NULL, *version is optional.
 * VARVE_BUSY where something is uncommitted, or a mapped object's size would change; VARVE_NOT_FOUND,
 * VARVE_NOT_RETAINED, VARVE_LOCKED, VARVE_FULL, VARVE_IO.
 */
int varve_rollback(
    varve_store_t store, const char *state, const char *object, const char *message, uint64_t *version);

enum { VARVE_ADDED = 1, VARVE_REMOVED = 2, VARVE_CHANGED = 3, VARVE_RESIZED = 4 };

/* How an object differs between two states. Later versions may append members. */
typedef struct varve_difference {
    const char *name;
    uint64_t object;        /* its number */
    int kind;               /* VARVE_ADDED … VARVE_RESIZED */
    int reserved;
    uint64_t size_before;   /* bytes */
    uint64_t size_after;
    uint64_t changed_pages;
    uint64_t changed_bytes; /* of the size that both have */
} varve_difference_t;

typedef int (*varve_difference_visitor_t)(void *context, const varve_difference_t *difference);

/*
 * varve_diff: shows the visitor what differs from one state to another, object by object; an object is the same one
 * where its number is. The visitor may call anything. VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_DAMAGED, VARVE_IO.
 */
int varve_diff(
    varve_store_t store, const char *before, const char *after, const char *object, varve_difference_visitor_t visitor,
    void *context);

/* A version in the log. Later versions may append members. */
typedef struct varve_log_entry {
    uint64_t version;
    int64_t time;          /* nanoseconds since 1970 */
    const char *message;
    const char *changes;   /* what it changed beside pages, in words */
    uint64_t pages;        /* that it changed */
    int retained;          /* 1: its state can still be looked at */
    int reserved;
} varve_log_entry_t;

typedef int (*varve_log_visitor_t)(void *context, const varve_log_entry_t *entry);

/*
 * varve_log: shows the visitor the commits, newest first: those with a message or changes of names and maps, and the
 * latest of the others. The visitor may call anything. VARVE_DAMAGED, VARVE_IO.
 */
int varve_log(varve_store_t store, varve_log_visitor_t visitor, void *context);

#ifdef __cplusplus
}
#endif

#endif
