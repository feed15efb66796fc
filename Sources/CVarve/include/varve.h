/*
 * Varve from C: memory objects that persist, mapped with vm_map.
 *
 *     #include <varve.h>                      cc program.c $(pkg-config --cflags --libs varve)
 *
 * A program maps objects of a store into a task's address map, uses them as ordinary memory, and commits: all that
 * changed becomes one durable version. An address of a task is a pointer of this process.
 *
 *     varve/error.h     result codes, and what went wrong
 *     varve/store.h     stores: open, commit, abandon
 *     varve/object.h    objects by name, their bytes, past states
 *     varve/history.h   snapshots, rollback, differences, the log
 *     varve/task.h      tasks
 *     varve/map.h       the address map: vm_map and its family
 *     varve/bytes.h     bytes across tasks, residency, durability of a range
 *     varve/manager.h   objects whose pages the program answers for, or a host file
 *     varve/remote.h    stores that another process serves
 *     varve/upkeep.h    checking, repairing, freeing; why a page can't be had
 *     varve/heap.h      persistent heaps: allocate, name roots, commit
 *
 * CAVEATS
 *
 * - One process writes a store, and has its tasks; any number read it, or map its objects together with the writer
 *   (varve/remote.h).
 * - Each handle is invalid in a forked child, which has of the memory what the regions' inheritance says. Open a store after
 *   the fork, not before it. A program that varve_task_spawn started has its memory by varve_task_inherited.
 * - Memory that a task maps is memory: an access that its protection forbids raises SIGSEGV, one beyond an object's
 *   end, or to a page whose bytes are damaged, raises SIGBUS.
 * - Call nothing of this from a signal handler.
 *
 * HANDLES
 *
 * A varve_store_t, varve_task_t, varve_object_t, varve_state_t or varve_heap_t is a value, not an address: it is looked
 * up at each call. One that was released, is of another kind, or is no handle at all, is an error of the call that is given it:
 * KERN_INVALID_TASK or KERN_INVALID_OBJECT of the vm_* calls, VARVE_INVALID of the others. A handle's value is not
 * used again while the process lives. Whoever is given a handle ends it with varve_release (a store:
 * varve_store_close, a connection: varve_remote_close, a heap: varve_heap_close); what it names lives on in the store. The
 * handles that a memory manager's functions are given are ended by the library.
 *
 * CONVENTIONS
 *
 * - Calls that name Mach's return kern_return_t and have Mach's order of parameters; those that give memory of a heap
 *   return it, or NULL; all others return 0 or a code of varve_code. After any fails, varve_last_error says more.
 * - On failure nothing has changed and outputs are as they were, unless a call says otherwise.
 * - Sizes and offsets are bytes. Strings are UTF-8 that ends with a zero byte; names have 1 to 200 bytes.
 * - Strings and memory that are passed in are read during the call and not kept. What a visitor is shown is valid
 *   until it returns. A visitor returns 0 to be shown more; whatever else it returns ends the visit, which succeeds.
 * - Output parameters that a call marks as optional may be NULL.
 * - Every function may be called by several threads at once.
 */
#ifndef VARVE_H
#define VARVE_H

#include "varve/error.h"
#include "varve/store.h"
#include "varve/object.h"
#include "varve/history.h"
#include "varve/task.h"
#include "varve/map.h"
#include "varve/bytes.h"
#include "varve/manager.h"
#include "varve/remote.h"
#include "varve/upkeep.h"
#include "varve/heap.h"

#endif
