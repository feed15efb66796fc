#define _GNU_SOURCE
#include "crash_recorder.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAXIMUM_DESCRIPTORS 4096
#define MAXIMUM_FILES 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t root_length;
static int trace = -1;
static int acknowledgements = -1;

/// What a descriptor is open on: an index into `files` and one, or 0.
static uint32_t opened[MAXIMUM_DESCRIPTORS];
static uint32_t descriptor_flags[MAXIMUM_DESCRIPTORS];
static struct { dev_t device; ino_t inode; int is_dead; } files[MAXIMUM_FILES];
static uint32_t file_count;
static uint64_t sync_count;

/// Everything here goes past the C library's own names, which are ours.
static ssize_t raw_write(int fd, const void *bytes, size_t count) { return syscall(SYS_write, fd, bytes, count); }

static void die(const char *why) {
    raw_write(2, "crash recorder: ", 16);
    raw_write(2, why, strlen(why));
    raw_write(2, "\n", 1);
    _exit(70);
}

static void emit_all(const void *bytes, size_t count) {
    const char *p = bytes;
    while (count > 0) {
        ssize_t done = raw_write(trace, p, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) die("the trace can't be written");
        p += done;
        count -= (size_t)done;
    }
}

static void emit(uint32_t kind, uint32_t flags, uint64_t file, uint64_t offset, uint64_t length, const char *path, size_t path_length, const void *data) {
    struct crash_event event = {kind, flags, file, offset, length, (uint32_t)path_length, data != NULL};
    emit_all(&event, sizeof event);
    if (path_length) emit_all(path, path_length);
    if (data) emit_all(data, length);
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("VARVE_CRASHLAB_ROOT"), *path = getenv("VARVE_CRASHLAB_TRACE"), *acks = getenv("VARVE_CRASHLAB_ACKS");
    if (!folder || !path) return;
    root_length = strlen(folder);
    if (root_length == 0 || root_length >= sizeof root) die("VARVE_CRASHLAB_ROOT is too long");
    memcpy(root, folder, root_length + 1);
    if (acks) acknowledgements = atoi(acks);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) die("the trace can't be opened");
    // Out of the way of programs that expect small numbers.
    trace = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
    syscall(SYS_close, fd);
    // Programs started from here are not part of the trace.
    unsetenv("LD_PRELOAD");
}

static int is_recording(void) { return trace >= 0; }

/// The path relative to the root of what `path` names; NULL where that is elsewhere.
static const char *within(int folder, const char *path, char *buffer, size_t size) {
    if (path[0] != '/') {
        char link[64];
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = syscall(SYS_readlink, link, buffer, size);
        if (length < 0 || (size_t)length + 1 + strlen(path) + 1 > size) return NULL;
        buffer[length] = '/';
        strcpy(buffer + length + 1, path);
    } else {
        if (strlen(path) >= size) return NULL;
        strcpy(buffer, path);
    }
    if (strncmp(buffer, root, root_length) != 0 || (buffer[root_length] != '/' && buffer[root_length] != 0)) return NULL;
    const char *rest = buffer + root_length;
    while (*rest == '/') rest++;
    return rest;
}

/// The number of the file that a descriptor is open on: what it had, or a new one. Under the lock.
static uint32_t number(int fd, int *is_new) {
    struct stat status;
    *is_new = 0;
    if (fstat(fd, &status) != 0) die("fstat failed");
    for (uint32_t i = 0; i < file_count; i++)
        if (!files[i].is_dead && files[i].device == status.st_dev && files[i].inode == status.st_ino) return i + 1;
    if (file_count == MAXIMUM_FILES) die("too many files");
    files[file_count].device = status.st_dev;
    files[file_count].inode = status.st_ino;
    *is_new = 1;
    return ++file_count;
}

/// The file of a descriptor, or 0 where it is not below the root.
static uint32_t file_of(int fd) { return fd >= 0 && fd < MAXIMUM_DESCRIPTORS ? opened[fd] : 0; }

/// Records that the last name of a file went: its inode may be another file's from now on.
static void forget_inode(const struct stat *status) {
    for (uint32_t i = 0; i < file_count; i++)
        if (!files[i].is_dead && files[i].device == status->st_dev && files[i].inode == status->st_ino && status->st_nlink <= 1)
            files[i].is_dead = 1;
}

static int open_recorded(int folder, const char *path, int flags, mode_t mode) {
    char buffer[8192];
    const char *name = is_recording() ? within(folder, path, buffer, sizeof buffer) : NULL;
    if (!name) return (int)syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before;
    int existed = syscall(SYS_newfstatat, folder, path, &before, 0) == 0;
    off_t old_size = existed ? before.st_size : 0;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0) {
        if (fd >= MAXIMUM_DESCRIPTORS) die("a descriptor is too large");
        if ((flags & O_TMPFILE) == O_TMPFILE) {
            opened[fd] = 0;
        } else {
            int is_new;
            uint32_t file = number(fd, &is_new);
            opened[fd] = file;
            descriptor_flags[fd] = flags & (O_DSYNC | O_SYNC) ? CRASH_SYNCHRONOUS : 0;
            uint32_t what = (existed ? 0 : CRASH_CREATED) | (existed && S_ISDIR(before.st_mode) ? CRASH_FOLDER : 0);
            if (is_new || !existed) emit(CRASH_OPEN, what, file, 0, 0, name, strlen(name), NULL);
            if (existed && flags & O_TRUNC && old_size > 0) emit(CRASH_TRUNCATE, 0, file, 0, 0, NULL, 0, NULL);
        }
    }
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(arguments, int) : 0;
}

#define OPEN(name)                                                                                                   \
    int name(const char *path, int flags, ...) {                                                                     \
        va_list arguments;                                                                                           \
        va_start(arguments, flags);                                                                                  \
        mode_t mode = mode_of(flags, arguments);                                                                     \
        va_end(arguments);                                                                                           \
        return open_recorded(AT_FDCWD, path, flags, mode);                                                           \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                 \
    int name(int folder, const char *path, int flags, ...) {                                                         \
        va_list arguments;                                                                                           \
        va_start(arguments, flags);                                                                                  \
        mode_t mode = mode_of(flags, arguments);                                                                     \
        va_end(arguments);                                                                                           \
        return open_recorded(folder, path, flags, mode);                                                             \
    }
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode) { return open_recorded(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    if (!file_of(fd)) return (int)syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    opened[fd] = 0;
    int result = (int)syscall(SYS_close, fd);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

static int duplicated(int from, int to) {
    if (to >= 0 && to < MAXIMUM_DESCRIPTORS && from >= 0 && from < MAXIMUM_DESCRIPTORS) {
        opened[to] = opened[from];
        descriptor_flags[to] = descriptor_flags[from];
    }
    return to;
}

int dup(int fd) { return duplicated(fd, (int)syscall(SYS_dup, fd)); }
int dup2(int from, int to) { return from == to ? to : duplicated(from, (int)syscall(SYS_dup3, from, to, 0)); }
int dup3(int from, int to, int flags) { return duplicated(from, (int)syscall(SYS_dup3, from, to, flags)); }

#define FCNTL(name)                                                                                                  \
    int name(int fd, int command, ...) {                                                                             \
        va_list arguments;                                                                                           \
        va_start(arguments, command);                                                                                \
        void *argument = va_arg(arguments, void *);                                                                  \
        va_end(arguments);                                                                                           \
        int result = (int)syscall(SYS_fcntl, fd, command, argument);                                                 \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, result) : result;                   \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

// MARK: Writing

/// After a write of `done` bytes at `offset` (-1: where the descriptor was) from `parts`.
static void written(int fd, off_t offset, const struct iovec *parts, int count, ssize_t done) {
    uint32_t file = file_of(fd);
    if (done <= 0 || !file) return;
    off_t at = offset >= 0 ? offset : syscall(SYS_lseek, fd, 0, SEEK_CUR) - done;
    for (int i = 0; i < count && done > 0; i++) {
        size_t part = parts[i].iov_len < (size_t)done ? parts[i].iov_len : (size_t)done;
        if (part) emit(CRASH_WRITE, descriptor_flags[fd], file, (uint64_t)at, part, NULL, 0, parts[i].iov_base);
        at += (off_t)part;
        done -= (ssize_t)part;
    }
}

/// Writes with the lock held, so that the trace has writes to one place in the order in which they were made.
#define RECORDED_WRITE(fd, offset, parts, count, call)                                                               \
    do {                                                                                                             \
        if (!is_recording() || !file_of(fd)) return call;                                                            \
        pthread_mutex_lock(&lock);                                                                                   \
        ssize_t done = call;                                                                                         \
        int error = errno;                                                                                           \
        written(fd, offset, parts, count, done);                                                                     \
        pthread_mutex_unlock(&lock);                                                                                 \
        errno = error;                                                                                               \
        return done;                                                                                                 \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    if (is_recording() && fd == acknowledgements && fd >= 0) {
        pthread_mutex_lock(&lock);
        ssize_t done = raw_write(fd, bytes, count);
        int error = errno;
        if (done > 0) emit(CRASH_ACKNOWLEDGE, 0, 0, 0, (uint64_t)done, NULL, 0, bytes);
        pthread_mutex_unlock(&lock);
        errno = error;
        return done;
    }
    struct iovec part = {(void *)bytes, count};
    RECORDED_WRITE(fd, -1, &part, 1, raw_write(fd, bytes, count));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    RECORDED_WRITE(fd, -1, parts, count, syscall(SYS_writev, fd, parts, count));
}

#define PWRITE(name)                                                                                                 \
    ssize_t name(int fd, const void *bytes, size_t count, off_t offset) {                                            \
        struct iovec part = {(void *)bytes, count};                                                                  \
        RECORDED_WRITE(fd, offset, &part, 1, syscall(SYS_pwrite64, fd, bytes, count, offset));                       \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                                                                \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) {                                       \
        RECORDED_WRITE(fd, offset, parts, count, syscall(SYS_pwritev, fd, parts, count, offset, 0));                 \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

// MARK: Durability

static int synced(int fd, long call) {
    uint32_t file = is_recording() ? file_of(fd) : 0;
    uint64_t number = 0;
    if (file) {
        pthread_mutex_lock(&lock);
        number = ++sync_count;
        emit(CRASH_SYNC_BEGIN, 0, file, number, 0, NULL, 0, NULL);
        pthread_mutex_unlock(&lock);
    }
    int result = (int)syscall(call, fd);
    int error = errno;
    if (file && result == 0) {
        pthread_mutex_lock(&lock);
        emit(CRASH_SYNC_END, 0, file, number, 0, NULL, 0, NULL);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

// MARK: Sizes

#define FTRUNCATE(name)                                                                                              \
    int name(int fd, off_t size) {                                                                                   \
        uint32_t file = is_recording() ? file_of(fd) : 0;                                                            \
        if (!file) return (int)syscall(SYS_ftruncate, fd, size);                                                     \
        pthread_mutex_lock(&lock);                                                                                   \
        int result = (int)syscall(SYS_ftruncate, fd, size);                                                          \
        int error = errno;                                                                                           \
        if (result == 0) emit(CRASH_TRUNCATE, 0, file, 0, (uint64_t)size, NULL, 0, NULL);                            \
        pthread_mutex_unlock(&lock);                                                                                 \
        errno = error;                                                                                               \
        return result;                                                                                               \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

static int allocated(int fd, int mode, off_t offset, off_t length) {
    uint32_t file = is_recording() ? file_of(fd) : 0;
    if (!file) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    int error = errno;
    if (result == 0) {
        if (mode == 0) emit(CRASH_ALLOCATE, 0, file, (uint64_t)offset, (uint64_t)length, NULL, 0, NULL);
        else if (mode != FALLOC_FL_KEEP_SIZE) emit(CRASH_UNKNOWN, 0, file, 0, 0, "fallocate", 9, NULL);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return allocated(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off_t offset, off_t length) { return allocated(fd, mode, offset, length); }

#define POSIX_FALLOCATE(name)                                                                                        \
    int name(int fd, off_t offset, off_t length) { return allocated(fd, 0, offset, length) == 0 ? 0 : errno; }
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

// MARK: Names

static int renamed(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char a[8192], b[8192], both[16384];
    const char *old = is_recording() ? within(from_folder, from, a, sizeof a) : NULL;
    const char *new = is_recording() ? within(to_folder, to, b, sizeof b) : NULL;
    if (!old && !new) return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    pthread_mutex_lock(&lock);
    struct stat replaced;
    int replaces = syscall(SYS_newfstatat, to_folder, to, &replaced, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int error = errno;
    if (result == 0) {
        if (!old || !new || flags & RENAME_EXCHANGE) {
            emit(CRASH_UNKNOWN, 0, 0, 0, 0, "rename", 6, NULL);
        } else {
            size_t length = strlen(old);
            memcpy(both, old, length + 1);
            memcpy(both + length + 1, new, strlen(new));
            emit(CRASH_RENAME, 0, 0, 0, 0, both, length + 1 + strlen(new), NULL);
            if (replaces) forget_inode(&replaced);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return renamed(a, from, b, to, flags); }

static int removed(int folder, const char *path, int flags) {
    char buffer[8192];
    const char *name = is_recording() ? within(folder, path, buffer, sizeof buffer) : NULL;
    if (!name) return (int)syscall(SYS_unlinkat, folder, path, flags);
    pthread_mutex_lock(&lock);
    struct stat status;
    int existed = syscall(SYS_newfstatat, folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    int error = errno;
    if (result == 0) {
        emit(flags & AT_REMOVEDIR ? CRASH_REMOVE_FOLDER : CRASH_UNLINK, 0, 0, 0, 0, name, strlen(name), NULL);
        if (existed) forget_inode(&status);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

static int made(int folder, const char *path, mode_t mode) {
    char buffer[8192];
    const char *name = is_recording() ? within(folder, path, buffer, sizeof buffer) : NULL;
    if (!name) return (int)syscall(SYS_mkdirat, folder, path, mode);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, folder, path, mode);
    int error = errno;
    if (result == 0) emit(CRASH_MAKE_FOLDER, 0, 0, 0, 0, name, strlen(name), NULL);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }

// MARK: What would make the trace a lie

static void unknown(int fd, const char *call) {
    if (!is_recording() || !file_of(fd)) return;
    pthread_mutex_lock(&lock);
    emit(CRASH_UNKNOWN, 0, file_of(fd), 0, 0, call, strlen(call), NULL);
    pthread_mutex_unlock(&lock);
}

static void *mapped(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    void *result = (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
    char path[8192], link[64];
    if (result == MAP_FAILED || !is_recording() || !file_of(fd) || !(protection & PROT_WRITE) || (flags & MAP_TYPE) == MAP_PRIVATE) return result;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (size > 0) path[size] = 0;
    // LMDB's table of readers: it is made anew, and nothing durable is in it.
    if (size < 5 || strcmp(path + size - 5, "-lock") != 0) unknown(fd, "mmap");
    return result;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mapped(address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return mapped(address, length, protection, flags, fd, offset);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    unknown(out, "copy_file_range");
    return syscall(SYS_copy_file_range, in, from, out, to, length, flags);
}
