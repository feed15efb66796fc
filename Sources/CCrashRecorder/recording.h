#ifndef VARVE_CRASH_RECORDING_H
#define VARVE_CRASH_RECORDING_H

#include "crash_recorder.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

// What the recorded calls share; nothing of it is seen outside of the library.
#pragma GCC visibility push(hidden)

#define PATH_SIZE 8192

/// A descriptor that acknowledges, or -1.
extern int acknowledgements;

/// How large the file is now that VARVE_CRASHLAB_LOG names; 0 without one.
uint64_t log_size(void);

/// Whether calls on files below the root are recorded or may fail.
int is_active(void);
int is_recording(void);
/// Whether this is the process that is recorded, and not one that it started.
int is_recorded_process(void);
/// Takes the lock; what another process does is no part of the trace that could be told in order.
void enter(void);
void leave(int error);

void emit(uint32_t kind, uint32_t flags, uint64_t file, uint64_t offset, uint64_t length, const char *path, size_t path_length, const void *data);
void emit_all(const void *bytes, size_t count);
/// What makes the trace worth nothing.
void emit_unknown(const char *call);

/// The path relative to the root of what `path` names; NULL where that is elsewhere, or nothing is recorded.
const char *within(int folder, const char *path, char *buffer);
/// The path below the root of what a descriptor is open on; NULL where it lies elsewhere or has no name any more.
const char *path_of(int fd, char *buffer);

/// True where a descriptor may be one of a file below the root; cheap, and without the lock.
int may_be_ours(int fd, struct stat *status);
/// The number of the file that a descriptor is open on; 0 where it is not below the root. With the lock.
uint32_t number(int fd, const struct stat *status);
uint32_t find(const struct stat *status);
uint32_t add(const struct stat *status, uint32_t flags, const char *path);
/// Records that the last name of a file went: its inode may be another file's from now on.
void forget(const struct stat *status);

/// How a call of that kind (of `crash_call`), which is about to be made, is to end: a number of errno, or one of `crash_call_ends`.
int fails(uint32_t call);
int is_faulting(void);
/// Whether calls may fail, and this address lies in the program itself or in a library of the store's.
int is_stores_code(void *address);
void begin_faults(void);
/// How many bytes of so many a short read or write takes; all, where they are one block.
size_t shortened(size_t count);
_Noreturn void die(const char *why);

/// Everything that records goes past the C library's own names, which are ours.
ssize_t raw_write(int fd, const void *bytes, size_t count);

#pragma GCC visibility pop

#endif
