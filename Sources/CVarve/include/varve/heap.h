#ifndef VARVE_HEAP_H
#define VARVE_HEAP_H

#include <stdint.h>

#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A persistent heap: memory of a store in which a program allocates, and which is there again, at the same addresses,
 * when it is opened the next time.
 *
 *     varve_heap_t heap;
 *     int64_t *n;
 *     if (varve_heap_open("counter.varve", 0, &heap) || varve_heap_root(heap, "n", "int64_t", 1, sizeof *n, &n)) return 1;
 *     *n += 1;
 *     return varve_heap_commit(heap, NULL, 0, NULL, NULL) != 0;
 *
 * Nothing is durable before a commit. A commit makes all that changed in the heap, its allocator's state too, one version
 * of the store, or none of it: whenever the process ends, the next one finds the last commit.
 *
 * - Pointers into the heap may be stored in it: they stay valid, as long as the heap is at its home address, which it is
 *   wherever this process has nothing else there. A view of a past state lies elsewhere: there, use varve_heap_offset and
 *   varve_heap_at.
 * - Pointers to anything else, and function pointers, mean nothing to the next process.
 * - Allocating and freeing is safe from several threads. What lies in a block is the program's to guard: a thread that
 *   changes several things which belong together is in a transaction, or holds commits off itself.
 * - The codes are those of varve_code, and varve_last_error says more.
 */
typedef struct varve_heap *varve_heap_t;

/*
 * varve_heap_open: opens the heap of the store at a path; makes the store and the heap where they are not there.
 *
 * capacity  bytes that a new heap can grow to, its own tables included: 1 MiB to 64 GiB, or 0 for 64 GiB; it takes disk
 *           space as it is used. An existing heap has the one that it was made with.
 *
 * VARVE_LOCKED, VARVE_ADDRESS_TAKEN (it says what is there), VARVE_INVALID, VARVE_DAMAGED, VARVE_NEWER_FORMAT,
 * VARVE_UNSUPPORTED, VARVE_FULL, VARVE_IO.
 */
int varve_heap_open(const char *path, uint64_t capacity, varve_heap_t *heap);

/*
 * varve_heap_open_in: opens a heap of a store that this process writes, by its name; makes it where it is not there.
 *
 * varve_heap_open's is named "heap". A commit is of the whole store, its other heaps and objects included.
 */
int varve_heap_open_in(varve_store_t store, const char *name, uint64_t capacity, varve_heap_t *heap);

/*
 * varve_heap_close: closes a heap, and its store where varve_heap_open opened that. What is not committed is lost.
 *
 * VARVE_WRONG_STATE: within a transaction; the heap stays open, and the handle valid. Else the handle ends, whatever is
 * returned, and memory of the heap must not be touched any more. VARVE_FULL, VARVE_IO: nothing that was committed is lost;
 * the next opening recovers.
 */
int varve_heap_close(varve_heap_t heap);

/* Figures of a heap; sizes in bytes. Later versions may append members. */
typedef struct varve_heap_info {
    uint64_t size;        /* set this to sizeof(varve_heap_info_t) before the call */
    uint64_t capacity;
    void *base;           /* where the heap is in this process */
    uint64_t roots;
    int read_only;        /* 1: it shows a past state */
    int relocated;        /* 1: it is elsewhere than at its home address; pointers stored in it mean nothing here */
} varve_heap_info_t;

/* varve_heap_info: figures of a heap. VARVE_INVALID where info->size is too small. */
int varve_heap_info(varve_heap_t heap, varve_heap_info_t *info);

/*
 * varve_heap_root: the value of a root, a place in the heap that has a name; of zeros where it is made now.
 *
 * type     the type's name, which is recorded with its size: a root that is opened as another is
 *          VARVE_LAYOUT_MISMATCH, and the error shows both. The names int8_t … uint64_t, float, double and bool are
 *          numbers, the same as Swift's Int8 … UInt64, Float, Double, Bool (int64_t also as its Int, uint64_t as UInt)
 * version  the program's number for the type's layout, from 0 on; another one is VARVE_VERSION_MISMATCH
 * size     sizeof the type, 1 at least
 * place    a pointer to a pointer: *place = the value's address, a multiple of 16
 *
 * VARVE_NOT_FOUND: no such root, in a heap that is read-only. VARVE_INVALID: a name has 1 to 1000 bytes. VARVE_FULL.
 */
int varve_heap_root(varve_heap_t heap, const char *name, const char *type, uint32_t version, uint64_t size, void *place);

/*
 * varve_heap_bytes: the bytes of a root that may change its length; of zeros where it is made now.
 *
 * size   in: the bytes of a new root; out: the bytes that it has
 * place  a pointer to a pointer: *place = their address, a multiple of 16; NULL where there are none
 */
int varve_heap_bytes(varve_heap_t heap, const char *name, uint32_t version, uint64_t *size, void *place);

/*
 * varve_heap_bytes_resize: gives a root of bytes, made by varve_heap_bytes, another length; what is new is zeros.
 *
 * place  optional: as varve_heap_bytes's; the bytes may have moved
 */
int varve_heap_bytes_resize(varve_heap_t heap, const char *name, uint32_t version, uint64_t size, void *place);

/* What a visitor of varve_heap_root_list is shown. */
typedef struct varve_heap_root {
    const char *name;
    const char *type; /* the recorded layout of its type, in Swift's words where Swift made it */
    uint32_t version;
    int collection;   /* 1: one of Swift's collections */
    uint64_t offset;  /* where its value lies, from the heap's base */
} varve_heap_root_t;
typedef int (*varve_heap_root_visitor_t)(void *context, const varve_heap_root_t *root);

/* varve_heap_root_list: shows a heap's roots, in the order in which they were made. */
int varve_heap_root_list(varve_heap_t heap, varve_heap_root_visitor_t visitor, void *context);

/*
 * varve_heap_alloc: takes a block of at least so many bytes, at a multiple of 16 (or of `alignment`, a power of two up
 * to 1 MiB). What it holds is not defined.
 *
 * NULL where that fails (VARVE_FULL, VARVE_INVALID, VARVE_READ_ONLY): varve_last_error says why. A block of 0 bytes is a
 * block.
 */
void *varve_heap_alloc(varve_heap_t heap, uint64_t size);
void *varve_heap_alloc_aligned(varve_heap_t heap, uint64_t size, uint64_t alignment);

/*
 * varve_heap_realloc: makes a block larger or smaller, and moves what it holds where it must; NULL is no block yet.
 *
 * NULL where that fails; the block is as it was then.
 */
void *varve_heap_realloc(varve_heap_t heap, void *block, uint64_t size);

/*
 * varve_heap_free: gives a block back. NULL is no block, and no error.
 *
 * VARVE_NOT_ALLOCATED: no block of this heap begins there; it was freed already, say. Nothing has changed then.
 */
int varve_heap_free(varve_heap_t heap, void *block);

/* varve_heap_usable_size: the bytes that a block has, what was asked for or somewhat more. VARVE_NOT_ALLOCATED. */
int varve_heap_usable_size(varve_heap_t heap, const void *block, uint64_t *size);

/*
 * varve_heap_offset: how far a place is from the heap's base; 0 for NULL. varve_heap_at: the place; NULL for 0.
 *
 * What is stored as an offset can be followed wherever the heap is mapped. VARVE_INVALID, and NULL, for what lies outside.
 */
int varve_heap_offset(varve_heap_t heap, const void *place, uint64_t *offset);
void *varve_heap_at(varve_heap_t heap, uint64_t offset);

/*
 * varve_heap_declare: says that a range is about to be stored to, for commits with VARVE_COMMIT_DECLARED, which then need
 * not ask the kernel what changed.
 *
 * Allocating, freeing and making roots declare for themselves; each store of the program must be declared after the last
 * commit and before the next, or such a commit misses it. Where another thread commits so, declare and store within a
 * transaction (varve_heap_begin): a commit in between takes the declaration, and not what is stored afterwards.
 */
int varve_heap_declare(varve_heap_t heap, const void *start, uint64_t size);

/* varve_heap_commit: makes all that changed one durable version; parameters and codes are varve_commit's. */
int varve_heap_commit(varve_heap_t heap, const char *message, unsigned flags, const char *snapshot, uint64_t *version);

/*
 * varve_heap_transaction: runs body(context), and commits what it changed where it returns 0; else every byte is what it
 * was, and the call returns VARVE_ABORTED.
 *
 * A transaction begins on a committed state (VARVE_UNCOMMITTED), and holds up changes, commits and transactions of other
 * threads until it ends. One within another joins it: the outermost one commits. Where an inner one was aborted, the
 * outermost is undone too, and returns VARVE_DOOMED. body leaves by returning: not by longjmp, and not by an exception.
 *
 * flags  0, or of VARVE_COMMIT_*. Where the commit fails, everything is undone, unless its outcome is unknown
 *        (VARVE_UNKNOWN_OUTCOME, VARVE_POISONED): then reopen, and see.
 */
int varve_heap_transaction(varve_heap_t heap, const char *message, unsigned flags, int (*body)(void *context), void *context);

/*
 * varve_heap_begin: begins a transaction, which varve_heap_end commits and varve_heap_cancel undoes; all on one thread.
 *
 *     if (varve_heap_begin(heap, 0)) return -1;
 *     from->balance -= amount;
 *     to->balance += amount;
 *     if (from->balance < 0) return varve_heap_cancel(heap);
 *     return varve_heap_end(heap, "transfer", 0, NULL);
 *
 * It is what varve_heap_transaction is, for programs whose steps are no function: what is said there of committed states,
 * other threads and transactions within others holds. Each begin that returned 0 needs one end or cancel, on its thread: as
 * long as one is missing, no other thread can change or commit a heap of the store. A transaction that the function of
 * varve_heap_transaction leaves open is undone with that.
 *
 * flags  0 or VARVE_COMMIT_DECLARED: what changed before is judged by what was declared, without a look at memory.
 *
 * VARVE_UNCOMMITTED, VARVE_DOOMED; VARVE_READ_ONLY.
 */
int varve_heap_begin(varve_heap_t heap, unsigned flags);

/*
 * varve_heap_end: ends the transaction that this thread began last, and commits what it changed, where it is within no
 * other. It is over, whatever is returned.
 *
 * flags    0, or of VARVE_COMMIT_*
 * version  optional: *version = what was made; 0 within another transaction
 *
 * VARVE_WRONG_STATE: this thread has begun none. VARVE_DOOMED: one within it was cancelled, and it is undone. Where the
 * commit fails, everything is undone, unless its outcome is unknown, as in varve_heap_transaction.
 */
int varve_heap_end(varve_heap_t heap, const char *message, unsigned flags, uint64_t *version);

/*
 * varve_heap_cancel: ends the transaction that this thread began last: every byte is what it was when the outermost one
 * began. Within another one, that happens at the other's end, which returns VARVE_DOOMED.
 *
 * VARVE_WRONG_STATE: this thread has begun none.
 */
int varve_heap_cancel(varve_heap_t heap);

/*
 * varve_heap_snapshot: names the committed state of the store. What is not committed is no part of it.
 *
 * version  optional. VARVE_EXISTS: the name.
 */
int varve_heap_snapshot(varve_heap_t heap, const char *name, const char *message, uint64_t *version);

/*
 * varve_heap_rollback: makes the next version hold what the heap held in a state, a snapshot's name or a version's number;
 * memory shows it, in place.
 *
 * What came between stays in the log and in snapshots. VARVE_BUSY: something is not committed. VARVE_NOT_FOUND,
 * VARVE_NOT_RETAINED: no such state, or no longer.
 */
int varve_heap_rollback(varve_heap_t heap, const char *state, const char *message, uint64_t *version);

/*
 * varve_heap_past: the heap as it was in a state (NULL: the last commit), read-only, beside the heap that goes on.
 *
 * Nothing of it changes. It lies elsewhere: what is stored in it as an offset can be followed, by varve_heap_at; pointers
 * can't. It ends with varve_heap_close, or with the heap; stores to its memory raise SIGSEGV.
 */
int varve_heap_past(varve_heap_t heap, const char *state, varve_heap_t *past);

/* varve_heap_open_past: the same of the heap at a path, without opening that; another process may be writing it, this one not. */
int varve_heap_open_past(const char *path, const char *state, varve_heap_t *past);

/* varve_heap_abandon: puts every byte that changed back to what the last commit holds, in place. */
int varve_heap_abandon(varve_heap_t heap);

#ifdef __cplusplus
}
#endif

#endif
