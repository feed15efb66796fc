#ifndef VARVE_TASK_H
#define VARVE_TASK_H

#include "error.h"
#include "map_types.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * varve_task_attach: attaches the task of that name, with every region mapped again at its address, or makes it.
 *
 * A new task is durable with the next commit. A task that is attached already is not attached twice: the handle is a new
 * one, the task is the same.
 * VARVE_ADDRESS_TAKEN (the message names what is there), VARVE_INVALID (name), VARVE_BUSY, VARVE_LOCKED, VARVE_FULL,
 * VARVE_IO.
 */
int varve_task_attach(varve_store_t store, const char *name, varve_task_t *task);

/*
 * varve_task_create: makes a task with what the parent's regions hand on (task_create).
 *
 * A region whose inheritance is VM_INHERIT_SHARE is shared with the child, one of VM_INHERIT_COPY is there as if copied
 * at the call, one of VM_INHERIT_NONE is absent. Regions lie at the same offsets in the child's window, and keep their
 * inheritance; none is wired. With inherit = 0 the child is empty. It is durable with the next commit.
 *
 * KERN_INVALID_TASK, KERN_TERMINATED (the parent), KERN_INVALID_ARGUMENT (NULL, or no name that a task may have),
 * KERN_NAME_EXISTS, KERN_NO_SPACE, KERN_RESOURCE_SHORTAGE, KERN_MEMORY_ERROR.
 */
kern_return_t varve_task_create(varve_task_t parent, const char *name, boolean_t inherit, varve_task_t *child);

/*
 * varve_task_terminate: ends a task: every mapping goes at once, the task itself with the next commit.
 *
 * An object lives on while an entry, a copy, a snapshot or a name needs it. The handle stays, and answers
 * KERN_TERMINATED, until it is released. KERN_INVALID_TASK, KERN_TERMINATED.
 */
kern_return_t varve_task_terminate(varve_task_t task);

typedef int (*varve_task_visitor_t)(void *context, const char *name);

/*
 * varve_task_list: shows the visitor the name of each task of a state, by name.
 *
 * state is a snapshot's name or a version in digits; NULL is the last commit. VARVE_NOT_FOUND, VARVE_IO. The visitor may
 * call anything.
 */
int varve_task_list(varve_store_t store, const char *state, varve_task_visitor_t visitor, void *context);

/*
 * varve_task_clone: makes a task that begins as a task was in a state: the same regions at the same places of a window of
 * its own, backed by copies. It is durable with the next commit.
 *
 * VARVE_NOT_FOUND, VARVE_NOT_RETAINED, VARVE_EXISTS, VARVE_INVALID (new_name), VARVE_LOCKED, VARVE_FULL, VARVE_IO.
 */
int varve_task_clone(
    varve_store_t store, const char *name, const char *state, const char *new_name, varve_task_t *task);

/*
 * varve_task_map_state: maps a task as it was in a state, read-only: every region with the bytes that it had, *shift bytes
 * above its own address: 0 where the task's window is free in this process.
 *
 * The bytes never change, and are there until varve_release(*mapped). VARVE_NOT_FOUND, VARVE_NOT_RETAINED,
 * VARVE_DAMAGED, VARVE_FULL, VARVE_IO.
 */
int varve_task_map_state(
    varve_store_t store, const char *name, const char *state, varve_state_t *mapped, int64_t *shift);

/* varve_task_window: where the task's addresses lie. base and size are optional. KERN_INVALID_TASK. */
kern_return_t varve_task_window(varve_task_t task, vm_address_t *base, vm_size_t *size);

/*
 * varve_task_touch: says that the program is about to store to a range, for VARVE_COMMIT_DECLARED. The unit is the page;
 * addresses that no writable region covers are ignored, as are all of a terminated task. KERN_INVALID_TASK.
 */
kern_return_t varve_task_touch(varve_task_t task, vm_address_t address, vm_size_t size);

#ifdef __cplusplus
}
#endif

#endif
