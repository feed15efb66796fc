#ifndef VARVE_REMOTE_H
#define VARVE_REMOTE_H

#include "error.h"
#include "map_types.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A store that another process serves, as this one is attached to it: every process that has a store open for writing
 * serves it (`varve serve` does nothing else).
 *
 * Objects come as memory that all attached processes share: each sees the others' stores at once, and whoever commits,
 * commits what all of them stored. Where the serving process ends, calls answer VARVE_IO from then on, and what is mapped
 * stays as it is: nobody commits it any more.
 */
typedef struct varve_remote *varve_remote_t;

enum {
    VARVE_SERVE_OWNER = 0,      /* the user that the process runs as, and root: to read, write and commit */
    VARVE_SERVE_GROUP_READS = 1 /* members of the folder's group as well, to read what the owner shares with them */
};

/*
 * varve_serve: chooses who may attach to this process; at first it is VARVE_SERVE_OWNER.
 *
 * With VARVE_SERVE_GROUP_READS, members need the right to search the folder. VARVE_INVALID (audience), VARVE_LOCKED (the
 * store is open for reading), VARVE_WRONG_STATE (closed), VARVE_IO.
 */
int varve_serve(varve_store_t store, int audience);

/*
 * varve_remote_connect: attaches to the process that serves the store in a folder.
 *
 * deadline_ms  how long each answer may take, now and later; 0 for a minute. Bringing a large object to memory takes long.
 * remote       out: a handle, which varve_remote_close ends
 *
 * VARVE_NO_STORE where there is no such folder, or nobody serves the store in it; VARVE_IO where we are not let in, or
 * not answered.
 */
int varve_remote_connect(const char *path, uint32_t deadline_ms, varve_remote_t *remote);

/*
 * varve_remote_of: the connection of a task that varve_task_inherited or varve_remote_task gave: another handle of the
 * same. VARVE_INVALID for other tasks.
 */
int varve_remote_of(varve_task_t task, varve_remote_t *remote);

/*
 * varve_remote_close: ends the connection and the handle. What is mapped stays so, and what was stored until now is part
 * of the next commit. VARVE_INVALID.
 */
int varve_remote_close(varve_remote_t remote);

/* varve_remote_is_connected: *connected = 0 once the serving process was seen to be gone, or the connection was closed. */
int varve_remote_is_connected(varve_remote_t remote, boolean_t *connected);

/*
 * varve_remote_object: a handle of a named object, for accesses within rights, which varve_vm_map takes with a task of
 * the same connection. The kernel refuses stores through one without VM_PROT_WRITE.
 *
 * VARVE_NOT_FOUND, VARVE_UNSUPPORTED (exclusive residency, no name), VARVE_READ_ONLY (this user may not write),
 * VARVE_INVALID (rights), VARVE_FULL, VARVE_IO.
 */
int varve_remote_object(varve_remote_t remote, const char *name, vm_prot_t rights, varve_object_t *object);

/*
 * varve_remote_task: an empty address space of this process, for mapping objects; it is no part of the store.
 *
 * window_size is bytes of addresses, a multiple of the page; 0 for 64 GiB. The handle is for varve_vm_map,
 * varve_vm_allocate, varve_vm_deallocate, varve_vm_protect, varve_vm_inherit, varve_vm_region, varve_task_window and
 * varve_task_terminate; the other calls answer KERN_NOT_SUPPORTED. With copy, varve_vm_map copies the bytes at the call.
 * VARVE_INVALID (window_size), VARVE_FULL.
 */
int varve_remote_task(varve_remote_t remote, uint64_t window_size, varve_task_t *task);

/*
 * varve_remote_commit: has the serving process make the next version of all that any process changed; see varve_commit.
 *
 * flags is 0 or VARVE_COMMIT_DEFERRED, message and version are optional. Errors are those of varve_commit;
 * VARVE_UNKNOWN_OUTCOME also where the deadline passes or that process ends meanwhile: the commit may have been made.
 */
int varve_remote_commit(varve_remote_t remote, const char *message, unsigned flags, uint64_t *version);

/*
 * varve_remote_snapshot: commits, and names the version. As varve_remote_commit, and VARVE_EXISTS, VARVE_INVALID for the
 * name.
 */
int varve_remote_snapshot(varve_remote_t remote, const char *name, const char *message, uint64_t *version);

#ifdef __cplusplus
}
#endif

#endif
