#ifndef VARVE_MANAGER_H
#define VARVE_MANAGER_H

#include "error.h"
#include "map_types.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Memory managers: objects whose pages a program answers for.
 *
 *     static const char *give(
 *         void *context, varve_object_t object, varve_request_t request, uint64_t offset, uint64_t size) {
 *         uint64_t words[16 * 512];
 *         for (uint64_t n = 0; n < size / 8; n++) words[n] = (offset / 8 + n) * (offset / 8 + n);
 *         varve_memory_object_data_supply(request, words, size);
 *         return NULL;
 *     }
 *
 *     varve_manager_t squares = {.size = sizeof squares, .data_request = give};
 *     varve_object_t object;
 *     varve_memory_object_create(store, 1 << 30, VM_PROT_READ, &squares, NULL, &object);
 *
 * Such an object is volatile: no page of it and no region that shows it is in the store, and the task is without them
 * when it is attached again. A copy of it (varve_vm_map with copy, an inherited copy, a copying memory entry) is an
 * ordinary object: all its pages are asked for at the call, and never change later.
 *
 * Where a page can't be had, because the manager said so, did not answer within its deadline, answered another number of
 * bytes, or is gone, calls answer KERN_MEMORY_ERROR with the reason, plain accesses raise SIGBUS, and varve_last_fault
 * tells why. Calls ask again each time. Nobody else is held up. Where the object was destroyed, it is
 * KERN_MEMORY_FAILURE.
 *
 * The calls answer KERN_INVALID_OBJECT where their object is no handle of a managed one, KERN_INVALID_ARGUMENT where a
 * pointer that they need is NULL.
 */

/*
 * Pages that a manager is asked for: a handle, which the first answer ends, whatever that answer returns, and which the
 * library ends some time after nobody waits for it any more.
 */
typedef struct varve_request *varve_request_t;

/* A run of pages that goes back to a manager. */
typedef struct varve_returned_run {
    uint64_t offset;  /* bytes into the object, a multiple of the page */
    uint64_t size;    /* bytes: whole pages, but for the last one of an object that ends within it */
    const void *data; /* their bytes: copies, valid until data_return returns */
} varve_returned_run_t;

/* Pages that go back to a manager, as they were at one moment. Later versions may append members. */
typedef struct varve_returned {
    uint64_t version; /* the store's version at that moment; the same pages may come again with a later one */
    uint64_t count;   /* how many runs there are; none touches the next */
    const varve_returned_run_t *runs; /* by offset */
} varve_returned_t;

/*
 * What a manager does. Each function is handed `context`, and the object: a handle for the calls below and
 * varve_object_number. That handle maps nothing and keeps nothing alive; it is not to be released, and ends with
 * terminate.
 *
 * A function answers NULL, or why it failed: a string that is read at once, and needs to be there no longer.
 *
 * For one object the calls come one at a time, in order, on a thread of the library's, for which no other object waits
 * and on which signals are blocked, but for those that a thread raises by itself. A manager may serve many objects: their
 * calls come at the same time. No lock is held: every call of the library may be made, but for what follows.
 *
 * A function must not touch memory that its manager serves, nor read it by a call: it would wait for itself until the
 * deadline. Nor wait for a commit or varve_abandon, which wait for data_return and data_request, nor for the store's
 * closing.
 *
 * One that never returns, or ends its thread, harms only those who wait for its object; then nothing more is called.
 */
typedef struct varve_manager {
    uint64_t size;  /* set this to sizeof(varve_manager_t); later versions may append functions */
    void *context;  /* the program's; used until terminate has returned, or init has failed, and not afterwards */

    /*
     * Called once, before anything else (memory_object_init); perhaps before varve_memory_object_create returns. An
     * object whose init fails, or has not returned within the deadline, can't be mapped: KERN_INVALID_OBJECT. Where it
     * fails, nothing else is called. NULL does nothing.
     */
    const char *(*init)(void *context, varve_object_t object);

    /*
     * Asks for `size` bytes at `offset`, both multiples of the page (memory_object_data_request). The answer is one of
     * varve_memory_object_data_supply, _data_unavailable and _data_error, made here or later, by any thread. Failing is
     * an answer too. Must not be NULL.
     */
    const char *(*data_request)(
        void *context, varve_object_t object, varve_request_t request, uint64_t offset, uint64_t size);

    /*
     * Returns pages that were stored to, after the commit that took them (memory_object_data_return); pages that were
     * only read may be among them. They are the manager's when this returns. Where it fails or passes the deadline,
     * varve_commit answers VARVE_NOT_RETURNED, its version stands, and the store keeps the pages for the next commit,
     * which returns them again, newer perhaps; so does one that comes late. NULL takes none: it always fails.
     */
    const char *(*data_return)(void *context, varve_object_t object, const varve_returned_t *pages);

    /*
     * The last call (memory_object_terminate): nobody maps the object any more, or it was terminated or destroyed, or the
     * store is closed: then perhaps after varve_store_close has returned. It comes once, unless init failed or a function
     * ended its thread or never returned. NULL does nothing.
     */
    void (*terminate)(void *context, varve_object_t object);
} varve_manager_t;

/* How an object is asked for. Later versions may append members. */
typedef struct varve_manager_attributes {
    uint64_t size;          /* set this to sizeof(varve_manager_attributes_t) */
    uint32_t deadline_ms;   /* what init, a request or a return may take: 1 to 3600000; usually 10000 */
    uint32_t cluster_pages; /* the most that a request asks for, around the page that is needed: a power of two, 1 to 64;
                               usually 16. Where several are refused, the one is asked for alone. */
} varve_manager_attributes_t;

/*
 * varve_memory_object_create: makes an object whose pages a manager answers for.
 *
 * size        bytes, 1 to 2^44
 * rights      the accesses that mappings may ever allow
 * manager     is copied
 * attributes  NULL for the usual ones
 * object      out: a handle. It keeps the object alive, as mappings do; without either, the next commit ends the object.
 *
 * Returns at once: init is called meanwhile, and mapping waits for it. On failure no function is called ever.
 * KERN_INVALID_ARGUMENT (a bad handle of a store, NULL, size, rights, attributes, no data_request), KERN_NOT_SUPPORTED (a
 * manager with functions that this library does not know), KERN_NO_ACCESS (the store is open for reading),
 * KERN_RESOURCE_SHORTAGE, KERN_FAILURE (the store was closed).
 */
kern_return_t varve_memory_object_create(
    varve_store_t store, uint64_t size, vm_prot_t rights, const varve_manager_t *manager,
    const varve_manager_attributes_t *attributes, varve_object_t *object);

/*
 * varve_memory_object_of_file: makes an object whose pages are a host file's: read when they are needed, and written back
 * and on the disk when a commit returns, though not atomically with its version. varve_object_of_file has the store's
 * promises.
 *
 * writable 0: a commit that has pages of it answers VARVE_NOT_RETURNED, and mappings may not allow VM_PROT_WRITE. The
 * file must not change beside it: where it has, pages that are not in memory are KERN_MEMORY_ERROR. attributes may be
 * NULL.
 *
 * KERN_INVALID_OBJECT (no such file), KERN_FAILURE (no regular file, an empty one), KERN_MEMORY_ERROR (it can't be
 * opened), and varve_memory_object_create's.
 */
kern_return_t varve_memory_object_of_file(
    varve_store_t store, const char *file, boolean_t writable, const varve_manager_attributes_t *attributes,
    varve_object_t *object);

/*
 * varve_memory_object_data_supply: answers a request with its pages' bytes (memory_object_data_supply).
 *
 * size is what was asked for; for the last page, also what the object has of it: the rest reads as zeros. data is read
 * during the call. Pages that came into memory meanwhile stay as they are; everybody who waits for one of the pages goes
 * on.
 *
 * KERN_INVALID_ARGUMENT for another number of bytes, which fails the request, and where the value never was a request's
 * handle; KERN_OPERATION_TIMED_OUT where the request was answered before, or passed its deadline.
 */
kern_return_t varve_memory_object_data_supply(varve_request_t request, const void *data, uint64_t size);

/*
 * varve_memory_object_data_unavailable: answers that there is nothing: the pages are zeros
 * (memory_object_data_unavailable). KERN_INVALID_ARGUMENT, KERN_OPERATION_TIMED_OUT.
 */
kern_return_t varve_memory_object_data_unavailable(varve_request_t request);

/*
 * varve_memory_object_data_error: answers that the pages can't be had now, and why (memory_object_data_error). reason may
 * be NULL. KERN_INVALID_ARGUMENT, KERN_OPERATION_TIMED_OUT.
 */
kern_return_t varve_memory_object_data_error(varve_request_t request, const char *reason);

/*
 * varve_memory_object_lock_request: has pages returned to the manager, taken out of memory, or both
 * (memory_object_lock_request, without its lock value). The range is rounded outward to pages.
 *
 * should_return  pages that were stored to are returned without a commit: soon, and before later calls of the manager
 * should_flush   pages go out of memory and are asked for again when they are needed. Without should_return, what was stored
 *                to them since the last commit is lost. Nobody may store to them meanwhile: that may be lost. Where nothing
 *                fills on demand they are asked for at once, and the old bytes show until they come.
 *
 * KERN_INVALID_ARGUMENT (past the object's end), KERN_INVALID_OBJECT (also where it has ended), KERN_RESOURCE_SHORTAGE,
 * KERN_MEMORY_ERROR.
 */
kern_return_t varve_memory_object_lock_request(
    varve_object_t object, vm_offset_t offset, vm_size_t size, boolean_t should_return, boolean_t should_flush);

/*
 * varve_memory_object_change_attributes: changes how the object is asked for, from the next request on
 * (memory_object_change_attributes). KERN_INVALID_ARGUMENT for values out of their range.
 */
kern_return_t varve_memory_object_change_attributes(varve_object_t object, const varve_manager_attributes_t *attributes);

/*
 * varve_memory_object_get_attributes: how the object is asked for (memory_object_get_attributes). attributes->size is set
 * before the call. KERN_INVALID_ARGUMENT where that is too small.
 */
kern_return_t varve_memory_object_get_attributes(varve_object_t object, varve_manager_attributes_t *attributes);

/*
 * varve_memory_object_destroy: ends the object for good (memory_object_destroy): every access to it raises SIGBUS from
 * now on, wherever it is mapped, calls answer KERN_MEMORY_FAILURE with the reason, and mapping it KERN_INVALID_OBJECT.
 * What is not returned is lost. reason may be NULL. A second call does nothing. KERN_RESOURCE_SHORTAGE,
 * KERN_MEMORY_ERROR.
 */
kern_return_t varve_memory_object_destroy(varve_object_t object, const char *reason);

/*
 * varve_memory_object_terminate: ends the manager's service in order: what commits took is returned, then terminate is
 * called.
 *
 * Pages in memory stay as they are, others are KERN_MEMORY_ERROR, mapping it is KERN_INVALID_OBJECT. What was stored
 * since the last commit is returned to nobody, and the next commit answers VARVE_NOT_RETURNED: commit first. A second
 * call does nothing.
 */
kern_return_t varve_memory_object_terminate(varve_object_t object);

#ifdef __cplusplus
}
#endif

#endif
