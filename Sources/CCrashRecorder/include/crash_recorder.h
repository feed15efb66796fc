#ifndef VARVE_CRASH_RECORDER_H
#define VARVE_CRASH_RECORDER_H

#include <stdint.h>

/// What a process does to the files below one folder, recorded by a library that is loaded before the C library
/// (LD_PRELOAD) where the environment says so:
///
///     VARVE_CRASHLAB_ROOT    the folder, an absolute path without links
///     VARVE_CRASHLAB_TRACE   where the trace goes, outside of it
///     VARVE_CRASHLAB_ACKS    a descriptor: what is written to it is acknowledged from then on
///     VARVE_CRASHLAB_LOG     a file that grows with what a block device does: acknowledgements have its size in `offset`
///     VARVE_CRASHLAB_SITES   a file to which the places are added that make calls, and those whose calls failed
///     VARVE_CRASHLAB_FAULT   CALL:SITE:NUMBER:ERROR:LASTING, a call that fails: its kind, the place (hexadecimal; 0: any), the how-
///                            manieth of these, a number of errno or of `crash_call_ends`, and 1 where all after it fail too
///
/// Each of trace and sites may be left out. A process that has the library and sets the variables later calls `varve_crash_begin`.
///
/// A line of the file of places is `site CALL SITE LIBRARY OFFSET [OFFSET …]`: the library of the store's that made the call (- for
/// none) and where in it, then the innermost return addresses within the program itself; or `failed CALL SITE`; or at the end
/// `calls CALL COUNT`. The first is `program PATH`.
///
/// The trace is a sequence of these headers, little-endian, each followed by `path_length` bytes of path relative to the
/// folder and `length` bytes of data where `has_data` is 1. Calls of several threads are in one order in which they could
/// have been made; a synchronisation is recorded when it begins and when it ends.
struct crash_event {
    uint32_t kind;
    uint32_t flags;
    /// Which file: equal for all names and descriptors of one, never used twice.
    uint64_t file;
    uint64_t offset;
    uint64_t length;
    uint32_t path_length;
    uint32_t has_data;
};

enum crash_event_kind {
    /// A file came to be, or was opened for the first time; `path` is its name. flags: what of `crash_open_flags`.
    CRASH_OPEN = 1,
    /// Data at `offset`.
    CRASH_WRITE,
    /// What was done to `file` before this event …
    CRASH_SYNC_BEGIN,
    /// … is durable at this one; both have a number in `offset`.
    CRASH_SYNC_END,
    /// `length` is the new size.
    CRASH_TRUNCATE,
    /// Space, and the size where it grows: offset and length.
    CRASH_ALLOCATE,
    /// `path` is the old name, a zero byte, the new one.
    CRASH_RENAME,
    CRASH_UNLINK,
    CRASH_MAKE_FOLDER,
    CRASH_REMOVE_FOLDER,
    /// Data that was acknowledged; `offset`: the size of VARVE_CRASHLAB_LOG just before.
    CRASH_ACKNOWLEDGE,
    /// A call that changes files in a way this recorder does not know; `path` names it. The trace is worth nothing.
    CRASH_UNKNOWN,
    /// A synchronisation failed: the kernel takes what was written before it for clean, and no later one writes it.
    CRASH_SYNC_FAILED,
};

enum crash_open_flags {
    CRASH_CREATED = 1,
    CRASH_FOLDER = 2,
    /// The write was synchronous (O_SYNC, O_DSYNC): durable when it returned.
    CRASH_SYNCHRONOUS = 4,
};

/// Kinds of calls that may fail.
enum crash_call {
    CRASH_CALL_OPEN = 1,
    CRASH_CALL_READ,
    CRASH_CALL_WRITE,
    CRASH_CALL_SYNC,
    CRASH_CALL_TRUNCATE,
    CRASH_CALL_ALLOCATE,
    CRASH_CALL_RENAME,
    CRASH_CALL_REMOVE,
    CRASH_CALL_MAKE_FOLDER,
    CRASH_CALL_MAP,
    CRASH_CALL_ALLOCATE_MEMORY,
};

/// How a call ends, besides the numbers of errno.
enum crash_call_ends {
    CRASH_CALL_SUCCEEDS = 0,
    /// About half of the bytes are read or written.
    CRASH_CALL_IS_SHORT = -1,
};

#endif
