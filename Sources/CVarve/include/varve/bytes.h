#ifndef VARVE_BYTES_H
#define VARVE_BYTES_H

#include "error.h"
#include "map_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What stands at the head of map.h holds here too. These calls move bytes without a fault: the whole range is checked
 * before a byte moves. A hole is KERN_INVALID_ADDRESS, a region whose current protection forbids the access
 * KERN_PROTECTION_FAILURE, pages that can't be had are KERN_MEMORY_ERROR.
 *
 * `data` is memory of the caller, which must be accessible: the library does not check it.
 */

/*
 * varve_vm_read: copies a range of a task to memory that the call allocates (vm_read).
 *
 * *data is the caller's, to be freed with varve_free; for 0 bytes it is NULL. *data_count is size.
 * KERN_RESOURCE_SHORTAGE where there is not so much memory.
 */
kern_return_t varve_vm_read(
    varve_task_t task, vm_address_t address, vm_size_t size, void **data, vm_size_t *data_count);

/* varve_free: frees what varve_vm_read allocated. NULL is fine. */
void varve_free(void *data);

/* varve_vm_read_overwrite: copies a range of a task to data (vm_read_overwrite). *out_size, optional, is size. */
kern_return_t varve_vm_read_overwrite(
    varve_task_t task, vm_address_t address, vm_size_t size, void *data, vm_size_t *out_size);

/* varve_vm_write: copies data_count bytes of data to a task (vm_write). */
kern_return_t varve_vm_write(varve_task_t task, vm_address_t address, const void *data, vm_size_t data_count);

/* varve_vm_copy: copies a range of a task to another place in it, as if it were read first (vm_copy). From 1 MiB on, whole
 * pages are copied when they are touched where the destination is memory without a name that nothing else shows: its regions
 * then show another object, and a system call of another thread that is given an address of the destination meanwhile may
 * answer EFAULT. */
kern_return_t varve_vm_copy(
    varve_task_t task, vm_address_t source_address, vm_size_t size, vm_address_t dest_address);

typedef unsigned vm_sync_t;
enum {
    VM_SYNC_ASYNCHRONOUS = 1, /* the commit is scheduled */
    VM_SYNC_SYNCHRONOUS = 2,  /* the range is durable when the call returns */
    VM_SYNC_INVALIDATE = 4,   /* uncommitted changes of the range are dropped, the last committed bytes read again */
    VM_SYNC_KILLPAGES = 8,    /* the same */
    VM_SYNC_DEACTIVATE = 16,  /* the pages are not expected to be used soon */
    VM_SYNC_CONTIGUOUS = 32   /* a hole is KERN_INVALID_ADDRESS */
};

/*
 * varve_vm_msync: makes a range durable, or drops what is not committed of it (vm_msync).
 *
 * Durability is a commit of all that the process changed in the store: never of half of what belongs together.
 * KERN_INVALID_ARGUMENT (flags that are unknown or exclude each other), KERN_INVALID_ADDRESS, KERN_RESOURCE_SHORTAGE (a
 * full disk), KERN_MEMORY_ERROR. Nothing was dropped where it fails.
 */
kern_return_t varve_vm_msync(varve_task_t task, vm_address_t address, vm_size_t size, vm_sync_t sync_flags);

typedef int vm_behavior_t;
enum {
    VM_BEHAVIOR_DEFAULT = 0,
    VM_BEHAVIOR_RANDOM = 1,
    VM_BEHAVIOR_SEQUENTIAL = 2,
    VM_BEHAVIOR_RSEQNTL = 3,
    VM_BEHAVIOR_WILLNEED = 4,
    VM_BEHAVIOR_DONTNEED = 5, /* its bytes stay */
    VM_BEHAVIOR_FREE = 6,     /* fills the range with zeros, which needs the right to write */
    VM_BEHAVIOR_PAGEOUT = 11, /* pages are given back to the store now; their bytes stay */
    VM_BEHAVIOR_ZERO = 12     /* fills the range with zeros, which needs the right to write */
};

/* varve_vm_behavior_set: says how a range will be used (vm_behavior_set). KERN_INVALID_ARGUMENT for an unknown one. */
kern_return_t varve_vm_behavior_set(
    varve_task_t task, vm_address_t address, vm_size_t size, vm_behavior_t new_behavior);

/*
 * varve_vm_wire: keeps a range's pages in memory, ready for the accesses of wired_access; VM_PROT_NONE lets go of them
 * again (vm_wire, without its host port). Wirings are counted.
 *
 * KERN_INVALID_ARGUMENT, KERN_INVALID_ADDRESS, KERN_PROTECTION_FAILURE, KERN_RESOURCE_SHORTAGE (RLIMIT_MEMLOCK).
 */
kern_return_t varve_vm_wire(varve_task_t task, vm_address_t address, vm_size_t size, vm_prot_t wired_access);

enum {
    VM_PAGE_QUERY_PAGE_PRESENT = 0x1,
    VM_PAGE_QUERY_PAGE_DIRTY = 0x8,
    VM_PAGE_QUERY_PAGE_PAGED_OUT = 0x10,
    VM_PAGE_QUERY_PAGE_COPIED = 0x20
};

/*
 * varve_vm_map_page_query: what became of the page at an address (vm_map_page_query): VM_PAGE_QUERY_*, or'ed.
 *
 * It counts no references, as Mach's does. KERN_INVALID_ADDRESS where no region lies.
 */
kern_return_t varve_vm_map_page_query(varve_task_t task, vm_address_t address, int *disposition);

#ifdef __cplusplus
}
#endif

#endif
