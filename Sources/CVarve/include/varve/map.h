#ifndef VARVE_MAP_H
#define VARVE_MAP_H

#include "error.h"
#include "map_types.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Each of these answers KERN_INVALID_TASK where its task is no handle of one, KERN_TERMINATED where that was terminated
 * or its store closed, KERN_INVALID_ARGUMENT where a pointer that it needs is NULL. A map's changes take effect at once,
 * are durable with the next commit, and are undone by varve_abandon.
 *
 * Except in vm_map, vm_allocate and vm_remap, a range is rounded outward to whole pages, a range of 0 bytes has no effect
 * and succeeds, and one that passes the end of 64 bits is KERN_INVALID_ARGUMENT.
 */

/*
 * varve_vm_map: maps memory into a task's address space (vm_map).
 *
 * address      in: where, or with anywhere the lowest address to look from. out: the region's address.
 * size         bytes, rounded up to pages by itself
 * mask         bits that the address must not have; any pattern
 * anywhere     take the first gap at or above the address's page; else exactly that page
 * object       an object, a port or a memory entry; MEMORY_OBJECT_NULL: zero-filled memory, without offset and copy
 * offset       into the object, a multiple of the page; may lie beyond its end: then the access decides
 * copy         the memory as it is at the call, uncommitted stores included; else the object itself, whose mappings all
 *              see each other's stores
 * cur, max     what accesses the region allows now, and may ever be made to allow
 * inheritance  what a child task receives of it
 *
 * The checks come in this order:
 * KERN_INVALID_ARGUMENT    bits outside VM_PROT_ALL, cur not within max; no inheritance; a size of 0, or that rounds to 0;
 *                          a fixed range, or offset + size, past the end of 64 bits; an offset that is no multiple
 * KERN_INVALID_OBJECT      a dead object, another store's, or no handle of one
 * KERN_PROTECTION_FAILURE  cur or max beyond what the port permits (copy: the port does not permit reading)
 * KERN_INVALID_ARGUMENT    beyond a memory entry's end
 * KERN_NO_SPACE            no gap; fixed: an overlap, or a bit of the mask in the address
 * KERN_INVALID_ADDRESS     fixed: outside the task's window
 * KERN_RESOURCE_SHORTAGE   memory, disk or mappings are exhausted
 * KERN_MEMORY_ERROR        the object's pages could not be had
 */
kern_return_t varve_vm_map(
    varve_task_t task, vm_address_t *address, vm_size_t size, vm_address_t mask, boolean_t anywhere,
    varve_object_t object, vm_offset_t offset, boolean_t copy, vm_prot_t cur, vm_prot_t max,
    vm_inherit_t inheritance);

/*
 * varve_vm_allocate: zero-filled memory, readable and writable (vm_allocate). A size of 0 succeeds with *address = 0.
 *
 * KERN_INVALID_ARGUMENT (the size rounds to 0), KERN_INVALID_ADDRESS (a fixed range outside the window or past the end
 * of 64 bits), KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE.
 */
kern_return_t varve_vm_allocate(varve_task_t task, vm_address_t *address, vm_size_t size, boolean_t anywhere);

/*
 * varve_vm_deallocate: ends the mappings in a range (vm_deallocate); holes are fine. What was stored to an object is part
 * of the next commit all the same. KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE.
 */
kern_return_t varve_vm_deallocate(varve_task_t task, vm_address_t address, vm_size_t size);

/*
 * varve_vm_protect: sets what accesses a range allows (vm_protect); the processor enforces it.
 *
 * With set_maximum the maximum becomes protection, for good, and the current protection what it has in common with it.
 * KERN_INVALID_ARGUMENT, KERN_INVALID_ADDRESS (a hole), KERN_PROTECTION_FAILURE (beyond some region's maximum).
 */
kern_return_t varve_vm_protect(
    varve_task_t task, vm_address_t address, vm_size_t size, boolean_t set_maximum, vm_prot_t protection);

/* varve_vm_inherit: sets what a child task receives of a range (vm_inherit); holes are fine. KERN_INVALID_ARGUMENT. */
kern_return_t varve_vm_inherit(varve_task_t task, vm_address_t address, vm_size_t size, vm_inherit_t inheritance);

/*
 * varve_vm_remap: maps memory of one task in another or the same, shared or as a copy (vm_remap).
 *
 * address, size, mask, anywhere and inheritance are vm_map's. *cur and *max, optional, are the most restrictive of the
 * source range's protections; each page keeps its own.
 * KERN_INVALID_ARGUMENT (also a size of 0), KERN_INVALID_ADDRESS (a hole in the source; outside the window),
 * KERN_INVALID_TASK (either task, or tasks of two stores), KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE, KERN_MEMORY_ERROR.
 */
kern_return_t varve_vm_remap(
    varve_task_t task, vm_address_t *address, vm_size_t size, vm_address_t mask, boolean_t anywhere,
    varve_task_t source, vm_address_t source_address, boolean_t copy, vm_prot_t *cur, vm_prot_t *max,
    vm_inherit_t inheritance);

typedef int vm_region_flavor_t;
enum { VARVE_REGION_INFO = 1 };

/* A region. Later versions may append members. */
typedef struct varve_region_info {
    vm_prot_t protection;
    vm_prot_t max_protection;
    vm_inherit_t inheritance;
    boolean_t shared;           /* other mappings show the same memory */
    boolean_t copied;           /* it began as a private copy */
    uint32_t wired_count;
    uint64_t offset;            /* into the object, bytes */
    uint64_t resident_pages;
    uint64_t dirty_pages;       /* stored to since the last commit */
    uint64_t swapped_pages;
} varve_region_info_t;

/* The structure's size in the unit of info_count, which is Mach's: four bytes. */
#define VARVE_REGION_INFO_COUNT ((uint32_t)(sizeof(varve_region_info_t) / 4))

/*
 * varve_vm_region: describes the region that contains an address, else the next one above (vm_region).
 *
 * address      in: where to look. out: the region's first address.
 * size         out: its bytes
 * flavor       VARVE_REGION_INFO
 * info         out
 * info_count   in: VARVE_REGION_INFO_COUNT. out: how much of info was filled.
 * object_name  optional, out: the object's number; 0 where it has none. It names the object and gives no right to it.
 *
 * KERN_INVALID_ADDRESS where there is no such region, KERN_INVALID_ARGUMENT (flavor, or too small a count).
 */
kern_return_t varve_vm_region(
    varve_task_t task, vm_address_t *address, vm_size_t *size, vm_region_flavor_t flavor, varve_region_info_t *info,
    uint32_t *info_count, uint64_t *object_name);

enum {
    MAP_MEM_NAMED_CREATE = 0x020000, /* fresh zero-filled memory of that size; the offset has no meaning */
    MAP_MEM_VM_COPY = 0x200000,      /* a copy of the range as it is at the call */
    MAP_MEM_VM_SHARE = 0x400000      /* the range's own memory; what no flag means too */
};

/*
 * varve_make_memory_entry: makes a handle of a range of memory, which vm_map takes like an object
 * (mach_make_memory_entry).
 *
 * size        in: bytes. out: the entry's size, in whole pages.
 * offset      the range's address; with a parent, into the parent
 * permission  what accesses the entry permits, or'ed with at most one of MAP_MEM_*
 * entry       out: a handle
 * parent      a memory entry to make it of; MEMORY_OBJECT_NULL: of the task's memory
 *
 * The memory lives while the entry or a mapping of it does; a store does not keep entries.
 * KERN_INVALID_ARGUMENT (bits, size 0, outside the parent's size), KERN_INVALID_ADDRESS (a hole),
 * KERN_INVALID_OBJECT (parent is no memory entry), KERN_PROTECTION_FAILURE (beyond the range's maximum protection, or
 * what the parent permits), KERN_RESOURCE_SHORTAGE, KERN_MEMORY_ERROR.
 */
kern_return_t varve_make_memory_entry(
    varve_task_t task, vm_size_t *size, vm_offset_t offset, vm_prot_t permission, varve_object_t *entry,
    varve_object_t parent);

#ifdef __cplusplus
}
#endif

#endif
