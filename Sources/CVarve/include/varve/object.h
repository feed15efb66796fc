#ifndef VARVE_OBJECT_H
#define VARVE_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "map_types.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * In these calls `name` is an object's name, or `#` and its number. A `reference` is a name, or a name at a state:
 * "NAME@SNAPSHOT" or "NAME@VERSION".
 */

enum {
    VARVE_OBJECT_SHARED = 0,   /* any number of mappings, which see each other's stores */
    VARVE_OBJECT_EXCLUSIVE = 1 /* one mapping, straight from the store's file */
};

/* An object of a store. Later versions may append members. */
typedef struct varve_object_info {
    uint64_t number;    /* names it for as long as the store lives */
    uint64_t size;      /* bytes */
    uint64_t born;      /* the first version that holds it */
    int residency;      /* VARVE_OBJECT_SHARED or VARVE_OBJECT_EXCLUSIVE */
    int reserved;
    const char *name;   /* empty where it has none */
} varve_object_info_t;

/*
 * varve_object_create: makes a named object of zeros and commits that; what else is uncommitted stays so.
 *
 * size is at most 2^44. message, for the log, may be NULL. *object is a handle.
 * VARVE_EXISTS, VARVE_INVALID (name, size or residency), VARVE_LOCKED, VARVE_FULL, VARVE_IO.
 */
int varve_object_create(
    varve_store_t store, const char *name, uint64_t size, int residency, const char *message, varve_object_t *object);

/* varve_object_open: a handle of a live object. VARVE_NOT_FOUND, VARVE_IO. */
int varve_object_open(varve_store_t store, const char *name, varve_object_t *object);

/*
 * varve_object_port: a handle of the same object that permits fewer accesses.
 *
 * A mapping through it whose current or maximum protection exceeds rights is KERN_PROTECTION_FAILURE; a copy needs
 * VM_PROT_READ alone. Ports are made of objects, not of ports or memory entries: VARVE_INVALID, as for rights outside
 * VM_PROT_ALL.
 */
int varve_object_port(varve_object_t object, vm_prot_t rights, varve_object_t *port);

/* varve_object_number: the number of a handle's object, also of a port's. VARVE_INVALID for a memory entry. */
int varve_object_number(varve_object_t object, uint64_t *number);

typedef int (*varve_object_visitor_t)(void *context, const varve_object_info_t *object);

/*
 * varve_object_list: shows the visitor each object of a state, by name.
 *
 * state is a snapshot's name or a version in digits; NULL is the last commit. VARVE_NOT_FOUND, VARVE_NOT_RETAINED,
 * VARVE_IO. The visitor may call anything.
 */
int varve_object_list(varve_store_t store, const char *state, varve_object_visitor_t visitor, void *context);

/*
 * varve_object_resize, _rename, _delete: change an object and commit that; message may be NULL.
 *
 * What is cut off is gone from this version on; what is added is zeros. A deleted object stays in kept versions and
 * snapshots. VARVE_NOT_FOUND, VARVE_BUSY (resize and delete: it is mapped, or has changes that are not committed; delete
 * also where a task maps it as the last commit left it, attached or not), VARVE_EXISTS, VARVE_INVALID, VARVE_LOCKED,
 * VARVE_FULL, VARVE_IO.
 */
int varve_object_resize(varve_store_t store, const char *name, uint64_t size, const char *message);
int varve_object_rename(varve_store_t store, const char *name, const char *new_name, const char *message);
int varve_object_delete(varve_store_t store, const char *name, const char *message);

/*
 * varve_object_clone: makes an object that holds what a reference does, by one small record; neither sees the other's
 * later stores. It clones what is committed.
 *
 * VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_EXISTS, VARVE_LOCKED, VARVE_FULL, VARVE_IO.
 */
int varve_object_clone(
    varve_store_t store, const char *reference, const char *name, const char *message, varve_object_t *object);

/* varve_object_size: bytes of an object in a state. VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_IO. */
int varve_object_size(varve_store_t store, const char *reference, uint64_t *size);

/*
 * varve_read: copies committed bytes, each page checked, to a buffer.
 *
 * *count, optional, is how many: fewer than size at the object's end. On failure the buffer's contents are undefined.
 * VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_DAMAGED, VARVE_IO.
 */
int varve_read(
    varve_store_t store, const char *reference, uint64_t offset, void *buffer, size_t size, size_t *count);

/*
 * varve_write: writes bytes to an object that is not mapped, as one commit: all of them or none.
 *
 * *version is optional. VARVE_NOT_FOUND, VARVE_INVALID (past the object's end), VARVE_BUSY (it is mapped),
 * VARVE_LOCKED, VARVE_FULL, VARVE_IO.
 */
int varve_write(
    varve_store_t store, const char *name, uint64_t offset, const void *bytes, size_t size, const char *message,
    uint64_t *version);

/*
 * varve_import: makes an object of a host file's bytes as they are now, and commits it; later changes of the file never
 * change the object.
 *
 * *object is optional. VARVE_EXISTS, VARVE_INVALID (no regular file), VARVE_CHANGED_WHILE_READ, VARVE_FULL, VARVE_IO.
 */
int varve_import(varve_store_t store, const char *file, const char *name, const char *message, varve_object_t *object);

/*
 * varve_object_of_file: a handle of the named object that has a host file's bytes as its base; makes it at the first call.
 *
 * The file is ingested, as by varve_import. A later call looks at the file: where its identity, size and modification time
 * are those that were ingested, the object is as it is, with all that was committed to it since; where not, the file's
 * bytes become the object's next version. A snapshot of the object, "of-file:" and numbers, keeps which file it was.
 * Stores change the object alone; varve_export writes it to a file. varve_memory_object_of_file serves the file itself.
 *
 * VARVE_NOT_FOUND, VARVE_INVALID (no regular file, name), VARVE_CHANGED_WHILE_READ, VARVE_EXISTS (an object of that name
 * was not made so), VARVE_BUSY (the file has changed, and the object is mapped or has changes), VARVE_LOCKED, VARVE_FULL,
 * VARVE_IO.
 */
int varve_object_of_file(varve_store_t store, const char *file, const char *name, varve_object_t *object);

/*
 * varve_export: writes an object's state to a host file, whole: the path holds the old file or the new one.
 *
 * VARVE_EXISTS where the file is there and overwrite is 0; VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_DAMAGED,
 * VARVE_FULL, VARVE_IO.
 */
int varve_export(varve_store_t store, const char *reference, const char *file, boolean_t overwrite);

/*
 * varve_state_map: maps an object's state read-only at an address that the system chooses.
 *
 * *bytes and *size say where. The bytes never change, and are there until varve_release(*state): also when the store is
 * closed. With VARVE_OPEN_CHECK_ON_MAP every page is checked against its checksum first: VARVE_DAMAGED. Without it, pages
 * that lie in a long run in the store's file are mapped unchecked, and read as the disk has them, damaged or not; all others
 * are checked when they are touched, where damaged ones raise SIGBUS, or, where the host lets nobody serve faults, by this
 * call: VARVE_DAMAGED. What the disk can't read raises SIGBUS. VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_FULL, VARVE_IO.
 */
int varve_state_map(
    varve_store_t store, const char *reference, varve_state_t *state, const void **bytes, uint64_t *size);

#ifdef __cplusplus
}
#endif

#endif
