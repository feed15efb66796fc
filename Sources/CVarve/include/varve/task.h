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

/* A descriptor that a program is started with. */
typedef struct varve_descriptor {
    int number; /* as the program sees it */
    int source; /* of this process */
} varve_descriptor_t;

/*
 * varve_task_spawn: starts a program that has the task's memory by varve_task_inherited, at the same addresses, as each
 * region's inheritance says: VM_INHERIT_SHARE the same memory, VM_INHERIT_COPY a copy as of the call, VM_INHERIT_NONE none.
 *
 * path         the program's
 * arguments    what follows the program's name, ended by NULL; NULL is none
 * environment  KEY=VALUE, ended by NULL; NULL is this process's own. VARVE_TASK is set in either
 * descriptors  count of them; what is not closed on exec is inherited as ever
 * process      its number; the caller waits for its end (waitpid)
 *
 * This process serves the program: it must live, with the store open, until the program has called varve_task_inherited.
 * Memory without a name that is shared lies in one file with all such memory of this process: the program could reach
 * that too.
 * KERN_INVALID_TASK, KERN_TERMINATED, KERN_INVALID_ARGUMENT (NULL; no such program), KERN_RESOURCE_SHORTAGE (a limit of the
 * host), KERN_NOT_SUPPORTED (memory of a manager would be shared), KERN_NO_ACCESS, KERN_MEMORY_ERROR.
 */
kern_return_t varve_task_spawn(
    varve_task_t task, const char *path, const char *const *arguments, const char *const *environment,
    const varve_descriptor_t *descriptors, intptr_t count, int *process);

/*
 * varve_task_inherited: the memory of the task that started this program by varve_task_spawn, at the same addresses.
 *
 * The handle is for what a task of varve_remote_task is for, and varve_inherited_commit; the other calls answer
 * KERN_NOT_SUPPORTED. varve_remote_of is the connection, for mapping named objects too. Releasing it unmaps the memory. Can be
 * called once.
 * VARVE_NOT_FOUND where the program was not started so, VARVE_WRONG_STATE for a second call, VARVE_IO where the process that
 * started it has ended, VARVE_ADDRESS_TAKEN, VARVE_FULL.
 */
int varve_task_inherited(varve_task_t *task);

/*
 * varve_inherited_commit: has the process that started this program commit what any process stored; see varve_commit. flags is
 * 0 or VARVE_COMMIT_DEFERRED, message and version are optional. Errors are those of varve_commit, and VARVE_IO where that
 * process has ended.
 */
int varve_inherited_commit(varve_task_t task, const char *message, unsigned flags, uint64_t *version);

#ifdef __cplusplus
}
#endif

#endif
