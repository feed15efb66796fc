// The system interfaces that Swift can't reach by itself: ioctls, and a signal handler.
//
// Calls return a count or 0, or a negated errno. Structures and numbers that the distribution's headers
// may lack are defined here; whether the kernel knows them is found out at run time.
#pragma once

#include <stddef.h>
#include <stdint.h>

// ---- userfaultfd ---------------------------------------------------------------------------------------

#define HM_FEATURE_PAGEFAULT_WP (1ULL << 0)
#define HM_FEATURE_WP_UNPOPULATED (1ULL << 13)
#define HM_FEATURE_POISON (1ULL << 14)
#define HM_FEATURE_WP_ASYNC (1ULL << 15)

#define HM_REGISTER_MISSING (1ULL << 0)
#define HM_REGISTER_WP (1ULL << 1)

/// Opens a userfaultfd with those of `wanted` that the kernel has; `*enabled` tells which.
/// `user_only` leaves out faults taken inside system calls, which needs no privilege.
int hm_uffd_open(int user_only, uint64_t wanted, uint64_t *enabled);
int hm_uffd_register(int fd, uint64_t start, uint64_t length, uint64_t mode);
int hm_uffd_write_protect(int fd, uint64_t start, uint64_t length, int protect);
/// Copies pages without waking their waiters. `*copied` is the number of bytes placed, also on failure.
int hm_uffd_copy(int fd, uint64_t to, const void *from, uint64_t length, int protect, int64_t *copied);
int hm_uffd_poison(int fd, uint64_t start, uint64_t length);
int hm_uffd_wake(int fd, uint64_t start, uint64_t length);
/// Waits for the next fault on a page that is missing; 1 where it was another event.
int hm_uffd_next(int fd, uint64_t *address);

// ---- the page map --------------------------------------------------------------------------------------

#define HM_PAGE_WRITTEN (1ULL << 1)
#define HM_PAGE_FILE (1ULL << 2)
#define HM_PAGE_PRESENT (1ULL << 3)
#define HM_PAGE_SWAPPED (1ULL << 4)
#define HM_PAGE_ZERO (1ULL << 5)

#define HM_SCAN_PROTECT (1ULL << 0)
#define HM_SCAN_CHECK (1ULL << 1)

struct hm_region {
    uint64_t start, end, categories;
};

/// The kernel's struct pm_scan_arg.
struct hm_scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

/// Runs PAGEMAP_SCAN; returns the number of regions, or a negated errno.
long hm_pagemap_scan(int fd, struct hm_scan *scan);

/// A memory file without bytes: a mapping of it raises SIGBUS wherever it is touched.
int hm_empty_memory(void);

/// Names the calling thread as one that works in the background: its slot, or negative where that can't be done. It is
/// sent a signal when a scan arms page tables, and sleeps until that is over.
int hm_companion_begin(void);
void hm_companion_end(int slot);
/// Tells the companions to sleep; whether any was told, and `hm_companions_go` is to be called. Until then the caller takes
/// no lock and no memory, which a companion may hold.
int hm_companions_stop(void);
void hm_companions_go(void);
/// A forked child has none of the threads.
void hm_companions_forget(void);

// ---- memory files --------------------------------------------------------------------------------------

/// A sparse file in memory of a fixed length, which its user alone may open; a descriptor or a negated errno.
int hm_memory_file(int64_t length);
/// Gives the memory of a range back: it reads as zeros.
int hm_punch(int fd, int64_t offset, int64_t length);
/// The next offset that has memory or swap space, -ENXIO where none has; the next that has none.
int64_t hm_next_data(int fd, int64_t offset);
int64_t hm_next_hole(int fd, int64_t offset);
/// Whether all pages of a range of a file are in the page cache; 1 too where the kernel doesn't say.
int hm_is_cached(int fd, uint64_t offset, uint64_t length);
/// A sparse file of a fixed length without a name in a folder; a descriptor or a negated errno.
int hm_shadow_file(const char *folder, int64_t length);
/// Writes a range of a file to its disk, without a flush of the disk; 0 or a negated errno.
int hm_write_back(int fd, int64_t offset, int64_t length);
/// Locks pages that are mapped in, and the others once they are.
int hm_lock_on_fault(uint64_t start, uint64_t length);
/// The host's swap space; 0 or a negated errno.
int hm_swap_space(uint64_t *total, uint64_t *unused);

// ---- descriptors over sockets --------------------------------------------------------------------------

/// Sends bytes, with a descriptor where it is not negative; the bytes sent or a negated errno.
long hm_send(int socket, const void *bytes, size_t length, int descriptor);
/// Receives bytes, and the first descriptor that came with them (-1 where none did), which is closed on exec; the
/// others are closed. The number of bytes, 0 at the end, or a negated errno.
long hm_receive(int socket, void *bytes, size_t length, int *descriptor);

// ---- fork ----------------------------------------------------------------------------------------------

/// The process's descriptors, -1 where absent. A forked child's are closed before anything runs in it: they
/// act on the memory of the process that opened them.
int hm_uffd(void);
int hm_pagemap(void);
/// Makes the descriptors known; returns 0 or a negated errno.
int hm_keep_descriptors(int uffd, int pagemap);
/// 1 in a forked child of the process that first used this library.
int hm_is_forked_child(void);

/// What a forked child does before anything else runs in it.
enum hm_fork_kind {
    /// Moves a private mapping to `address`, then sets `protection`.
    HM_FORK_MOVE,
    /// Sets `protection`.
    HM_FORK_PROTECT,
    /// Closes `descriptor`.
    HM_FORK_CLOSE,
};

struct hm_fork_step {
    int32_t kind;
    int32_t protection;
    int32_t descriptor;
    uint64_t address;
    uint64_t source;
    uint64_t length;
};

/// Registers what runs before each fork, after it in the parent, and after the steps in the child; 0 or a negated errno.
int hm_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
/// Sets the steps of the next child; they are the caller's until they are set anew.
void hm_fork_steps(const struct hm_fork_step *steps, long count);

// ---- dirty tracking by signal --------------------------------------------------------------------------

#define HM_UNTRACKED 0xff

/// A tracked range of pages. A page may be stored to only while its bit in `dirty` is set; the exception is
/// the holder of the exclusive lock, while it works.
struct hm_tracked {
    uint64_t base;
    uint64_t page_count;
    uint64_t *dirty;
    /// One byte a page: the protection that the page's owner asked for, exclusive-ored with read|write; or
    /// HM_UNTRACKED where the page has left the range. NULL: accesses wait for the lock, and are repeated.
    uint8_t *protection;
    int32_t handlers;
    int32_t locked;
    int32_t openings;
};

/// Installs the handler once, and the number of openings beyond which whole 2 MiB runs are opened.
int hm_track_start(int64_t opening_limit);
/// Adds a range; 0 or a negated errno.
int hm_track_add(struct hm_tracked *range);
/// Removes a range; when this returns no handler looks at it.
void hm_track_remove(struct hm_tracked *range);
/// Excludes handlers, with this thread's signals blocked so that none of them can fault here.
/// `saved` keeps at least 128 bytes for `hm_track_unlock`.
void hm_track_lock(struct hm_tracked *range, void *saved);
void hm_track_unlock(struct hm_tracked *range, const void *saved);
/// Forgets so many of the openings counted so far: the lock's holder has closed that many pages.
void hm_track_closed(struct hm_tracked *range, int64_t pages);
